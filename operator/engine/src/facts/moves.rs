//! Applied layout versions, and how far their data has come.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use hayloft_api::{Bytes, NodeId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::NodeRole;

/// Which move: a layout version, or, while one is in force, the filling of a node's new data disk. Later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MoveKey {
    /// The layout version.
    pub version: u64,
    /// The node whose new data disk is filled; the layout stays as it is then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refilled: Option<NodeId>,
}

impl From<u64> for MoveKey {
    fn from(version: u64) -> Self {
        Self {
            version,
            refilled: None,
        }
    }
}

/// As records are named: `7`, or `7/` and the node.
impl fmt::Display for MoveKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.refilled {
            None => write!(f, "{}", self.version),
            Some(id) => write!(f, "{}/{id}", self.version),
        }
    }
}

/// A text that names no move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a move is named by its layout version, or by that, `/` and a node")]
pub struct MoveKeyError;

impl FromStr for MoveKey {
    type Err = MoveKeyError;

    fn from_str(text: &str) -> Result<Self, MoveKeyError> {
        let (version, node) = match text.split_once('/') {
            None => (text, None),
            Some((version, node)) => (version, Some(node)),
        };
        Ok(Self {
            version: version.parse().map_err(|_| MoveKeyError)?,
            refilled: node.map(str::parse).transpose().map_err(|_| MoveKeyError)?,
        })
    }
}

/// An applied version of the layout, from the moment it was applied until all its data is where it belongs and everyone
/// who left is empty. The coordinator keeps it, so that nothing is forgotten by a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MoveFacts {
    /// The version.
    pub version: u64,
    /// The node whose new data disk is filled, where that is all that this is: the layout is the same before and after.
    #[serde(default)]
    pub refilled: Option<NodeId>,
    /// When it was applied, or the new disk was first seen in use.
    pub applied: Timestamp,
    /// When its metadata was first seen to be synced everywhere.
    pub settled: Option<Timestamp>,
    /// The roles before.
    pub before: BTreeMap<NodeId, NodeRole>,
    /// The roles after.
    pub after: BTreeMap<NodeId, NodeRole>,
    /// Copies of partitions that moved; `None` where the maps could not be read.
    pub partitions: Option<u64>,
    /// Who gains how many partitions.
    pub destinations: BTreeMap<NodeId, u64>,
    /// Who loses how many.
    pub sources: BTreeMap<NodeId, u64>,
    /// Bytes that are to move, counted or estimated when it was applied.
    pub bytes: Option<Bytes>,
    /// Bytes of them that were seen to have arrived; never less than before.
    pub arrived: Bytes,
    /// When Garage's delay was shortened for a destination.
    pub quickened: BTreeMap<NodeId, Timestamp>,
    /// The `blocks` repair of each destination: the last one launched.
    pub repairs: BTreeMap<NodeId, RepairFacts>,
    /// The `tables` repair of each node, where somebody allowed data to be missing.
    #[serde(default)]
    pub tables: BTreeMap<NodeId, RepairFacts>,
    /// Whether the refilled node's metadata went back to an earlier state: then its disk is the old one, and tables are repaired
    /// before blocks are looked for.
    #[serde(default)]
    pub older_metadata: bool,
    /// When somebody allowed that what only dead hosts held is missing: everyone is repaired then.
    #[serde(default)]
    pub missing_allowed: Option<Timestamp>,
    /// Since when a comparison runs.
    #[serde(default)]
    pub comparing: Option<Timestamp>,
    /// The last comparison that ended, of the block names that former holders and the holders by the newest layout list.
    pub compared: Option<Compared>,
    /// Blocks that those who left held when it settled, for progress.
    #[serde(default)]
    pub held: BTreeMap<NodeId, u64>,
    /// When every block was seen where the version wants it.
    pub placed: Option<Timestamp>,
    /// When a host that lost its role was seen to hold no block any more.
    pub emptied: BTreeMap<NodeId, Timestamp>,
    /// How far people were told it has come, in permille: settled, placed, empty. What is told never goes back.
    pub told: [u16; 3],
}

impl MoveFacts {
    /// Which move it is.
    pub fn key(&self) -> MoveKey {
        MoveKey {
            version: self.version,
            refilled: self.refilled,
        }
    }

