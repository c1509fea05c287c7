//! Facts, as they were observed, with the time of each look.

use std::collections::{BTreeMap, BTreeSet};

use hayloft_api::agent::DiskReport;
use hayloft_api::{Bytes, HostName, NodeId, ZoneName};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::HostPlan;

/// All facts that a plan is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// When it was taken.
    pub now: Timestamp,
    /// The minute of the day, local time, 0 to 1439.
    pub minute_of_day: u16,
    /// When this coordinator began to observe.
    pub started: Timestamp,
    /// Hosts that report, and hosts remembered.
    pub hosts: BTreeMap<HostName, HostFacts>,
    /// What one member says of the cluster; `None` while none could be asked.
    pub cluster: Option<ClusterFacts>,
    /// What this cluster's coordinator last put into Garage's staging area.
    pub staged_by_us: Option<Staged>,
    /// Whether bucket, key and permission were all seen once.
    pub bucket_made: bool,
}

impl Snapshot {
    /// A first snapshot, of nothing.
    pub fn empty(now: Timestamp) -> Self {
        Self {
            now,
            minute_of_day: 0,
            started: now,
            hosts: BTreeMap::new(),
            cluster: None,
            staged_by_us: None,
            bucket_made: false,
        }
    }
}

/// What is known of a host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostFacts {
    /// Its Garage node, from its report or as remembered.
    pub id: Option<NodeId>,
    /// The zone it was last declared in.
    pub zone: Option<ZoneName>,
    /// Since when it could be given a role and has none.
    pub ready_since: Option<Timestamp>,
    /// Nodes that it was before.
    pub former: BTreeSet<NodeId>,
    /// When its role was taken from it, if that happened.
    pub left: Option<Timestamp>,
    /// Whether its agent can be talked to now.
    pub agent: bool,
    /// The last report heard.
    pub report: Option<ReportFacts>,
    /// What it was last told, by this coordinator.
    pub told: Option<HostPlan>,
}

/// What an agent reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportFacts {
    /// When it was heard.
    pub heard: Timestamp,
    /// Whether it follows a desired state, also one of an earlier coordinator.
    pub follows: bool,
    /// Where members reach its Garage.
    pub rpc_addr: String,
    /// Where gateways reach its Garage's S3 API.
    pub s3_addr: String,
    /// Where its gateway would listen.
    pub gateway_addr: Option<String>,
    /// Why its Garage must not be used, if so.
    pub unfit: Option<String>,
    /// Whether its Garage runs.
    pub garage_runs: bool,
    /// Whether its gateway runs.
    pub gateway_runs: bool,
    /// The disk that holds its data.
    pub disk: Option<DiskReport>,
}

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
    /// The bucket and its key; `None` before the first layout, or when tables could not be read.
    pub access: Option<Access>,
}

/// A node as the asked member sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeFacts {
    /// Whether the two are connected.
    pub up: bool,
    /// Whether it has no role any more, and an older version, in which it had one, is still live.
    pub draining: bool,
}

/// The layout.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LayoutFacts {
    /// 0 before the first.
    pub version: u64,
    /// Who has which role.
    pub roles: BTreeMap<NodeId, NodeRole>,
    /// Copies are in at least so many zones; `None`: Garage's "maximum".
    pub zone_redundancy: Option<u8>,
    /// The staging area.
    pub staged: Staged,
    /// Whether metadata is synced to the current version.
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

/// The bucket and its key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    /// Whether the key exists.
    pub key: bool,
    /// The bucket, if it exists.
    pub bucket: Option<BucketFacts>,
}

/// The bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketFacts {
    /// Whether the key may read and write it.
    pub allowed: bool,
    /// Bytes in it, one copy counted.
    pub bytes: Bytes,
}

impl Access {
    /// Whether a gateway can work with it.
    pub fn ready(&self) -> bool {
        self.key && self.bucket.is_some_and(|bucket| bucket.allowed)
    }
}
