//! The layout: reading, staging, previewing, applying.

use std::collections::BTreeMap;

use hayloft_api::NodeId;
use serde::{Deserialize, Serialize};

use super::client::SLOW;
use super::{AdminError, Client};

/// The current layout and the staging area.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Layout {
    /// 0 before the first.
    pub version: u64,
    /// Who has a role.
    pub roles: Vec<LayoutRole>,
    /// What the current version was computed with.
    pub parameters: Parameters,
    /// The most bytes that a partition can hold.
    pub partition_size: u64,
    /// Shared by all who write layouts.
    pub staged_role_changes: Vec<StagedChange>,
    /// Staged with them.
    pub staged_parameters: Option<Parameters>,
}

/// A node's role in the current layout.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LayoutRole {
    /// The node.
    pub id: NodeId,
    /// Its zone.
    pub zone: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Bytes; `None` for a Garage gateway.
    pub capacity: Option<u64>,
    /// Partitions it holds.
    pub stored_partitions: Option<u64>,
    /// Bytes of its capacity that the layout can use.
    pub usable_capacity: Option<u64>,
}

/// Parameters of a layout's computation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Parameters {
    /// Over how many zones copies are spread.
    pub zone_redundancy: ZoneRedundancy,
}

/// Over how many zones copies are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ZoneRedundancy {
    /// At least so many.
    AtLeast(u8),
    /// As many as there are, gateways' zones counted, which is why Hayloft never sets it.
    Maximum,
}

/// What is staged for a node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct StagedChange {
    /// The node.
    pub id: NodeId,
    /// What shall become of its role.
    #[serde(flatten)]
    pub change: RoleChange,
}

/// What shall become of a node's role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RoleChange {
    /// It loses it.
    Remove {
        /// Always true.
        remove: bool,
    },
    /// It gets this one. Garage demands the tags, also when there are none.
    Assign {
        /// Its zone.
        zone: String,
        /// Its tags.
        tags: Vec<String>,
        /// Bytes, at least 1024; `None` makes it a Garage gateway.
        capacity: Option<u64>,
    },
}

/// What the next version would be.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Preview {
    /// It cannot be computed.
    Impossible {
        /// Garage's words.
        error: String,
    },
    /// It can.
    Possible(Box<Outlook>),
}

/// A computed next version. The totals hold; how partitions are split over hosts may differ when it is applied.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outlook {
    /// What it means in numbers; `None` from older daemons.
    pub statistics: Option<Statistics>,
    /// The layout it makes.
    pub new_layout: Layout,
}

/// A computation in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statistics {
    /// Copies of everything.
    pub replication_factor: u8,
    /// Zones that copies of each partition are spread over, at least.
    pub effective_zone_redundancy: u8,
    /// The most bytes that a partition can hold.
    pub partition_size: u64,
    /// The same before.
    pub previous_partition_size: Option<u64>,
    /// Partitions are below 100 bytes: capacities are wrong.
    pub low_partition_size: bool,
    /// Bytes of distinct data that fit.
    pub effective_capacity: u64,
    /// Less than 80 % of the pledges can be used.
    pub low_usable_capacity: bool,
    /// Copies of partitions that get a new holder.
    pub total_moved_partitions: Option<u64>,
    /// By zone.
    pub zones: Vec<ZoneForecast>,
}

/// A zone in a computation.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ZoneForecast {
    /// Its nodes.
    pub nodes: Vec<ZoneNode>,
}

/// A node in a computation.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ZoneNode {
    /// The node.
    pub id: NodeId,
    /// Partitions it will hold.
    pub stored_partitions: u64,
    /// Those of them that it does not hold now.
    pub new_partitions: u64,
}

/// What applying did.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Applied {
    /// The layout as it is now.
    pub layout: Layout,
}

/// Versions of the layout that are remembered, and how far members are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct History {
    /// The current version.
    pub current_version: u64,
    /// Every member has heard of versions up to this one.
    pub min_ack: u64,
    /// Versions, newest first or last: look at the numbers.
    pub versions: Vec<HistoryVersion>,
    /// By node; absent when only one version is live.
    pub update_trackers: Option<BTreeMap<NodeId, Tracker>>,
}

/// One remembered version.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryVersion {
    /// Its number.
    pub version: u64,
    /// What it is now.
    pub status: VersionStatus,
    /// Its storage nodes.
    pub storage_nodes: u64,
}

/// What a version is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum VersionStatus {
    /// The newest.
    Current,
    /// Older, and its quorums are still needed.
    Draining,
    /// Of no effect any more.
    Historical,
}

