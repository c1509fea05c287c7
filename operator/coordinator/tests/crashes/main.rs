//! The coordinator dies between any two calls, and the next one goes on. In a program of its own: where it dies is set for
//! the whole process.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends at the first surprise"
)]

#[expect(dead_code, reason = "other tests use more of it")]
#[path = "../real/home.rs"]
mod home;
mod join;
