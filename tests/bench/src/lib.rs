//! Speed, size and memory of the gateway beside atticd, nginx and a bare client, on one Garage cluster.
//!
//! Every column's client is the same and checks every byte. Columns take turns within a run, so that ratios hold even
//! when something else takes a part of the machine.

pub mod client;
pub mod column;
pub mod corpus;
pub mod cycle;
pub mod memory;
pub mod plan;
pub mod probe;
pub mod process;
pub mod results;
pub mod run;
pub mod scale;
pub mod study;
pub mod wanted;

use std::io::Write as _;

/// A line for people, on standard error.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
