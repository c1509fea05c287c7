//! What one member says of the cluster.

use std::collections::BTreeMap;

use hayloft_api::agent::DiskReport;
use hayloft_api::{HostName, NodeId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Access;

/// What one member says of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterFacts {
    /// The member; all writes go to it.
    pub through: HostName,
    /// When it was asked.
    pub observed: Timestamp,
    /// Nodes it knows.
    pub nodes: BTreeMap<NodeId, NodeFacts>,
    /// The layout.
    pub layout: LayoutFacts,
    /// All versions that the history lists, oldest first; empty where it was not asked for.
    pub versions: Vec<VersionFacts>,
    /// How far each node has come; `None` while one version is live.
    pub trackers: Option<BTreeMap<NodeId, Trackers>>,
    /// Connectivity of the holders of partitions.
    pub partitions: Option<PartitionFacts>,
    /// The bucket and its key; `None` before the first layout, or when tables could not be read.
    pub access: Option<Access>,
}

impl ClusterFacts {
    /// Whether the member is connected to a node, or is it.
    pub fn is_up(&self, id: NodeId) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.up)
    }

    /// Bytes in the bucket, one copy counted; 0 where that is not known.
    pub fn stored(&self) -> u64 {
        let bucket = self.access.as_ref().and_then(|access| access.bucket);
        bucket.map_or(0, |bucket| bucket.bytes.0)
    }

    /// Nodes that hold data by the current layout.
    pub fn storage(&self) -> impl Iterator<Item = (NodeId, &NodeRole)> {
        let roles = self.layout.roles.iter();
        roles
            .filter(|(_, role)| role.capacity.is_some())
            .map(|(id, role)| (*id, role))
    }
}

/// A node as the asked member sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeFacts {
    /// Whether the two are connected.
    pub up: bool,
    /// Whether it has no role any more, and an older version, in which it had one, is still live.
    pub draining: bool,
    /// Blocks that wait to be looked after, also those whose time has not come.
    pub queue: Option<u64>,
    /// Blocks whose last try failed.
    pub errors: Option<u64>,
    /// The disk of its data, by gossip.
    pub disk: Option<DiskReport>,
}

/// A version in the layout's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionFacts {
    /// Its number.
    pub version: u64,
    /// What has become of it.
    pub status: VersionStatus,
}

/// What has become of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionStatus {
    /// The newest.
    Current,
    /// Still needed for quorums.
    Draining,
    /// Over.
    Historical,
}

/// How far a node has come, in versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trackers {
    /// It writes by this version.
    pub ack: u64,
    /// Its tables are synced to this version.
    pub sync: u64,
    /// It heard that all are synced to this version.
    pub sync_ack: u64,
}

/// Connectivity of the holders of Garage's 256 partitions. It says nothing of where data lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionFacts {
    /// Those with a write quorum.
    pub with_quorum: u64,
    /// Those whose holders are all up.
    pub all_up: u64,
}

/// The layout.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LayoutFacts {
    /// 0 before the first.
    pub version: u64,
    /// Who has which role.
    pub roles: BTreeMap<NodeId, NodeRole>,
    /// How many partitions each node holds.
    pub partitions: BTreeMap<NodeId, u64>,
    /// Copies are in at least so many zones; `None`: Garage's "maximum".
    pub zone_redundancy: Option<u8>,
    /// The staging area.
    pub staged: Staged,
    /// Whether metadata is synced to the current version: no older one drains, or every node's `sync` has reached it.
    pub settled: bool,
}

/// A node's role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRole {
    /// Its zone, as Garage has it.
    pub zone: String,
    /// Bytes; `None` for a Garage gateway.
    pub capacity: Option<u64>,
    /// Its tags.
    pub tags: Vec<String>,
}

/// What shall become of a node's role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RoleChange {
    /// It gets this one.
    Assign(NodeRole),
    /// It loses it.
    Remove,
}

/// A staging area.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Staged {
    /// By node.
    pub roles: BTreeMap<NodeId, RoleChange>,
    /// A new zone redundancy; the inner `None` is Garage's "maximum".
    pub zone_redundancy: Option<Option<u8>>,
}

impl Staged {
    /// Whether nothing is staged.
    pub fn is_empty(&self) -> bool {
        self.roles.is_empty() && self.zone_redundancy.is_none()
    }

    /// Whether all of it is also in `other`.
    pub fn is_within(&self, other: &Self) -> bool {
        self.roles
            .iter()
            .all(|(id, change)| other.roles.get(id) == Some(change))
            && (self.zone_redundancy.is_none() || self.zone_redundancy == other.zone_redundancy)
    }
}