    /// Those who lost their role in it.
    pub fn departures(&self) -> impl Iterator<Item = Departure<'_>> {
        self.before.iter().filter_map(|(id, role)| {
            let stores = |role: &NodeRole| role.capacity.is_some();
            (stores(role) && !self.after.get(id).is_some_and(stores)).then_some(Departure { id: *id, role })
        })
    }

    /// Whether this node is still to receive blocks of a version that all follow.
    pub fn awaits_blocks_of(&self, node: NodeId) -> bool {
        self.placed.is_none() && self.settled.is_some() && self.receivers().contains(&node)
    }

    /// Those who must have received everything, as far as is known: who gains partitions, or, without the maps, who
    /// holds data at all.
    pub fn receivers(&self) -> Vec<NodeId> {
        if let Some(id) = self.refilled {
            return vec![id];
        }
        if self.partitions.is_some() && self.missing_allowed.is_none() {
            let gains = self
                .destinations
                .iter()
                .filter(|(_, partitions)| **partitions > 0);
            gains.map(|(id, _)| *id).collect()
        } else {
            let stores = self.after.iter().filter(|(_, role)| role.capacity.is_some());
            stores.map(|(id, _)| *id).collect()
        }
    }

    /// Whether a node gains partitions and loses none: nothing of it is wanted by others.
    pub fn only_receives(&self, id: NodeId) -> bool {
        self.partitions.is_some()
            && self.destinations.get(&id).is_some_and(|gains| *gains > 0)
            && self.sources.get(&id).is_none_or(|losses| *losses == 0)
    }

    /// Whether nothing has to move and nobody leaves.
    pub fn is_trivial(&self) -> bool {
        self.partitions == Some(0) && self.departures().next().is_none() && self.missing_allowed.is_none()
    }

    /// Whether tables are repaired before blocks are looked for: also for a disk that is filled again, for what others were
    /// told while its host was away they tell it of their own accord only every ten minutes.
    pub fn repairs_tables(&self) -> bool {
        self.missing_allowed.is_some() || self.refilled.is_some()
    }

    /// Whether the tables of everyone were compared with the others' since somebody allowed data to be missing, or since a
    /// host's metadata went back; at once where neither happened. Who does not hold a role any more is not waited for.
    pub fn tables_done(&self, holds: impl Fn(NodeId) -> bool) -> bool {
        let stores = self.after.iter().filter(|(_, role)| role.capacity.is_some());
        !self.repairs_tables()
            || stores.map(|(id, _)| *id).filter(|id| holds(*id)).all(|id| {
                let repair = self.tables.get(&id);
                repair.is_some_and(|repair| repair.finished.is_some())
            })
    }

    /// Since when a `blocks` repair counts: from settling on, and where tables are repaired, from the end of that on, for
    /// only then a node knows what it should have.
    pub fn repairs_count_from(&self) -> Option<Timestamp> {
        let tables = self.tables.values().filter_map(|repair| repair.finished).max();
        self.settled.max(tables.filter(|_| self.settled.is_some()))
    }

    /// Whether this node's last repair counts and has finished without errors: it began after settling, after the repairs
    /// of tables and after the node last started.
    pub fn repaired(&self, id: NodeId, started: Option<Timestamp>) -> bool {
        let (Some(from), Some(repair)) = (self.repairs_count_from(), self.repairs.get(&id)) else {
            return false;
        };
        repair.errors == 0
            && repair.finished.is_some()
            && repair.launched >= from
            && started.is_some_and(|started| repair.launched >= started)
    }

    /// Whether every receiver's repair counts. `started` tells when a node's Garage last started.
    pub fn all_repaired(&self, started: impl Fn(NodeId) -> Option<Timestamp>) -> bool {
        self.receivers()
            .into_iter()
            .all(|id| self.repaired(id, started(id)))
    }

    /// When the last of the repairs that count ended.
    pub fn repairs_ended(&self) -> Option<Timestamp> {
        let receivers = self.receivers();
        let ended = receivers
            .iter()
            .map(|id| self.repairs.get(id).and_then(|repair| repair.finished));
        ended
            .collect::<Option<Vec<_>>>()
            .map(|ended| ended.into_iter().max().or(self.settled).unwrap_or(self.applied))
    }

    /// Whether every block lies where this version wants it: it settled, every receiver's repair counts, and a
    /// comparison that began after them found nothing missing. The coordinator writes it down as `placed`.
    pub fn is_placed(&self, started: impl Fn(NodeId) -> Option<Timestamp>) -> bool {
        if self.settled.is_none() || !self.tables_done(|_| true) {
            return false;
        }
        if self.partitions == Some(0) {
            return true;
        }
        self.all_repaired(started)
            && self.compared.is_some_and(|compared| {
                compared.missing == 0 && self.repairs_ended().is_some_and(|ended| compared.began >= ended)
            })
    }

    /// Whether it is placed and everyone who left is empty, or is `gone`: dead, evicted or another node now.
    pub fn is_over(&self, gone: impl Fn(NodeId) -> bool) -> bool {
        self.placed.is_some()
            && self
                .departures()
                .all(|departure| self.emptied.contains_key(&departure.id) || gone(departure.id))
    }
}

/// Somebody who lost the role of a storage node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Departure<'a> {
    /// The node.
    pub id: NodeId,
    /// The role that it had.
    pub role: &'a NodeRole,
}

/// A repair of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RepairFacts {
    /// When it was launched.
    pub launched: Timestamp,
    /// When its workers were seen to be done.
    pub finished: Option<Timestamp>,
    /// Errors of the worker and of the resync queue when it was done.
    pub errors: u64,
}

/// A comparison of block names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Compared {
    /// When the first list of it was asked for.
    pub began: Timestamp,
    /// When it ended.
    pub at: Timestamp,
    /// Blocks that a former holder lists, a new holder does not, and somebody still refers to.
    pub missing: u64,
    /// Blocks that were compared.
    pub of: u64,
}
