//! What Hayloft relies on, asked of real Garage daemons.
#![expect(clippy::unwrap_used, reason = "what fails in a test shall fail the test")]

mod admin;
mod blocks;
mod files;
mod s3;
mod schema;
mod support;
