//! The depot on real Garage.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;
mod contents;
mod losses;
