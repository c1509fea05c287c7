//! The CacheCluster document, its rules, and what agents and the coordinator say to each other.
//!
//! Everything here is a value: no client, no clock, no I/O.

pub mod agent;
mod cel;
pub mod document;
mod gateway_config;
mod generation;
mod host_object;
pub mod join;
mod laptop;
pub mod link;
mod names;
pub mod quantity;
pub mod question;
pub mod report;
pub mod rules;
mod secret;
pub mod status;

pub use document::{Document, DocumentError};
pub use gateway_config::{GatewayPaths, gateway_config};
pub use generation::{Generation, Verdict, judge};
pub use host_object::{ClusterRef, HostObjectSpec};
pub use names::{CacheName, ClusterName, HostName, NameError, NodeId, NodeIdError, OwnerName, ZoneName};
pub use quantity::{Bytes, Percent, Rate, Span, Window};
pub use secret::{Secret, exposed};
