//! The recovery kit: a sealed copy of the coordinator's store, for the day on which its machine is lost.
//!
//! It is sealed to a recovery key of which only the public half is kept here: whoever holds a kit, and be it the coordinator
//! itself, reads nothing in it. So storage hosts can keep it. It is an [age](https://age-encryption.org/v1) file, and what is in
//! it is a zstd stream of an SQLite file, so that the usual tools open it too.

mod catch_up;
mod drill;
mod keepers;
mod key;
mod kit;
mod restore;

pub use catch_up::{CatchUpError, CaughtUp, catch_up};
pub use drill::{Drilled, drill};
pub use keepers::{NoKitError, hand_out, make};
pub use key::{Recipient, RecoveryKey, RecoveryKeyError};
pub use kit::{Kit, KitError, KitLabel};
pub use restore::{RestoreError, Restored, restore};

#[cfg(test)]
mod tests;
