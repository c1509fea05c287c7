//! The coordinator with real agents and real Garage daemons on loopback.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends at the first surprise"
)]

mod access;
mod eviction;
mod home;
mod hung;
mod leaders;
mod life;
mod preview;
mod upkeep;
