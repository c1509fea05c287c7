//! Hosts come, go and fail on real Garage, and clients notice nothing where redundancy allows it.

mod changes;
mod conformance;
mod coordinators;
mod joins;
mod leaves;
mod losses;
mod scene;
mod slow;
mod weather;
mod wedges;

/// Stands in as the hidden command that ties a daemon's life to its host's.
const CHILD: &str = env!("CARGO_BIN_EXE_rebalance-child");
/// Where lines of the table go.
const TABLE: &str = env!("CARGO_TARGET_TMPDIR");
