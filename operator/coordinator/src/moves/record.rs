//! One move, as it is kept.

use std::collections::BTreeMap;

use hayloft_api::question::{LayoutMap, PartitionCensus};
use hayloft_api::{Bytes, NodeId};
use hayloft_engine::{LayoutFacts, MoveFacts};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::census::Censuses;
use super::compare::Comparing;
use super::{Followed, Seen};

/// One move, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MoveRecord {
    /// What plans are made from.
    pub(crate) facts: MoveFacts,
    /// The version before it.
    pub(crate) from: u64,
    /// The partitions that each node gains.
    pub(crate) gained: BTreeMap<NodeId, Vec<u8>>,
    /// The partitions that each node loses.
    pub(crate) lost: BTreeMap<NodeId, Vec<u8>>,
    /// The map of the version before is on no disk any more.
    pub(crate) given_up: bool,
    /// Members had different layouts of the version before: what one of them says moves is not all that may have to.
    #[serde(default)]
    pub(crate) heals: bool,
    /// The workers of repairs that run, by node: their numbers in the node's Garage.
    pub(crate) workers: BTreeMap<NodeId, u64>,
    /// A comparison that was begun.
    pub(crate) comparing: Option<Comparing>,
}

impl MoveRecord {
    pub(super) fn new(
        layout: &LayoutFacts,
        before: Followed,
        applied: Timestamp,
        bucket: Option<Bytes>,
    ) -> Self {
        let first = before.version == 0;
        Self {
            facts: MoveFacts {
                version: layout.version,
                refilled: None,
                applied,
                settled: None,
                before: before.roles,
                after: layout.roles.clone(),
                // The first version finds no data.
                partitions: first.then_some(0),
                destinations: BTreeMap::new(),
                sources: BTreeMap::new(),
                bytes: bucket.filter(|_| first).map(|_| Bytes(0)),
                arrived: Bytes(0),
                quickened: BTreeMap::new(),
                repairs: BTreeMap::new(),
                tables: BTreeMap::new(),
                missing_allowed: None,
                older_metadata: false,
                comparing: None,
                compared: None,
                held: BTreeMap::new(),
                placed: None,
                emptied: BTreeMap::new(),
                told: [0; 3],
            },
            from: before.version,
            gained: BTreeMap::new(),
            lost: BTreeMap::new(),
            given_up: false,
            heals: before.split,
            workers: BTreeMap::new(),
            comparing: None,
        }
    }

    /// A node's new data disk is to be filled: what it should hold by this layout comes from the other holders.
    pub(super) fn refill(layout: &LayoutFacts, node: NodeId, seen: Timestamp) -> Self {
        let same = Followed {
            version: layout.version,
            roles: layout.roles.clone(),
            split: false,
        };
        let mut record = Self::new(layout, same, seen, None);
        record.facts.refilled = Some(node);
        record
    }

    /// Its disk was replaced once more: nothing that was done for the one before counts.
    pub(super) fn begin_anew(&mut self, seen: Timestamp) {
        self.facts.applied = seen;
        self.facts.quickened.clear();
        self.facts.repairs.clear();
        self.facts.tables.clear();
        self.facts.compared = None;
        self.workers.clear();
        self.comparing = None;
    }

    /// Learns from maps which partitions move.
    pub(super) fn fill(&mut self, maps: &BTreeMap<u64, LayoutMap>) {
        if self.facts.partitions.is_some() {
            return;
        }
        if let Some(id) = self.facts.refilled {
            self.fill_disk(id, maps);
            return;
        }
        let known = maps.get(&self.from).filter(|_| !self.heals);
        let (Some(before), Some(after)) = (known, maps.get(&self.facts.version)) else {
            // A member's file holds a few versions back; what it does not have now, it will not have later.
            self.given_up = maps.contains_key(&self.facts.version);
            if self.given_up {
                self.suppose(maps);
            }
            return;
        };
        let moves = before.moves_to(after);
        self.facts.partitions = Some(u64::try_from(moves.total()).unwrap_or(u64::MAX));
        let counts = |partitions: &BTreeMap<NodeId, Vec<u8>>| {
            let counted = partitions
                .iter()
                .map(|(id, all)| (*id, u64::try_from(all.len()).unwrap_or(u64::MAX)));
            counted.collect()
        };
        self.facts.destinations = counts(&moves.gained);
        self.facts.sources = counts(&moves.lost);
        self.gained = moves.gained;
        self.lost = moves.lost;
    }

