//! What is known of a host.

use std::collections::BTreeSet;

use hayloft_api::agent::{BlocksReport, DataState, DiskReport, GarageWaiting, RolledBack};
use hayloft_api::question::LayoutDigest;
use hayloft_api::{HostName, NodeId, Rate, ZoneName};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::Presence;
use crate::HostPlan;

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
    /// Whether it is there, and how it behaved lately.
    pub presence: Presence,
    /// What a person asked of it, beside the document.
    pub asked: Option<Asked>,
    /// How far its clock is ahead of the coordinator's.
    pub skew: Option<SignedDuration>,
    /// Garage's resync on it, as last read.
    pub resync: Option<ResyncFacts>,
    /// Bytes a second that its Garage sends, measured since its resync was last set.
    pub sending: Option<Rate>,
    /// What was done for its upkeep; `None`: not known yet.
    pub upkeep: Option<Upkeep>,
    /// Its metadata is older than what it had before, and it is not proven yet that it holds all that it should.
    pub rolled_back: Option<OlderMetadataFacts>,
}

/// Why a host's metadata is older than what it had before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OlderMetadataFacts {
    /// Its agent found it so.
    WentBack(RolledBack),
    /// A person put it back from a snapshot.
    Restored,
}

impl HostFacts {
    /// Whether a person said that its data disk was replaced, and no repair was launched on it since. One word of a person
    /// is good for one disk.
    pub fn has_new_disk(&self) -> bool {
        self.asked.is_some_and(|asked| {
            let repaired = self.upkeep.as_ref().and_then(|upkeep| upkeep.blocks);
            asked.what == AskedFor::NewDisk && repaired.is_none_or(|at| at <= asked.at)
        })
    }
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
    /// Where other gateways would reach its gateway; `None`: it can only run one that is alone.
    pub link_addr: Option<String>,
    /// The version of its Garage.
    pub garage_version: Option<String>,
    /// Another Garage that is installed on it.
    pub garage_waiting: Option<GarageWaiting>,
    /// Why its Garage must not be used, if so.
    pub unfit: Option<String>,
    /// Whether its Garage runs.
    pub garage_runs: bool,
    /// When its Garage last started, as far as is known.
    pub garage_started: Option<Timestamp>,
    /// Whether its gateway runs.
    pub gateway_runs: bool,
    /// The disk that holds its data.
    pub disk: Option<DiskReport>,
    /// The layout that its Garage has on disk.
    pub layout: Option<LayoutDigest>,
    /// Its data folder.
    pub data: DataState,
    /// The blocks in it.
    pub blocks: Option<BlocksReport>,
}

/// What a person asked of a host, beside the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// What.
    pub what: AskedFor,
    /// When.
    pub at: Timestamp,
}

/// What a person can ask of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AskedFor {
    /// It gives its data away and then holds none.
    Drain,
    /// The same, and it is not wanted back.
    Remove,
    /// It is put out at once, without its help.
    Evict,
    /// Its data disk was replaced: an empty one is accepted.
    NewDisk,
}

/// Garage's resync on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResyncFacts {
    /// Workers, 1 to 8.
    pub workers: u8,
    /// How many times a step's length it rests after each step.
    pub tranquility: u32,
}

impl Default for ResyncFacts {
    /// As Garage starts out.
    fn default() -> Self {
        Self {
            workers: 1,
            tranquility: 2,
        }
    }
}

/// What was done for a host's upkeep.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Upkeep {
    /// Since when it is looked after: what was never done is due an interval later.
    pub since: Option<Timestamp>,
    /// When its tables were last repaired.
    pub tables: Option<Timestamp>,
    /// When its blocks were last repaired, for a move or by schedule.
    pub blocks: Option<Timestamp>,
    /// When its disk was last scrubbed, or a scrub was begun.
    pub scrub: Option<Timestamp>,
    /// Whether a repair or scrub runs.
    pub busy: bool,
    /// Corrupted blocks that scrubs found.
    pub corruptions: u64,
    /// The newest snapshot of its metadata that lies on another host.
    pub snapshot: Option<SnapshotKept>,
    /// When a snapshot was last tried.
    pub snapshot_tried: Option<Timestamp>,
}

/// A snapshot of a host's metadata that another host keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotKept {
    /// When it was made.
    pub made: Timestamp,
    /// The host that keeps it.
    pub on: HostName,
}
