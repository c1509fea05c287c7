//! Agents that dial a coordinator's door over loopback, with keys and certificates of their own.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what fails in a test shall fail the test"
)]

mod cluster;
mod cuts;
mod refusals;
mod talk;
mod town;
mod whereabouts;
