//! Blocks: who has them, who should, and when they look for them.

use std::collections::BTreeSet;

use hayloft_api::NodeId;
use hayloft_api::question::quorums;

use super::{SimError, SimGarage, count};

/// How long a block that is not needed any more stays before it is offered and deleted.
const GIVING_DELAY: u64 = 610;

/// How soon a block that could not be looked after is looked at again.
const RETRY: u64 = 60;

/// How long a scan for missing blocks takes.
const SCAN: u64 = 1;

/// A holder is asked for blocks while fewer than so many versions came after the one in which it held them.
const OLD_VERSIONS: usize = 5;

/// A block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block {
    /// The first byte of its name.
    pub partition: u8,
    /// The rest of it.
    pub n: u32,
}

impl SimGarage {
    /// A client writes a block.
    ///
    /// # Errors
    /// When its partition has no write quorum in every live version.
    pub fn put(&mut self, partition: u8) -> Result<Block, SimError> {
        let enough = self.versions.last().is_some()
            && self.live_versions().all(|version| {
                let holders = version.map.holders_of(partition);
                let up = holders.iter().filter(|id| self.is_up(**id)).count();
                up >= quorums(holders.len()).write
            });
        if !enough {
            return Err(SimError::NoQuorum);
        }
        self.made += 1;
        let block = Block {
            partition,
            n: self.made,
        };
        let holders = self.holders(partition);
        let later = self.now + self.receiving_delay;
        for id in holders {
            if let Some(node) = self.nodes.get_mut(&id) {
                if node.up {
                    node.blocks.insert(block);
                }
                // Whoever hears of a block looks for it later, though it may have it: who is down, when it is back.
                node.queue.insert(block, later);
            }
        }
        self.live.insert(block);
        Ok(block)
    }

    /// The blocks on a node's disk.
    pub fn blocks(&self, id: NodeId) -> u64 {
        self.nodes.get(&id).map_or(0, |node| count(node.blocks.len()))
    }

    /// Blocks that clients refer to and that lie on no disk any more.
    pub fn lost(&self) -> Vec<Block> {
        let lies = |block: &Block| self.nodes.values().any(|node| node.blocks.contains(block));
        self.live.iter().filter(|block| !lies(block)).copied().collect()
    }

    /// Blocks that a node should have by the newest version and has not.
    pub fn lacking(&self, id: NodeId) -> u64 {
        let lacks = |block: &&Block| self.needs(id, **block) && !self.has(id, **block);
        count(self.live.iter().filter(lacks).count())
    }

    /// Blocks that some former or present holder lists and some present holder does not, and how many were compared.
    pub fn compare(&self) -> (u64, u64) {
        let (mut missing, mut of) = (0, 0);
        for block in self.live.iter().filter(|block| {
            self.nodes
                .values()
                .any(|node| node.up && node.blocks.contains(block))
        }) {
            of += 1;
            if self
                .holders(block.partition)
                .iter()
                .any(|id| !self.has(*id, *block))
            {
                missing += 1;
            }
        }
        (missing, of)
    }

    /// Launches a scan for missing blocks.
    pub fn repair_blocks(&mut self, id: NodeId) {
        let end = self.now + SCAN;
        if let Some(node) = self.nodes.get_mut(&id).filter(|node| node.up) {
            node.repair = Some(end);
        }
    }

