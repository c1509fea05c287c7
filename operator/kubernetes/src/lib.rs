//! The cluster as Kubernetes objects.

mod cache_cluster;
pub mod crd;
mod host;

pub use cache_cluster::{CacheCluster, CacheClusterSpec, CacheClusterStatus, CacheStatus, HostCount};
pub use host::{Host, HostPhase, HostResourceSpec, HostStatus};

/// The group of both kinds.
pub const GROUP: &str = "hayloft.dev";