/// How far one node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tracker {
    /// It heard of versions up to this one.
    pub ack: u64,
    /// It synced its tables for versions up to this one.
    pub sync: u64,
    /// It knows that all did so up to this one.
    pub sync_ack: u64,
}

impl History {
    /// Whether metadata is synced to the current version: nothing drains, or every node says it is synced. (A lone
    /// node never stops draining.) Blocks may lie elsewhere still.
    pub fn settled(&self) -> bool {
        let draining = self
            .versions
            .iter()
            .any(|version| version.status == VersionStatus::Draining);
        let synced = self.update_trackers.as_ref().is_some_and(|trackers| {
            !trackers.is_empty()
                && trackers
                    .values()
                    .all(|tracker| tracker.sync >= self.current_version)
        });
        !draining || synced
    }
}

/// What skipping dead nodes did.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Skipped {
    /// Nodes whose `ack` was set for them.
    pub ack_updated: Vec<NodeId>,
    /// Nodes whose `sync` was set for them; only where data may be missing.
    #[serde(default)]
    pub sync_updated: Vec<NodeId>,
}

#[derive(Serialize)]
struct Update<'a> {
    roles: Vec<RoleRequest<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Parameters>,
}

#[derive(Serialize)]
struct RoleRequest<'a> {
    id: NodeId,
    #[serde(flatten)]
    change: &'a RoleChange,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    allow_missing_data: Option<bool>,
}

impl Client {
    /// The current layout and what is staged.
    ///
    /// # Errors
    /// When the member does not answer, or refuses.
    pub async fn layout(&self) -> Result<Layout, AdminError> {
        self.get("GetClusterLayout", &[]).await
    }

    /// Stages changes beside what is staged already.
    ///
    /// # Errors
    /// When the member does not answer, or refuses; Garage takes zone redundancies from 1 to the replication factor.
    pub async fn stage(
        &self,
        roles: &BTreeMap<NodeId, RoleChange>,
        zone_redundancy: Option<ZoneRedundancy>,
    ) -> Result<Layout, AdminError> {
        let update = Update {
            roles: roles
                .iter()
                .map(|(id, change)| RoleRequest { id: *id, change })
                .collect(),
            parameters: zone_redundancy.map(|zone_redundancy| Parameters { zone_redundancy }),
        };
        self.tell("UpdateClusterLayout", &update).await
    }

    /// Computes the next version from what is staged, and changes nothing.
    ///
    /// # Errors
    /// When the member does not answer, or refuses. A layout that cannot be computed is no error here.
    pub async fn preview(&self) -> Result<Preview, AdminError> {
        self.post("PreviewClusterLayoutChanges", None::<&()>, SLOW).await
    }

    /// Makes what is staged the version `version`, which is the current one plus one. Garage does so even when
    /// nothing is staged.
    ///
    /// # Errors
    /// [`AdminError::LayoutVersion`] when the layout is at another version; see [`AdminError::is_uncertain`].
    pub async fn apply(&self, version: u64) -> Result<Applied, AdminError> {
        self.post(
            "ApplyClusterLayout",
            Some(&Version {
                version,
                allow_missing_data: None,
            }),
            SLOW,
        )
        .await
    }

    /// Empties the staging area, for everyone.
    ///
    /// # Errors
    /// When the member does not answer, or refuses.
    pub async fn revert(&self) -> Result<Layout, AdminError> {
        self.post("RevertClusterLayout", None::<&()>, SLOW).await
    }

    /// Live and remembered versions.
    ///
    /// # Errors
    /// When the member does not answer, or refuses.
    pub async fn history(&self) -> Result<History, AdminError> {
        self.get("GetClusterLayoutHistory", &[]).await
    }

    /// Counts down nodes as having heard of `version`. Never allows data to be missing: that is a person's decision.
    ///
    /// # Errors
    /// When the member does not answer, or refuses: only one version is live, or `version` is not one of them.
    pub async fn skip_dead(&self, version: u64) -> Result<Skipped, AdminError> {
        self.skip(version, false).await
    }

    /// Counts **all** nodes, live ones included, as having heard of `version` and as having all its data. What no remaining node
    /// has is lost. Only ever by a person's word.
    ///
    /// # Errors
    /// When the member does not answer, or refuses: only one version is live, or `version` is not one of them.
    pub async fn allow_missing_data(&self, version: u64) -> Result<Skipped, AdminError> {
        self.skip(version, true).await
    }

    async fn skip(&self, version: u64, allow_missing_data: bool) -> Result<Skipped, AdminError> {
        let body = Version {
            version,
            allow_missing_data: Some(allow_missing_data),
        };
        self.tell("ClusterLayoutSkipDeadNodes", &body).await
    }
}
