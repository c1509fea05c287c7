//! Store paths, hashes, narinfo, the NAR format, signatures, tokens and their scopes.
//!
//! Everything here is a function of its arguments: no I/O, no clock, no randomness. What both sides
//! of the wire must agree on (the gateway, and the client that pushes to it) is here, and nowhere else.

pub mod api;
mod cache_name;
mod hash;
pub mod nar;
mod narinfo;
pub mod nix32;
mod signing;
mod store_path;
pub mod token;
mod upload_info;

pub use cache_name::{CacheName, CacheNameError};
pub use hash::{HashError, NarHash};
pub use narinfo::{Compression, NarInfo, NarInfoError};
pub use signing::{KeyError, KeyPair, PublicKey, Signature, fingerprint};
pub use store_path::{StoreDir, StorePath, StorePathError, StorePathHash, check_base_name, check_name};
pub use upload_info::{MAX_NAR_SIZE, UploadInfo, UploadInfoError};
