//! What the coordinator tells an agent, and what an agent reports.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::document::CacheSpec;
use crate::question::{LayoutDigest, PromiseReport};
use crate::{Bytes, Generation, HostName, NodeId, Rate, Secret, ZoneName, exposed};

/// All that one host shall run. An agent keeps the last one on disk and follows it when the coordinator is away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostDesired {
    /// Its number; see [`crate::judge`].
    pub generation: Generation,
    /// The host it is for.
    pub host: HostName,
    /// The Garage daemon, where the host shall run one.
    pub garage: Option<GarageDesired>,
    /// The gateway, where the host shall run one.
    pub gateway: Option<GatewayDesired>,
    /// A node id that the host shall have no more. When its node key has this id, Garage is stopped, its metadata deleted and
    /// a new node key made. With any other id nothing happens, so it can stay here.
    #[serde(default)]
    pub forget: Option<NodeId>,
    /// Whether the blocks are deleted with the node that is forgotten. Said only of a host that is empty; refused while a
    /// block's name is found under its data folder.
    #[serde(default)]
    pub erase_blocks: bool,
    /// A person said that the data disk was replaced: an empty data folder is marked as Garage's own, which else would
    /// not start on it. Of no effect on a folder that holds blocks.
    #[serde(default)]
    pub accept_empty_data: bool,
    /// Secrets that the host is to use from some later moment on, together with all others. It only writes them down with
    /// the rest of this; a report of this generation says that it has.
    #[serde(default)]
    pub staged: Option<StagedSecrets>,
}

impl HostDesired {
    /// A host that shall run nothing.
    pub fn nothing(generation: Generation, host: HostName) -> Self {
        Self {
            generation,
            host,
            garage: None,
            gateway: None,
            forget: None,
            erase_blocks: false,
            accept_empty_data: false,
            staged: None,
        }
    }
}

/// Secrets of Garage that are not in use yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StagedSecrets {
    /// The next RPC secret.
    #[serde(with = "exposed")]
    pub rpc_secret: Secret,
    /// The next static admin token.
    #[serde(with = "exposed")]
    pub admin_token: Secret,
}

/// What a host's Garage daemon must know. Paths, keys and ports are the agent's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GarageDesired {
    /// Copies of every block; never changes in a cluster's life.
    pub replication_factor: u8,
    /// Whether data and metadata are flushed to disk before a write is acknowledged.
    pub fsync: bool,
    /// The cluster's RPC secret: 64 hex digits.
    #[serde(with = "exposed")]
    pub rpc_secret: Secret,
    /// The static admin token: 64 hex digits, because Garage never accepts one with a `.` in it.
    #[serde(with = "exposed")]
    pub admin_token: Secret,
    /// The region that S3 requests are signed for.
    pub s3_region: String,
    /// The zone the host is in.
    pub zone: ZoneName,
    /// `host:port` at which members reach its RPC, where the document knows that and the agent does not.
    #[serde(default)]
    pub rpc_public: Option<String>,
    /// The program that its Garage may be restarted into, as [`GarageWaiting`] names it; `None`: the one that runs goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// All other members known, by address. A change needs no restart: see [`GarageDesired::needs_restart`].
    pub bootstrap_peers: Vec<Peer>,
}

impl GarageDesired {
    /// Whether a daemon that was started with `running` must be restarted to follow `self`. The peers are only
    /// read at start, but the coordinator connects running members itself.
    pub fn needs_restart(&self, running: &Self) -> bool {
        let Self {
            replication_factor,
            fsync,
            rpc_secret,
            admin_token,
            s3_region,
            zone: _,
            rpc_public,
            program: _,
            bootstrap_peers: _,
        } = self;
        *replication_factor != running.replication_factor
            || *fsync != running.fsync
            || *rpc_secret != running.rpc_secret
            || *admin_token != running.admin_token
            || *s3_region != running.s3_region
            || *rpc_public != running.rpc_public
    }
}