    /// Whether a scan runs.
    pub fn repairs(&self, id: NodeId) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.repair.is_some())
    }

    /// Empties a node's queue.
    pub fn clear_resync(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.queue.clear();
        }
    }

    /// Lets seconds pass.
    pub fn advance(&mut self, seconds: u64) {
        let end = self.now + seconds;
        while self.now < end {
            self.now += 1;
            self.gossip();
            self.scan();
            self.resync();
            if self.is_quiet() {
                // Until the next block's time comes nothing happens.
                let due = self
                    .nodes
                    .values()
                    .filter(|node| node.up)
                    .flat_map(|node| node.queue.values())
                    .min();
                let next = due.copied().unwrap_or(end).min(end);
                self.now = self.now.max(next.saturating_sub(1)).min(end);
            }
        }
    }

    /// Metadata is synced: every node knows now which blocks it should have, and which it should not.
    pub(super) fn settle(&mut self) {
        let (receive, give) = (self.now + self.receiving_delay, self.now + GIVING_DELAY);
        let live = self.live.clone();
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in ids {
            let needed: BTreeSet<Block> = live
                .iter()
                .filter(|block| self.needs(id, **block))
                .copied()
                .collect();
            let Some(node) = self.nodes.get_mut(&id) else {
                continue;
            };
            for block in &live {
                let has = node.blocks.contains(block);
                if needed.contains(block) && !has {
                    node.queue.entry(*block).or_insert(receive);
                } else if has && !needed.contains(block) {
                    node.queue.entry(*block).or_insert(give);
                }
            }
        }
    }

    fn is_quiet(&self) -> bool {
        self.live_versions().count() < 2 && self.nodes.values().all(|node| node.repair.is_none())
    }

    fn holders(&self, partition: u8) -> Vec<NodeId> {
        self.versions
            .last()
            .map(|version| version.map.holders_of(partition).to_vec())
            .unwrap_or_default()
    }

    fn needs(&self, id: NodeId, block: Block) -> bool {
        self.versions
            .last()
            .is_some_and(|version| version.map.holders_of(block.partition).contains(&id))
    }

    fn has(&self, id: NodeId, block: Block) -> bool {
        self.nodes
            .get(&id)
            .is_some_and(|node| node.blocks.contains(&block))
    }

    /// Scans that end put what is missing into the queue; what waits there already keeps its time.
    fn scan(&mut self) {
        let now = self.now;
        let done: Vec<NodeId> = self
            .nodes
            .iter()
            .filter(|(_, node)| node.repair.is_some_and(|end| end <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in done {
            let wrong: Vec<Block> = self
                .live
                .iter()
                .filter(|block| self.needs(id, **block) != self.has(id, **block))
                .copied()
                .collect();
            if let Some(node) = self.nodes.get_mut(&id) {
                node.repair = None;
                for block in wrong {
                    node.queue.entry(block).or_insert(now);
                }
            }
        }
    }

    /// Every node looks after the blocks whose time has come.
    fn resync(&mut self) {
        let now = self.now;
        let due: Vec<(NodeId, Block)> = self
            .nodes
            .iter()
            .filter(|(_, node)| node.up)
            .flat_map(|(id, node)| node.queue.iter().map(move |(block, at)| (*id, *block, *at)))
            .filter(|(.., at)| *at <= now)
            .map(|(id, block, _)| (id, block))
            .collect();
        for (id, block) in due {
            let done = match (self.needs(id, block), self.has(id, block)) {
                (true, false) => self.fetch(id, block),
                (false, true) => self.offer(id, block),
                _ => true,
            };
            if let Some(node) = self.nodes.get_mut(&id) {
                if done {
                    node.queue.remove(&block);
                } else {
                    node.queue.insert(block, now + RETRY);
                }
            }
        }
    }

    /// Holders by this version and the last few are asked.
    fn fetch(&mut self, id: NodeId, block: Block) -> bool {
        if !self.live.contains(&block) {
            return true;
        }
        let recent = self.versions.iter().rev().take(OLD_VERSIONS + 1);
        let mut asked = recent.flat_map(|version| version.map.holders_of(block.partition));
        let found = asked.any(|other| self.is_up(*other) && self.has(*other, block));
        if found && let Some(node) = self.nodes.get_mut(&id) {
            node.blocks.insert(block);
        }
        found
    }

    /// A block that is not needed here goes to those who need and lack it, and is deleted when all have it.
    fn offer(&mut self, id: NodeId, block: Block) -> bool {
        let holders = self.holders(block.partition);
        if self.live.contains(&block) && !holders.iter().all(|other| self.is_up(*other)) {
            return false;
        }
        for other in holders {
            if let Some(node) = self.nodes.get_mut(&other) {
                node.blocks.insert(block);
            }
        }
        if let Some(node) = self.nodes.get_mut(&id) {
            node.blocks.remove(&block);
        }
        true
    }
}
