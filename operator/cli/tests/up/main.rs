//! `hayloft up` and the commands that speak to it, as programs, on real Garage.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what fails in a test shall fail the test"
)]

mod hosts;
mod life;
mod monitoring;
mod older;
mod preflight;
mod restore;
mod support;
