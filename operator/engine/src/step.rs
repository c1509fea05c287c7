//! Steps, their reasons, and what steps wait for.

use std::collections::{BTreeMap, BTreeSet};

use hayloft_api::agent::{FleetDesired, Peer};
use hayloft_api::document::CacheSpec;
use hayloft_api::{Bytes, HostName, NodeId, Rate, Span, Window, ZoneName};
use jiff::Timestamp;
use serde::Serialize;

use crate::{MoveKey, ResyncFacts, RoleChange};

/// What one host shall run, without secrets.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostPlan {
    /// Its Garage.
    pub garage: Option<GaragePlan>,
    /// Its gateway.
    pub gateway: Option<GatewayPlan>,
    /// It stops being this node: Garage's metadata goes, and a new node key is made. With another key nothing happens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forget: Option<NodeId>,
    /// With `forget`: its blocks may go too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub erase_blocks: bool,
    /// A person said that its data disk was replaced: an empty one is accepted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub accept_empty_data: bool,
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
    /// `host:port` at which members reach its RPC, where the document knows that and the agent does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rpc_public: Option<String>,
    /// The program that it may be restarted into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
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
    /// Bytes of frames to keep on its disk, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<Bytes>,
    /// Bytes a second that it may send to clients elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplink: Option<Rate>,
    /// Declared caches.
    pub caches: Vec<CacheSpec>,
    /// The other gateways on the bucket; `None`: it is alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fleet: Option<Box<FleetDesired>>,
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
        plan: Box<HostPlan>,
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
    /// Apply one empty layout version above all that members have, so that all agree again.
    HealSplit {
        /// The member that is told; it has the highest version.
        through: HostName,
        /// The new version.
        version: u64,
    },
    /// Give up what only the named hosts held, so that a layout version can settle.
    AllowMissing {
        /// The member that is told.
        through: HostName,
        /// The version.
        version: u64,
        /// The hosts that a person named.
        hosts: BTreeSet<HostName>,
    },
    /// Shorten Garage's receiving delay on nodes that only receive: clear their resync queues. No `blocks` repair that was
    /// launched before that counts any more, so that the next round launches one, which finds what the queue held.
    QuickenReceivers {
        /// The member that is told.
        through: HostName,
        /// The move.
        #[serde(flatten)]
        of: MoveKey,
        /// The nodes.
        nodes: BTreeSet<NodeId>,
    },
    /// Launch a repair on nodes.
    LaunchRepair {
        /// The member that is told.
        through: HostName,
        /// The nodes.
        nodes: BTreeSet<NodeId>,
        /// Which one.
        kind: RepairKind,
    },
    /// Begin, in the background, to compare the block names that those list who held partitions before a version with
    /// those that the holders by the newest layout list.
    Compare {
        /// The move.
        #[serde(flatten)]
        of: MoveKey,
    },
    /// Set how fast a node's Garage moves blocks.
    SetResync {
        /// The member that is told.
        through: HostName,
        /// The nodes.
        nodes: BTreeSet<NodeId>,
        /// The setting.
        setting: ResyncFacts,
    },
    /// Put a host out: its node is barred, and its agent is not followed any more.
    Evict {
        /// The host.
        host: HostName,
        /// The node.
        node: NodeId,
    },
    /// Make a new RPC secret and static admin token, and let every host but the evicted ones write them down beside those
    /// that they go on using.
    StageSecrets {
        /// The evicted hosts.
        known_to: BTreeSet<HostName>,
    },
    /// Tell all hosts at one moment to use what was staged: every Garage restarts once.
    SwitchSecrets {
        /// The evicted hosts.
        known_to: BTreeSet<HostName>,
    },
    /// After the switch: renew what else evicted hosts know, S3 key and admin tokens.
    RotateSecrets {
        /// The evicted hosts.
        known_to: BTreeSet<HostName>,
    },
    /// Keep a snapshot of a host's metadata on another host.
    KeepSnapshot {
        /// The host.
        of: HostName,
        /// The other host.
        on: HostName,
    },
    /// Undo one thing at bucket or key that is not as it should be.
    Mend {
        /// The member that is told.
        through: HostName,
        /// What.
        drift: Drift,
    },
    /// Make a scoped admin token that expires, and forget the earlier one.
    RenewAdminToken {
        /// The member that is told.
        through: HostName,
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

/// A repair of Garage's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RepairKind {
    /// Look for blocks that should be there and are not.
    Blocks,
    /// Sync all tables in full.
    Tables,
    /// Read every block of the disk and check it.
    Scrub,
}

