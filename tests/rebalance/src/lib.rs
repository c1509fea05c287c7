//! Real hosts on one machine that can be killed, frozen, robbed and moved, with clients that push and pull meanwhile.
//!
//! Every host is an agent with its own runtime and a real Garage daemon, and so is the coordinator: whatever is killed here
//! ends at once, in the middle of what it does, and cleans nothing up. What is asserted is looked up by this crate's own eyes:
//! block files on disks and the layout file that Garage keeps, not what Hayloft says of them.

mod bare;
mod cluster;
mod disk;
mod door;
mod host;
mod load;
mod map;
mod outcome;
mod seat;

pub use bare::Bare;
pub use cluster::{Cluster, gone, host, ready, storage_host};
pub use disk::{Blocks, Names, partition};
pub use door::{Door, Moment};
pub use host::{Host, Return};
pub use load::{Load, Score};
pub use map::LayoutMap;
pub use outcome::{Change, Row, claims_placed};
pub use seat::Seat;

use std::time::Duration;

/// Longer than anything takes on a busy machine that is not subject to one of Garage's long delays.
pub const PATIENCE: Duration = Duration::from_secs(120);