/// A Garage member and the address at which others reach its RPC port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// The node's id.
    pub id: NodeId,
    /// `host:port`.
    pub addr: String,
}

impl std::fmt::Display for Peer {
    /// As Garage writes it: `id@host:port`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.id, self.addr)
    }
}

/// What a host's gateway must know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayDesired {
    /// `host:port` to listen at: the address that the agent reported for it.
    pub listen: String,
    /// The URL that clients use; `None`: made from each request.
    pub public_url: Option<String>,
    /// The bucket.
    pub s3: S3Desired,
    /// Base64 of the raw HS256 secret that signs tokens.
    #[serde(with = "exposed")]
    pub token_secret: Secret,
    /// `hlk1:` and base64 of 32 bytes, from which log signing and sealing keys are derived.
    #[serde(with = "exposed")]
    pub cluster_key: Secret,
    /// Bytes of frames to keep in memory.
    pub memory: Bytes,
    /// Bytes of frames to keep on its disk; `None`: no such cache.
    #[serde(default)]
    pub disk: Option<Bytes>,
    /// Bytes a second that it may send to clients elsewhere; `None`: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplink: Option<Rate>,
    /// The caches that the document declares.
    pub caches: Vec<CacheSpec>,
    /// The other gateways on the bucket; `None`: it is alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<FleetDesired>,
}

/// A gateway among others on one bucket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FleetDesired {
    /// What the others call it: its host's name.
    pub name: HostName,
    /// `host:port` at which the others reach it: the address that the agent reported for it.
    pub listen: String,
    /// The others.
    pub peers: Vec<GatewayPeer>,
}

/// Another gateway.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayPeer {
    /// Its name.
    pub name: HostName,
    /// `host:port` of its link.
    pub addr: String,
}

/// The bucket that holds everything, and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct S3Desired {
    /// URLs, nearest first.
    pub endpoints: Vec<String>,
    /// The region that requests are signed for.
    pub region: String,
    /// The bucket's name.
    pub bucket: String,
    /// `GK` and 24 hex digits.
    pub access_key_id: String,
    /// 64 hex digits.
    #[serde(with = "exposed")]
    pub secret_access_key: Secret,
}

/// What an agent says about its host: facts only, also before it has any desired state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostReport {
    /// The host.
    pub host: HostName,
    /// Counts this agent's reports since it started.
    pub seq: u64,
    /// The desired state that it follows, if any.
    pub generation: Option<Generation>,
    /// The id of its Garage node key, which exists before Garage first starts.
    pub garage_id: NodeId,
    /// The version of the Garage that runs, or would be started, e.g. `2.5.0`.
    pub garage_version: Option<String>,
    /// Another Garage that is installed, and not the one that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub garage_waiting: Option<GarageWaiting>,
    /// `host:port` at which members reach its Garage's RPC.
    pub rpc_addr: String,
    /// `host:port` at which gateways reach its Garage's S3 API.
    pub s3_addr: String,
    /// Where its Garage's admin API answers.
    pub admin: AdminAddress,
    /// `host:port` at which its gateway would listen; `None`: it cannot run one.
    pub gateway_addr: Option<String>,
    /// `host:port` at which other gateways would reach its gateway; `None`: it can only run one that is alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_addr: Option<String>,
    /// What it runs.
    pub units: Vec<UnitReport>,
    /// The disk that holds its data.
    pub disk: Option<DiskReport>,
    /// The layout that its member follows, by the file on disk; `None` before the first.
    #[serde(default)]
    pub layout: Option<LayoutDigest>,
    /// What is found where its blocks shall be.
    #[serde(default)]
    pub data: DataState,
    /// The last finished count of its blocks.
    #[serde(default)]
    pub blocks: Option<BlocksReport>,
    /// Whom it promised to follow last.
    #[serde(default)]
    pub promise: Option<PromiseReport>,
    /// The member's metadata is older than what it had before: it was put back from a backup. Deleted things come to life
    /// again from it, so the host shall return as a new node.
    #[serde(default)]
    pub rolled_back: Option<RolledBack>,
    /// The host's clock as it made this report.
    #[serde(default)]
    pub clock: Timestamp,
}

