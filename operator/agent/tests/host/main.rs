//! A host with a real Garage: what its agent reports, answers and mends.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what fails in a test shall fail the test"
)]

mod data;
mod identity;
mod promises;
mod snapshots;
mod support;
