//! A Garage that is not there: layouts, their history, and blocks, as they were seen to behave in Garage 2.5.0, without a
//! process, a disk or a clock. For tests; the real one is held against it.
//!
//! Time is counted in seconds from a beginning; [`SimGarage::advance`] lets it pass.

mod assign;
mod blocks;
mod history;

use std::collections::{BTreeMap, BTreeSet};

use hayloft_api::NodeId;
use hayloft_api::question::LayoutMap;

use crate::{LayoutFacts, NodeFacts, NodeRole, RoleChange, Staged, Trackers, VersionFacts, VersionStatus};

pub use blocks::Block;

/// Why the simulated Garage refuses something, as the real one would.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SimError {
    /// The node that is asked does not run.
    #[error("the node does not answer")]
    Down,
    /// The number is not the next one. The real one answers 500.
    #[error("Invalid new layout version")]
    WrongVersion,
    /// The roles cannot hold all copies.
    #[error("{0}")]
    Impossible(String),
    /// There is nothing to skip. The real one answers 400.
    #[error("nothing to skip: one version is live")]
    OneVersion,
    /// No quorum.
    #[error("no quorum")]
    NoQuorum,
}

/// One version of the layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimVersion {
    /// Its number.
    pub version: u64,
    /// Roles.
    pub roles: BTreeMap<NodeId, NodeRole>,
    /// Copies are in at least so many zones.
    pub zone_redundancy: u8,
    /// Who holds which partition.
    pub map: LayoutMap,
    /// Whether quorums still need it.
    pub live: bool,
}

#[derive(Debug, Clone, Default)]
struct SimNode {
    up: bool,
    started: u64,
    /// Blocks on its disk.
    blocks: BTreeSet<Block>,
    /// When it will look after which block.
    queue: BTreeMap<Block, u64>,
    tracker: Tracker,
    /// Repairs that run: when they end.
    repair: Option<u64>,
    /// Whether Garage refuses to start on its data disk.
    unmarked: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Tracker {
    ack: u64,
    sync: u64,
    sync_ack: u64,
}

/// The simulated cluster, with the view that every connected node has.
#[derive(Debug, Clone)]
pub struct SimGarage {
    copies: usize,
    /// Twice the RPC timeout: how long a receiver waits.
    pub receiving_delay: u64,
    now: u64,
    nodes: BTreeMap<NodeId, SimNode>,
    versions: Vec<SimVersion>,
    staged: Staged,
    /// Blocks that somebody refers to.
    live: BTreeSet<Block>,
    made: u32,
    /// The newest version of whose blocks all nodes have heard.
    referred: u64,
}

impl SimGarage {
    /// An empty cluster that keeps so many copies.
    pub fn new(copies: u8) -> Self {
        Self {
            copies: usize::from(copies),
            receiving_delay: 600,
            now: 0,
            nodes: BTreeMap::new(),
            versions: Vec::new(),
            staged: Staged::default(),
            live: BTreeSet::new(),
            made: 0,
            referred: 0,
        }
    }

    /// Seconds since the beginning.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Starts a node, connected to all others. Whether it starts: not on a data disk without its mark.
    pub fn start(&mut self, id: NodeId) -> bool {
        let now = self.now;
        let current = self.current_version();
        let known = self
            .versions
            .last()
            .is_some_and(|version| version.roles.contains_key(&id));
        let node = self.nodes.entry(id).or_default();
        if node.unmarked {
            return false;
        }
        if !node.up {
            node.up = true;
            node.started = now;
            if !known {
                node.tracker.ack = node.tracker.ack.max(current);
            }
        }
        true
    }

