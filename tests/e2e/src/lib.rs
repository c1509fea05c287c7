//! What the tests of the whole line share: `hayloft up` as a process, a client that speaks attic's wire, NARs made on
//! the fly, and a root file system with a real Nix.
//!
//! Nothing here links Hayloft's crates: the tests see what a user sees.

pub mod attic_wire;
pub mod closure;
pub mod community;
pub mod home;
pub mod nix_root;
pub mod process;
pub mod synthetic_nar;
pub mod traffic;
