//! The coordinator's own admin token: it may make the calls that the coordinator makes, and it expires.

use hayloft_api::{Secret, exposed};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// The name of our tokens, by which they are told from others'.
pub(crate) const NAME: &str = "hayloft coordinator";
/// How long a token is good. It is renewed long before.
pub(crate) const LIFE: SignedDuration = SignedDuration::from_hours(24 * 30);

/// The calls that the coordinator makes with it. Making tokens is not among them: who may do that may do everything.
pub(crate) const SCOPE: [&str; 35] = [
    "GetClusterStatus",
    "GetClusterHealth",
    "GetClusterLayout",
    "GetClusterLayoutHistory",
    "UpdateClusterLayout",
    "PreviewClusterLayoutChanges",
    "ApplyClusterLayout",
    "RevertClusterLayout",
    "ClusterLayoutSkipDeadNodes",
    "ConnectClusterNodes",
    "GetNodeInfo",
    "GetNodeStatistics",
    "ListWorkers",
    "GetWorkerInfo",
    "GetWorkerVariable",
    "SetWorkerVariable",
    "LaunchRepairOperation",
    "CreateMetadataSnapshot",
    "ListBlockErrors",
    "GetBlockInfo",
    "RetryBlockResync",
    "ListKeys",
    "GetKeyInfo",
    "ImportKey",
    "UpdateKey",
    "DeleteKey",
    "GetBucketInfo",
    "CreateBucket",
    "UpdateBucket",
    "AddBucketAlias",
    "RemoveBucketAlias",
    "AllowBucketKey",
    "DenyBucketKey",
    "GetCurrentAdminTokenInfo",
    "Metrics",
];

/// The token, as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OwnToken {
    /// Garage's id of it.
    pub(crate) id: String,
    /// What is sent.
    #[serde(with = "exposed")]
    pub(crate) secret: Secret,
    /// Until when it is good.
    pub(crate) expires: Timestamp,
    /// A member refused it: the static one is used until it is renewed.
    #[serde(default)]
    pub(crate) refused: bool,
}

impl OwnToken {
    /// Whether it is worth sending.
    pub(crate) fn is_usable(&self) -> bool {
        !self.refused
    }
}
