//! A community of machines with their own systemd, and what machines go through.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what fails in a test shall fail the test"
)]

mod clocks;
mod faults;
mod ipv6;
mod serving;
mod town;
mod upgrades;
