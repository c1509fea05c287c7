//! The coordinator: observe, validate, plan, check, act, tell, again and again; and its store.
//!
//! It decides nothing by itself: `hayloft-engine` does. Here are the clock readings, the calls and the files.

mod accounts;
mod act;
pub mod admission;
mod ask_agent;
mod coordinator;
mod detail;
pub mod door;
mod events;
mod flows;
mod leadership;
mod looper;
mod memory;
mod metrics;
mod moves;
mod observe;
mod outage;
mod pace;
mod reach;
pub mod recovery;
mod rotation;
mod secrets;
mod snapshots;
mod store;
mod tell;
mod token;
mod words;

pub use coordinator::{AgentLink, Coordinator, CoordinatorConfig, Links, StartError};
pub use secrets::{ClusterSecrets, SecretsError};
pub use store::{Store, StoreError};
pub use words::WordError;

/// The bucket that holds everything.
pub const BUCKET: &str = "hayloft";
/// The region that S3 requests are signed for.
pub const REGION: &str = "garage";