    /// Ends a node. What it was about to look after stays in its queue, unless it dies `unflushed`.
    pub fn stop(&mut self, id: NodeId, unflushed: bool) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.up = false;
            node.repair = None;
            if unflushed {
                node.queue.clear();
            }
        }
    }

    /// Takes a node's data disk away; its metadata stays. It does not start until the empty disk is accepted.
    pub fn lose_data(&mut self, id: NodeId) {
        self.stop(id, false);
        if let Some(node) = self.nodes.get_mut(&id) {
            node.blocks.clear();
            node.unmarked = true;
        }
    }

    /// Accepts an empty data disk.
    pub fn accept_data(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.unmarked = false;
        }
    }

    /// Deletes a node's metadata: it is that node no more. Its blocks go to the node that it becomes.
    pub fn forget(&mut self, id: NodeId, becomes: NodeId, erase_blocks: bool) {
        if let Some(old) = self.nodes.remove(&id) {
            // The others know it still, as one that is down.
            let gone = SimNode {
                tracker: old.tracker,
                ..SimNode::default()
            };
            self.nodes.insert(id, gone);
            let node = SimNode {
                blocks: if erase_blocks { BTreeSet::new() } else { old.blocks },
                ..SimNode::default()
            };
            self.nodes.insert(becomes, node);
        }
    }

    /// Whether a node's Garage refuses to start on its data disk.
    pub fn has_lost_data(&self, id: NodeId) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.unmarked)
    }

    /// Whether a node runs.
    pub fn is_up(&self, id: NodeId) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.up)
    }

    /// When a node last started.
    pub fn started(&self, id: NodeId) -> Option<u64> {
        self.nodes.get(&id).map(|node| node.started)
    }

    /// The number of the newest version; 0 before the first.
    pub fn current_version(&self) -> u64 {
        self.versions.last().map_or(0, |version| version.version)
    }

    /// A version that was applied.
    pub fn version(&self, number: u64) -> Option<&SimVersion> {
        self.versions.iter().find(|version| version.version == number)
    }

    /// Puts changes into the staging area, which all members share.
    ///
    /// # Errors
    /// When the member does not run.
    pub fn stage(&mut self, through: NodeId, change: &Staged) -> Result<(), SimError> {
        self.asked(through)?;
        self.staged.roles.extend(change.roles.clone());
        if change.zone_redundancy.is_some() {
            self.staged.zone_redundancy = change.zone_redundancy;
        }
        Ok(())
    }

    /// Empties the staging area.
    ///
    /// # Errors
    /// When the member does not run.
    pub fn revert(&mut self, through: NodeId) -> Result<(), SimError> {
        self.asked(through)?;
        self.staged = Staged::default();
        Ok(())
    }

    /// What the next version would be.
    ///
    /// # Errors
    /// When the roles cannot hold all copies.
    pub fn preview(&self) -> Result<SimVersion, SimError> {
        let current = self.versions.last();
        let mut roles = current.map(|version| version.roles.clone()).unwrap_or_default();
        for (id, change) in &self.staged.roles {
            match change {
                RoleChange::Assign(role) => roles.insert(*id, role.clone()),
                RoleChange::Remove => roles.remove(id),
            };
        }
        let copies = u8::try_from(self.copies).unwrap_or(u8::MAX);
        let kept = current.map_or(copies, |version| version.zone_redundancy);
        let zone_redundancy = self.staged.zone_redundancy.flatten().unwrap_or(kept);
        let map = assign::assign(
            &roles,
            self.copies,
            usize::from(zone_redundancy),
            current.map(|version| &version.map),
        )?;
        Ok(SimVersion {
            version: self.current_version() + 1,
            roles,
            zone_redundancy,
            map,
            live: true,
        })
    }

    /// Applies what is staged; also when nothing is.
    ///
    /// # Errors
    /// When the number is not the next one, or the roles cannot hold all copies.
    pub fn apply(&mut self, through: NodeId, version: u64) -> Result<(), SimError> {
        self.asked(through)?;
        if version != self.current_version() + 1 {
            return Err(SimError::WrongVersion);
        }
        let next = self.preview()?;
        self.staged = Staged::default();
        self.begin(next);
        Ok(())
    }

    /// Counts nodes as having heard of a version: those that are down, or, with `allow_missing`, all, and as synced too.
    ///
    /// # Errors
    /// When one version is live.
    pub fn skip_dead(&mut self, through: NodeId, version: u64, allow_missing: bool) -> Result<(), SimError> {
        self.asked(through)?;
        if self.live_versions().count() < 2 || version > self.current_version() {
            return Err(SimError::OneVersion);
        }
        let taking_part = self.taking_part();
        for (id, node) in &mut self.nodes {
            if taking_part.contains(id) && (!node.up || allow_missing) {
                node.tracker.ack = node.tracker.ack.max(version);
                if allow_missing {
                    node.tracker.sync = node.tracker.sync.max(version);
                }
            }
        }
        self.refer();
        Ok(())
    }

    /// The layout as a plan sees it.
    pub fn layout(&self) -> LayoutFacts {
        let Some(current) = self.versions.last() else {
            return LayoutFacts {
                staged: self.staged.clone(),
                settled: true,
                ..LayoutFacts::default()
            };
        };
        let partitions = current
            .roles
            .keys()
            .map(|id| (*id, count(current.map.partitions_of(id))));
        LayoutFacts {
            version: current.version,
            roles: current.roles.clone(),
            partitions: partitions.collect(),
            zone_redundancy: Some(current.zone_redundancy),
            staged: self.staged.clone(),
            settled: self.is_settled(),
        }
    }

    /// Nodes as a member sees them: those with a role in a live version, and those that are up.
    pub fn status(&self) -> BTreeMap<NodeId, NodeFacts> {
        let taking_part = self.taking_part();
        let current = self.versions.last();
        let mut status = BTreeMap::new();
        for (id, node) in &self.nodes {
            let part = taking_part.contains(id);
            if !node.up && !part {
                continue;
            }
            let has_role = current.is_some_and(|version| version.roles.contains_key(id));
            status.insert(
                *id,
                NodeFacts {
                    up: node.up,
                    draining: part && !has_role,
                    queue: node.up.then(|| count(node.queue.len())),
                    errors: node.up.then_some(0),
                    disk: None,
                },
            );
        }
        // Whoever lost its metadata is still known by its role.
        for id in taking_part {
            let has_role = current.is_some_and(|version| version.roles.contains_key(&id));
            status.entry(id).or_insert(NodeFacts {
                draining: !has_role,
                ..NodeFacts::default()
            });
        }
        status
    }

    /// The history, with trackers only while several versions are live.
    pub fn history(&self) -> (Vec<VersionFacts>, Option<BTreeMap<NodeId, Trackers>>) {
        let current = self.current_version();
        let versions = self.versions.iter().map(|version| VersionFacts {
            version: version.version,
            status: match version.live {
                _ if version.version == current => VersionStatus::Current,
                true => VersionStatus::Draining,
                false => VersionStatus::Historical,
            },
        });
        let trackers = (self.live_versions().count() > 1).then(|| {
            let of = |id: &NodeId| self.nodes.get(id).map(|node| node.tracker).unwrap_or_default();
            let tracker = |id: &NodeId| {
                let Tracker { ack, sync, sync_ack } = of(id);
                Trackers { ack, sync, sync_ack }
            };
            self.taking_part().iter().map(|id| (*id, tracker(id))).collect()
        });
        (versions.collect(), trackers)
    }

    fn asked(&self, through: NodeId) -> Result<(), SimError> {
        if self.is_up(through) {
            Ok(())
        } else {
            Err(SimError::Down)
        }
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