/// A Garage that a host would run, and does not yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GarageWaiting {
    /// What tells it from others: its path on the host. Only ever compared, never run because somebody named it.
    pub program: String,
    /// Its version.
    pub version: String,
    /// How far it is.
    pub standing: ProgramStanding,
}

/// How far a program is that shall follow another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProgramStanding {
    /// It waits for leave.
    Held,
    /// It was started, and has yet to run for a while.
    Trying,
    /// It did not come up, and the former one runs again.
    Refused,
}

/// The unit name of the Garage daemon in reports.
pub const GARAGE_UNIT: &str = "garage";
/// The unit name of the gateway in reports.
pub const GATEWAY_UNIT: &str = "gateway";

impl HostReport {
    /// The state of a unit, if the host has it.
    pub fn unit(&self, name: &str) -> Option<&UnitReport> {
        self.units.iter().find(|unit| unit.name == name)
    }

    /// Whether a unit runs.
    pub fn runs(&self, name: &str) -> bool {
        self.unit(name)
            .is_some_and(|unit| matches!(unit.state, UnitState::Running { .. }))
    }
}

/// Where an admin API answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AdminAddress {
    /// A socket of this machine.
    Unix(PathBuf),
    /// `http://host:port`.
    Url(String),
}

/// One thing that an agent runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnitReport {
    /// [`GARAGE_UNIT`] or [`GATEWAY_UNIT`].
    pub name: String,
    /// What it does now.
    pub state: UnitState,
    /// How often it was started again since the agent started.
    pub restarts: u32,
    /// The last thing that went wrong, in words.
    pub last_error: Option<String>,
}

/// What a unit does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "is")]
pub enum UnitState {
    /// Started, but it does not answer yet.
    Starting {
        /// Its process.
        pid: u32,
    },
    /// It runs and answers.
    Running {
        /// Its process.
        pid: u32,
    },
    /// It ended and will be started again.
    BackingOff {
        /// Milliseconds until then.
        retry_in_ms: u64,
    },
    /// It cannot be started without help.
    Failed {
        /// Why.
        reason: String,
    },
    /// It shall not run.
    Stopped,
}

/// What is found where a host's blocks shall be. Garage marks its data folder, keeps the mark in its metadata, and does not
/// start when they differ.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "is")]
pub enum DataState {
    /// Garage never ran here: there are neither metadata nor blocks.
    #[default]
    Fresh,
    /// As it shall be.
    Present,
    /// There are blocks and no metadata: it was lost, or another member's disk is here. Garage starts as a new node, and
    /// the blocks are of use when it is given their partitions.
    MetadataLost,
    /// Metadata says that there are blocks, and the folder does not bear its mark: the disk is not mounted, or it was
    /// replaced. Garage does not start.
    MarkMissing {
        /// Whether any block lies there.
        holds_blocks: bool,
    },
    /// The folder bears the mark of another member. Garage does not start.
    OtherMark {
        /// Whether any block lies there.
        holds_blocks: bool,
    },
    /// The system does not let it be read.
    Unreadable {
        /// What it said.
        why: String,
    },
}

/// Metadata that went back in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolledBack {
    /// The newest layout version that this node ever had.
    pub had: u64,
    /// The one that was found when the host started.
    pub found: u64,
}

/// Blocks on a host's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlocksReport {
    /// How many.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When they were counted (the beginning of the count).
    pub at: Timestamp,
}

/// Space on the file system that holds a host's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskReport {
    /// Bytes that can still be written.
    pub data_available: u64,
    /// Bytes that the file system has.
    pub data_total: u64,
}