    /// By the map of its version; where nobody has that any more, by the newest one.
    fn fill_disk(&mut self, id: NodeId, maps: &BTreeMap<u64, LayoutMap>) {
        let newest = || maps.last_key_value().map(|(_, map)| map);
        let Some(map) = maps.get(&self.facts.version).or_else(newest) else {
            return;
        };
        let holds = |partition: &u8| map.holders_of(*partition).contains(&id);
        let partitions: Vec<u8> = (0..=u8::MAX).filter(holds).collect();
        let number = u64::try_from(partitions.len()).unwrap_or(u64::MAX);
        self.facts.partitions = Some(number);
        self.facts.destinations = BTreeMap::from([(id, number)]);
        self.gained = BTreeMap::from([(id, partitions)]);
    }

    /// Without the map before, everybody may have gained everything: all is compared. After a split, whoever stores anything
    /// may have been a holder.
    fn suppose(&mut self, maps: &BTreeMap<u64, LayoutMap>) {
        let Some(after) = maps.get(&self.facts.version) else {
            return;
        };
        for partition in 0..=u8::MAX {
            let holders = after.holders_of(partition);
            for id in holders {
                add(&mut self.gained, *id, partition);
            }
            let stores = self
                .facts
                .after
                .iter()
                .filter(|(_, role)| role.capacity.is_some());
            for (id, _) in stores.filter(|(id, _)| self.heals && !holders.contains(id)) {
                add(&mut self.lost, *id, partition);
            }
        }
    }

    /// Notes what those who left held, by the first count after it settled.
    pub(super) fn note_held(&mut self, censuses: &Censuses, seen: &Seen<'_>) {
        let Some(settled) = self.facts.settled else { return };
        let left: Vec<NodeId> = self.facts.departures().map(|departure| departure.id).collect();
        for id in left.into_iter().filter(|id| seen.sound.contains(id)) {
            let census = seen.hosts.get(&id).and_then(|host| censuses.last_asked(host));
            if let Some((_, census)) = census.filter(|(asked, _)| *asked > settled) {
                self.facts.held.entry(id).or_insert(census.blocks());
            }
        }
    }

    /// How many bytes are to move and how many have arrived, by the counts of those who give and get. Neither goes back.
    pub(super) fn measure(&mut self, current: Option<&LayoutMap>, censuses: &Censuses, seen: &Seen<'_>) {
        if self.facts.placed.is_some() || self.facts.partitions == Some(0) {
            return;
        }
        let counted = |id: &NodeId, partition: u8| -> Option<PartitionCensus> {
            let census = censuses.last(seen.hosts.get(id)?)?;
            census.partitions.get(usize::from(partition)).copied()
        };
        let mut bytes = 0_u64;
        let mut arrived = 0_u64;
        for (id, partitions) in &self.gained {
            for partition in partitions {
                let holders = current.map_or(&[][..], |map| map.holders_of(*partition));
                let givers = self
                    .lost
                    .iter()
                    .filter(|(_, lost)| lost.contains(partition))
                    .map(|(id, _)| id)
                    .chain(holders)
                    .filter(|giver| *giver != id);
                let need = givers
                    .filter_map(|giver| counted(giver, *partition))
                    .map(|one| one.bytes)
                    .max();
                let have = counted(id, *partition).map_or(0, |one| one.bytes);
                let need = need.unwrap_or(have);
                bytes = bytes.saturating_add(need);
                arrived = arrived.saturating_add(have.min(need));
            }
        }
        let estimate = || {
            let partitions = u128::from(self.facts.partitions?);
            let held = u128::from(seen.bucket?.0);
            u64::try_from(held * partitions / 256).ok()
        };
        let bytes = match bytes {
            0 => estimate(),
            counted => Some(counted),
        };
        if let Some(bytes) = bytes {
            let known = self.facts.bytes.map_or(0, |Bytes(bytes)| bytes);
            self.facts.bytes = Some(Bytes(known.max(bytes)));
        }
        let most = self.facts.bytes.map_or(0, |Bytes(bytes)| bytes);
        self.facts.arrived = Bytes(self.facts.arrived.0.max(arrived.min(most)));
    }
}

fn add(partitions: &mut BTreeMap<NodeId, Vec<u8>>, id: NodeId, partition: u8) {
    let of = partitions.entry(id).or_default();
    if !of.contains(&partition) {
        of.push(partition);
    }
}
