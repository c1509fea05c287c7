//! Garage as Hayloft runs it: its node keys, its configuration file, its versions and its admin API v2.
//!
//! Every `garage_*` crate is under the AGPL: none is linked here. The binary is run, and its HTTP API spoken.

pub mod admin;
pub mod config;
pub mod data_mark;
pub mod layout_file;
mod msgpack;
mod node_key;
mod version;

pub use node_key::{NodeKey, NodeKeyError};
pub use version::{GarageVersion, Unfit, VersionError};
