//! A model of how gateways share one bucket: claiming office, committing, succession, following and collection.
//!
//! The rules are not written down a second time: [`hayloft_store::commit::Claim`], [`hayloft_store::commit::Term`],
//! [`hayloft_store::commit::Admission`], [`hayloft_store::log::chain`] and the signed log objects are the gateway's own.
//! The model puts around them a bucket that reads and writes by quorum and promises no more than that, gateways that
//! stop between any two steps, and clients; and searches every order of events at small sizes. With a rule left out
//! ([`Hole`]) it must find what goes wrong.

mod action;
mod ask;
mod bucket;
mod claiming;
mod gateway;
mod hole;
mod leading;
mod reading;
mod setup;
mod view;
mod world;

pub use action::Action;
pub use ask::{Ask, Upload};
pub use hole::Hole;
pub use setup::Setup;
pub use world::{Search, World, Wrong};
