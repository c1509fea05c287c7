//! Facts, as they were observed, with the time of each look.

mod access;
mod cluster;
mod host;
mod moves;
mod presence;

use std::collections::{BTreeMap, BTreeSet};

use hayloft_api::{HostName, NodeId, Rate};
use jiff::Timestamp;

pub use access::{Access, AdminTokenFacts, BucketFacts, Renewal, SecretsFacts};
pub use cluster::{
    ClusterFacts, LayoutFacts, NodeFacts, NodeRole, PartitionFacts, RoleChange, Staged, Trackers,
    VersionFacts, VersionStatus,
};
pub use host::{
    Asked, AskedFor, HostFacts, OlderMetadataFacts, ReportFacts, ResyncFacts, SnapshotKept, Upkeep,
};
pub use moves::{Compared, Departure, MoveFacts, MoveKey, MoveKeyError, RepairFacts};
pub use presence::{Absence, Look, Presence};

/// All facts that a plan is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// When it was taken.
    pub now: Timestamp,
    /// The minute of the day, local time, 0 to 1439.
    pub minute_of_day: u16,
    /// When this coordinator began to observe.
    pub started: Timestamp,
    /// Whether this coordinator may act.
    pub leadership: Leadership,
    /// Hosts that report, and hosts remembered.
    pub hosts: BTreeMap<HostName, HostFacts>,
    /// What one member says of the cluster; `None` while none could be asked.
    pub cluster: Option<ClusterFacts>,
    /// What this cluster's coordinator last put into Garage's staging area.
    pub staged_by_us: Option<Staged>,
    /// An apply whose answer was not heard, as long as nothing shows what became of it.
    pub unanswered: Option<Unanswered>,
    /// Whether bucket, key and permission were all seen once.
    pub bucket_made: bool,
    /// Every applied version that is not over, oldest first; see [`MoveFacts`].
    pub moves: Vec<MoveFacts>,
    /// Nodes that were evicted: never let in again.
    pub barred: BTreeSet<NodeId>,
    /// Hosts of which a person said that what only they held may be given up.
    pub may_lack: BTreeSet<HostName>,
    /// What evicted hosts still know.
    pub secrets: SecretsFacts,
    /// Bytes a second that one destination was last seen to receive in a move; `None`: not measured yet.
    pub rate: Option<Rate>,
    /// Whether clients have asked for next to nothing lately, by Garage's own request counters.
    pub clients_idle: bool,
    /// An older document came back and waits for a person's word; the time at which it was replaced.
    pub stale_document: Option<Timestamp>,
    /// Ports of hosts that others do not reach, though both hosts are there.
    pub unreached: Vec<Unreached>,
}

impl Snapshot {
    /// A first snapshot, of nothing.
    pub fn empty(now: Timestamp) -> Self {
        Self {
            now,
            minute_of_day: 0,
            started: now,
            leadership: Leadership::Leading,
            hosts: BTreeMap::new(),
            cluster: None,
            staged_by_us: None,
            unanswered: None,
            bucket_made: false,
            moves: Vec::new(),
            barred: BTreeSet::new(),
            may_lack: BTreeSet::new(),
            secrets: SecretsFacts::default(),
            rate: None,
            clients_idle: false,
            stale_document: None,
            unreached: Vec::new(),
        }
    }
}

/// A port of a host that another one does not reach.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unreached {
    /// Who dialled.
    pub from: HostName,
    /// Whom.
    pub to: HostName,
    /// `host:port`.
    pub address: String,
    /// What went wrong.
    pub why: String,
}

/// Whether a coordinator may act.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Leadership {
    /// A majority of the layout's agents follow it alone.
    #[default]
    Leading,
    /// Too few agents answered to say.
    Unpromised {
        /// Agents that follow it.
        promised: usize,
        /// How many must.
        need: usize,
    },
    /// Another coordinator leads.
    Other {
        /// Its instance, as agents name it.
        holder: String,
    },
}

/// An apply whose answer was not heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unanswered {
    /// The member that was told.
    pub through: HostName,
    /// The version that it may have made.
    pub version: u64,
    /// When it was told.
    pub at: Timestamp,
}