/// Something at bucket or key that is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "drift")]
pub enum Drift {
    /// The bucket has lost its name.
    Alias,
    /// Its limit is another one.
    Quota {
        /// The limit that it shall have.
        shall: Option<Bytes>,
    },
    /// It is served as a web site.
    Website,
    /// It has rules that delete objects by themselves.
    Lifecycle,
    /// It has CORS rules.
    Cors,
    /// The key may administer the bucket.
    KeyOwns,
    /// The key may make buckets.
    KeyCreates,
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
    /// Hosts came back as other nodes, and those that they were are down.
    NewNodes {
        /// The hosts.
        hosts: Vec<HostName>,
    },
    /// A node that lost its role is down, and the version in which it had one waits for it.
    NeverReturns,
    /// It does not exist.
    Missing,
    /// It is not as the document, or the cluster, wants it.
    Drifted,
    /// It is not as the document declares.
    NotDeclared,
    /// The host is empty, all it held lies elsewhere, and it shall hold nothing any more.
    Retired,
    /// A host that left should be empty by now, and has nothing more in its queue.
    Stranded {
        /// Blocks on its disk.
        blocks: u64,
    },
    /// Another minor version of Garage is installed on a host.
    BeforeGarage {
        /// Its version.
        version: String,
    },
    /// Another Garage is installed on the host.
    OtherGarage {
        /// Its version.
        version: String,
    },
    /// The host's node was evicted: it may come back as another one.
    Barred,
    /// The host's data disk was replaced, as a person said.
    NewDisk,
    /// The host's metadata went back to an earlier state.
    OlderMetadata,
    /// It was away too long.
    DeadTooLong {
        /// The host.
        host: HostName,
        /// For how long it was seen to be away.
        observed: Span,
    },
    /// A person asked for it.
    Asked {
        /// The hosts that were named.
        hosts: Vec<HostName>,
    },
    /// These hosts are put out of the layout.
    Evicted {
        /// The hosts.
        hosts: Vec<HostName>,
    },
    /// Members have different layouts of the same version.
    Split {
        /// The members that differ from most others.
        hosts: Vec<HostName>,
    },
    /// A move needs it.
    Move {
        /// The layout version.
        version: u64,
    },
    /// No move is under way any more, clients are busy, or the time of day is another one.
    Calm,
    /// It was last done then, or never.
    Due {
        /// When.
        last: Option<Timestamp>,
    },
    /// It expires then.
    Expires {
        /// When; `None`: there is none yet.
        at: Option<Timestamp>,
    },
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
    /// A host that comes and goes to stay for a while.
    Steady {
        /// How often it came back in a day.
        returns: usize,
        /// Until when it must stay.
        until: Timestamp,
    },
    /// Other copies of what a host holds: there are none.
    NoOtherCopy {
        /// The host.
        host: HostName,
    },
    /// Hosts that join or change, which comes before anybody leaves.
    Arrivals {
        /// The hosts.
        hosts: Vec<HostName>,
    },
    /// Hosts that are put out to lose their role.
    Removal {
        /// The hosts.
        hosts: Vec<String>,
    },
    /// Garage on another host, which runs anew, to prove itself.
    GarageTrial {
        /// The host.
        host: HostName,
    },
    /// Another program: on this host Garage of that version did not come up.
    GarageRefused {
        /// The host.
        host: HostName,
        /// The version.
        version: String,
    },
    /// Calm: nothing moves, nobody is down, no other upkeep runs.
    Calm,
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
    /// This coordinator to lead: too few agents have promised to follow it.
    Promises {
        /// Agents that did.
        promised: usize,
        /// How many must.
        need: usize,
    },
    /// Another coordinator to stop.
    OtherCoordinator {
        /// Its instance.
        holder: String,
    },
    /// A person to confirm an older document that came back.
    Confirmation,
    /// Repairs of these hosts to find no error.
    Repairs {
        /// The move.
        version: u64,
        /// The hosts.
        hosts: Vec<String>,
    },
    /// The tables of these hosts to be compared with those of others.
    TableRepairs {
        /// The version that settled without some, where that is why.
        version: Option<u64>,
        /// The hosts.
        hosts: Vec<String>,
    },
    /// A new data disk to be filled.
    Filled {
        /// Its host.
        host: String,
    },
    /// A host whose metadata went back to be repaired.
    Mended {
        /// It.
        host: String,
    },
    /// A comparison of block names.
    Comparison {
        /// The move.
        version: u64,
        /// How many blocks the last one found to be missing.
        missing: Option<u64>,
    },
    /// An earlier move to be placed.
    Placed {
        /// Its version.
        version: u64,
    },
    /// Garage's fixed delay.
    GarageDelay {
        /// When it ends.
        until: Timestamp,
    },
    /// A host that left to hold no block any more.
    Empty {
        /// The host.
        host: HostName,
        /// The blocks that it still holds.
        blocks: Option<u64>,
    },
    /// A host that is away to come back, or to be away long enough.
    Absence {
        /// The host.
        host: HostName,
        /// For how long it was seen to be away.
        observed: Span,
        /// After how long it counts as dead.
        dead_after: Span,
    },
    /// A host whose absence is announced.
    Away {
        /// The host.
        host: HostName,
        /// Until when.
        until: Timestamp,
    },
    /// A person to decide about dead hosts: a rule handles one at a time.
    PersonForDead {
        /// The hosts.
        hosts: Vec<HostName>,
    },
    /// A person to allow that what only these hosts held is given up, or the hosts to come back.
    AllowMissing {
        /// The version that cannot settle.
        version: u64,
        /// The hosts.
        hosts: Vec<String>,
    },
    /// Members to have the same layout.
    Agreement {
        /// The members whose layout is another one.
        hosts: Vec<HostName>,
    },
    /// The member that was told to apply a version, whose answer was not heard.
    Answer {
        /// The member.
        through: HostName,
        /// The version.
        version: u64,
    },
    /// A person: the host's data disk is empty or not mounted.
    DataLost {
        /// The host.
        host: HostName,
    },
    /// The host's evicted node to be forgotten.
    Barred {
        /// The host.
        host: HostName,
    },
    /// The document to let the host in.
    Admission {
        /// The field and what it asks for.
        why: String,
    },
    /// Hosts to write down the new secrets, which they are to use together.
    Staged {
        /// The hosts.
        hosts: Vec<HostName>,
    },
    /// Secrets that evicted hosts know to be renewed on these hosts.
    Secrets {
        /// The hosts.
        hosts: Vec<HostName>,
    },
    /// The secrets that these hosts knew to be renewed.
    Renewal {
        /// The evicted hosts.
        known_to: Vec<HostName>,
    },
    /// The clock of the host to be set.
    Clock {
        /// Seconds that it is ahead.
        ahead: i64,
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
