//! hayloft-gateway: router, authentication, one file per endpoint, and the depot behind them.
//!
//! It speaks attic's API to those who push and Nix's binary cache protocol to those who pull.

mod auth;
pub mod command;
pub mod config;
mod control;
mod declare;
pub mod depot;
mod error;
mod layers;
pub mod metrics;
mod routes;
pub mod serve;
mod state;
#[cfg(test)]
mod tests;
mod uplink;

pub use error::Refusal;
pub use routes::router;
pub use state::Gateway;
