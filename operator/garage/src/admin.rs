//! A client of Garage's admin API v2, for what Hayloft needs of it.
//!
//! Layout, bucket and key writes have no compare-and-swap and no cluster-wide lock: send all of them to one member.
//! Every call costs the daemon an argon2 verification (tens of milliseconds), so poll with measure.

mod calls;
mod client;
mod error;
mod layout;
mod metrics;
mod nodes;
mod s3;
mod status;
mod tokens;

pub use calls::{BOUNDS_MS, Calls, Counted};
pub use client::Client;
pub use error::AdminError;
pub use layout::{
    Applied, History, HistoryVersion, Layout, LayoutRole, Outlook, Parameters, Preview, RoleChange, Skipped,
    StagedChange, Statistics, Tracker, VersionStatus, ZoneForecast, ZoneNode, ZoneRedundancy,
};
pub use metrics::Requests;
pub use nodes::{
    Answers, Backlink, BlockError, BlockInfo, BlockStatistics, BlockUse, NodeStatistics, Repair, Scrub,
    TABLE_SYNCS, TableStatistics, Variable, Whom, Worker, WorkerState,
};
pub use s3::{
    BucketInfo, BucketKey, BucketName, Change, KeyBucket, KeyInfo, KeyName, KeyPermissions, LocalAlias,
    Permissions, Quotas,
};
pub use status::{ClusterStatus, Connected, Free, Health, HealthStatus, Node, NodeRole};
pub use tokens::{NewToken, TokenInfo};
