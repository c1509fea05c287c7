//! The index over the log: everything here can be made again from the bucket.
//!
//! One writer applies log objects in order, each in one transaction with the position after it, so that the
//! file is always the state at some position of the log. Readers never wait for it (WAL).

mod apply;
mod arrivals;
mod ask;
mod check;
mod collect;
mod condemning;
mod digests;
mod error;
mod hot;
mod keep;
mod known;
mod migrate;
mod open;
mod retire;
mod snapshot;
#[cfg(any(test, feature = "synthetic"))]
pub mod synthetic;
#[cfg(test)]
mod tests;

pub use arrivals::{Arrival, Overflow};
pub use ask::{KnownFrame, Place, StoredPath};
pub use check::KnownPack;
pub use collect::{PackUse, PathUse, Pin, Retired};
pub use digests::Merged;
pub use error::IndexError;
pub use migrate::can_open;
pub use open::{Index, SCHEMA};
