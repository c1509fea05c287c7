//! The process on every host that makes the desired state so and reports back.
//!
//! The rooms: [`ledger`] keeps what was told, [`launch`] turns it into [`unit`]s, which say as values what a host shall run,
//! [`driver`] is what runs them, [`child`] the driver that does so with child processes, [`systemd`] the one
//! that has systemd do it. [`Agent`] is the loop; [`link`] takes what a coordinator elsewhere says to it, [`join`] makes a host a
//! member, [`membership`] keeps that, [`streams`] carries S3 between hosts, [`whereabouts`] says
//! where the coordinator is.

mod agent;
mod answer;
mod blocks;
pub mod cause;
pub mod child;
mod clock;
mod data;
mod death;
pub mod driver;
pub mod files;
pub mod join;
pub mod launch;
pub mod leave;
pub mod ledger;
pub mod link;
pub mod local;
mod member;
pub mod membership;
pub mod ports;
pub mod promise;
pub mod reach;
mod report;
pub mod snapshots;
pub mod streams;
pub mod systemd;
pub mod unit;
mod versions;
pub mod whereabouts;

pub use agent::{Agent, AgentConfig, AgentHandle, StartError};
pub use answer::Asked;
pub use clock::Clock;
