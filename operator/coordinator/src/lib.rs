//! The coordinator: observe, validate, plan, check, act, tell, again and again; and its store.
//!
//! It decides nothing by itself: `hayloft-engine` does. Here are the clock readings, the calls and the files.

mod act;
mod coordinator;
mod observe;
mod pace;
mod secrets;
mod store;
mod tell;

pub use coordinator::{AgentLink, Coordinator, CoordinatorConfig, Links, StartError};
pub use secrets::{ClusterSecrets, SecretsError};
pub use store::{Store, StoreError};

/// The bucket that holds everything.
pub const BUCKET: &str = "hayloft";
/// The region that S3 requests are signed for.
pub const REGION: &str = "garage";
