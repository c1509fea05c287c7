//! The process on every host that makes the desired state so and reports back.
//!
//! The rooms: [`unit`] says as a value what a host shall run, [`driver`] is what runs it, [`child`] the driver that does so
//! with child processes.

pub mod child;
pub mod driver;
pub mod files;
pub mod ledger;
pub mod ports;
pub mod unit;
