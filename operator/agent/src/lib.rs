//! The process on every host that makes the desired state so and reports back.
//!
//! The rooms: [`ledger`] keeps what was told, [`launch`] turns it into [`unit`]s, which say as values what a host shall run,
//! [`driver`] is what runs them, [`child`] the driver that does so with child processes. [`Agent`] is the loop.

mod agent;
pub mod cause;
pub mod child;
pub mod driver;
pub mod files;
pub mod launch;
pub mod ledger;
pub mod ports;
mod report;
pub mod unit;

pub use agent::{Agent, AgentConfig, AgentHandle, StartError};
