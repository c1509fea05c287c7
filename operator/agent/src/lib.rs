//! The process on every host that makes the desired state so and reports back.
//!
//! The rooms: [`ledger`] keeps what was told, [`launch`] turns it into [`unit`]s, which say as values what a host shall run,
//! [`driver`] is what runs them, [`child`] the driver that does so with child processes. [`Agent`] is the loop.

mod agent;
mod answer;
mod blocks;
pub mod cause;
pub mod child;
mod clock;
mod data;
pub mod driver;
pub mod files;
pub mod launch;
pub mod ledger;
mod member;
pub mod ports;
pub mod promise;
mod report;
pub mod snapshots;
pub mod unit;

pub use agent::{Agent, AgentConfig, AgentHandle, StartError};
pub use answer::Asked;
pub use clock::Clock;
