//! Steps, their reasons, and what steps wait for.

use std::collections::BTreeMap;

use hayloft_api::agent::Peer;
use hayloft_api::document::CacheSpec;
use hayloft_api::{Bytes, HostName, NodeId, Window, ZoneName};
use jiff::Timestamp;
use serde::Serialize;

use crate::RoleChange;

/// What one host shall run, without secrets.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostPlan {
    /// Its Garage.
    pub garage: Option<GaragePlan>,
    /// Its gateway.
    pub gateway: Option<GatewayPlan>,
}

/// A host's Garage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GaragePlan {
    /// Copies of everything.
    pub replication_factor: u8,
    /// Whether to flush before acknowledging.
    pub fsync: bool,
    /// Its zone.
    pub zone: ZoneName,
    /// The other members.
    pub peers: Vec<Peer>,
}

/// A host's gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayPlan {
    /// Where it listens.
    pub listen: String,
    /// The URL that clients use.
    pub public_url: Option<String>,
    /// S3 endpoints, nearest first.
    pub endpoints: Vec<String>,
    /// Bytes of frames to keep in memory.
    pub memory: Bytes,
    /// Declared caches.
    pub caches: Vec<CacheSpec>,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "step")]
pub enum Step {
    /// Tell a host what it shall run.
    Desire {
        /// The host.
        host: HostName,
        /// All it shall run.
        plan: HostPlan,
    },
    /// Make a member connect to others.
    Connect {
        /// The member.
        through: HostName,
        /// The others.
        peers: Vec<Peer>,
    },
    /// Empty Garage's staging area of what was left there by an interrupted change.
    RevertStaging {
        /// The member that is told.
        through: HostName,
    },
    /// Stage, preview, judge and apply one layout version.
    ChangeLayout {
        /// The member that is told.
        through: HostName,
        /// The new version.
        version: u64,
        /// What becomes of whose role.
        roles: BTreeMap<NodeId, RoleChange>,
        /// A new zone redundancy.
        zone_redundancy: Option<u8>,
    },
    /// Count nodes that lost their role and are down as having heard of a version.
    SkipGone {
        /// The member that is told.
        through: HostName,
        /// The version.
        version: u64,
    },
    /// Make the access key.
    EnsureKey {
        /// The member that is told.
        through: HostName,
    },
    /// Make the bucket.
    EnsureBucket {
        /// The member that is told.
        through: HostName,
    },
    /// Let the key read and write the bucket.
    AllowKey {
        /// The member that is told.
        through: HostName,
    },
}

/// Why something is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "because")]
pub enum Reason {
    /// The host was not told anything yet by this coordinator.
    Untold,
    /// What it was told is no longer what it shall run.
    Outdated,
    /// These hosts run Garage and the member is not connected to them.
    Unconnected {
        /// The hosts.
        hosts: Vec<HostName>,
    },
    /// An earlier change was interrupted between staging and applying.
    Interrupted,
    /// There is no layout yet.
    FirstLayout,
    /// The layout is not what the document declares.
    LayoutDiffers {
        /// Hosts that get a role.
        joins: Vec<HostName>,
        /// Hosts whose zone or pledge changes.
        changes: Vec<HostName>,
        /// Hosts that lose their role.
        leaves: Vec<HostName>,
        /// Whether the zone redundancy changes.
        redundancy: bool,
    },
    /// The host came back as another node, and the one it was is down.
    NewNode {
        /// The host.
        host: HostName,
    },
    /// A node that lost its role is down, and the version in which it had one waits for it.
    NeverReturns,
    /// It does not exist.
    Missing,
}

/// Something that must wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// What is to be done.
    pub what: String,
    /// What it waits for.
    pub waits_for: WaitsFor,
}

/// What something waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "waitsFor")]
pub enum WaitsFor {
    /// Agents that did not report yet.
    Agents {
        /// Their hosts.
        hosts: Vec<HostName>,
    },
    /// Garage daemons that do not run or are not connected.
    GarageUp {
        /// Their hosts.
        hosts: Vec<HostName>,
    },
    /// A member that can be asked.
    Observation,
    /// More hosts that can hold data.
    MoreHosts {
        /// How many there are.
        have: usize,
        /// How many copies there shall be.
        need: u8,
    },
    /// Hosts in more zones.
    MoreZones {
        /// In how many zones they are.
        have: usize,
        /// In how many zones copies shall be.
        need: u8,
    },
    /// Other hosts may join in the same version until then.
    JoinWindow {
        /// When it ends.
        until: Timestamp,
    },
    /// A time of the day at which data may be moved.
    Windows {
        /// When that is.
        windows: Vec<Window>,
    },
    /// Metadata of the current layout version to be synced.
    Settling {
        /// The version.
        version: u64,
    },
    /// Hosts with a role in the layout to come back.
    HostsDown {
        /// The hosts.
        hosts: Vec<String>,
    },
    /// Somebody to apply or revert what somebody else staged.
    ForeignStaging,
    /// Proof that all of an earlier leaver's data lies elsewhere.
    Placement {
        /// The earlier leaver.
        host: HostName,
    },
    /// A new identity: what the host knows is too old to be merged.
    NewIdentity {
        /// When it left.
        left: Timestamp,
    },
    /// The node that a host was before to stop.
    FormerDown {
        /// The host.
        host: HostName,
    },
    /// A decision about data of which the only copy was on the node that a host was before.
    OnlyCopy {
        /// The host.
        host: HostName,
    },
    /// Another Garage on the host.
    FitGarage {
        /// What is wrong with the one it has.
        unfit: String,
    },
    /// A disk as large as the pledge.
    LargerDisk {
        /// What the disk has.
        disk: Bytes,
        /// What is pledged.
        pledge: Bytes,
    },
    /// The first layout, bucket and key.
    Bucket,
    /// An address that the host does not report.
    GatewayAddress,
    /// Gateways that can share a bucket: until then only one serves.
    SharedLog {
        /// The host whose gateway serves.
        host: HostName,
    },
    /// The gateways of these hosts to stop.
    GatewayStopped {
        /// The hosts.
        hosts: Vec<HostName>,
    },
    /// A member that has a role and runs.
    Member,
    /// A person: the role is no host's that is known here.
    Person,
    /// Kubernetes.
    Kubernetes,
}
