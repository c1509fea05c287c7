//! Moves: applied layout versions, followed until all their data is where it belongs. What is known of them is kept, so
//! that a restart forgets nothing and no figure goes back.

pub(crate) mod census;
pub(crate) mod compare;
mod record;

use std::collections::{BTreeMap, BTreeSet};

use hayloft_api::question::LayoutMap;
use hayloft_api::{Bytes, HostName, NodeId};
use hayloft_engine::{Compared, LayoutFacts, MoveFacts, MoveKey, NodeRole};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::census::Censuses;
use self::compare::{Comparing, Job, Parties, View};
pub(crate) use self::record::MoveRecord;

/// So long after a version settled, nobody writes by the one before any more, and a clock was read anew.
const CERTAIN: SignedDuration = SignedDuration::from_secs(2);

/// The newest version that was seen, with its roles: what the next one is compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Followed {
    pub(crate) version: u64,
    pub(crate) roles: BTreeMap<NodeId, NodeRole>,
    /// Members were seen to have different layouts of this version.
    #[serde(default)]
    pub(crate) split: bool,
}

/// All moves that are not over, and what is known for them.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    pub(crate) records: BTreeMap<MoveKey, MoveRecord>,
    pub(crate) followed: Option<Followed>,
    /// The holders of partitions, of versions that a member's file has.
    pub(crate) maps: BTreeMap<u64, LayoutMap>,
    pub(crate) censuses: Censuses,
    pub(crate) comparison: Option<Comparison>,
}

/// A comparison that runs, or ended and was not looked at yet.
#[derive(Debug)]
pub(crate) struct Comparison {
    of: MoveKey,
    /// The version whose holders are compared.
    current: u64,
    view: watch::Receiver<View>,
    task: JoinHandle<()>,
}

impl Drop for Comparison {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Something about moves that people are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// A version was applied.
    Applied(u64),
    /// A new data disk is in use, and is to be filled.
    Refilled(MoveKey),
    /// Its metadata is synced.
    Settled(MoveKey),
    /// Its data is proven to be where it belongs.
    Placed(MoveKey),
    /// A host that left holds no block any more.
    Emptied(MoveKey, NodeId),
    /// All of it is done.
    Over(MoveKey),
    /// A comparison ended with something missing.
    Missing(MoveKey, u64),
    /// A comparison failed.
    Uncompared(MoveKey, String),
}

/// What a round saw.
pub(crate) struct Seen<'a> {
    pub(crate) layout: &'a LayoutFacts,
    /// Whether members have different layouts of this version.
    pub(crate) split: bool,
    pub(crate) hosts: &'a BTreeMap<NodeId, HostName>,
    pub(crate) started: &'a BTreeMap<NodeId, Timestamp>,
    /// Nodes that are gone for good: dead and removed, evicted, or other nodes now.
    pub(crate) gone: &'a BTreeSet<NodeId>,
    /// Nodes whose data folder is as it should be, so that an empty one is truly empty.
    pub(crate) sound: &'a BTreeSet<NodeId>,
    /// Nodes that use a new data disk, and when a person said so.
    pub(crate) new_disks: &'a BTreeMap<NodeId, Timestamp>,
    /// Nodes whose metadata went back to an earlier state, and when that was first heard.
    pub(crate) older: &'a BTreeMap<NodeId, Timestamp>,
    pub(crate) bucket: Option<Bytes>,
    pub(crate) now: Timestamp,
}

impl Moves {
    /// The facts that plans are made from, oldest first.
    pub(crate) fn facts(&self) -> Vec<MoveFacts> {
        self.records.values().map(|record| record.facts.clone()).collect()
    }

    /// Who holds what by the newest version whose data is placed, where that was read.
    pub(crate) fn placed_map(&self, current: u64) -> Option<&LayoutMap> {
        let mut unplaced = self
            .records
            .values()
            .filter(|record| record.facts.placed.is_none());
        let placed = unplaced.next().map_or(current, |record| record.from);
        self.maps.get(&placed)
    }

    /// Whether data is on its way, or may be.
    pub(crate) fn is_moving(&self) -> bool {
        self.records.values().any(|record| record.facts.placed.is_none())
    }

    /// Takes in what a round saw. Gives what is news.
    pub(crate) fn follow(&mut self, seen: &Seen<'_>) -> Vec<News> {
        let mut news = Vec::new();
        self.discover(seen, &mut news);
        self.refill(seen, &mut news);
        let current = seen.layout.version;
        let maps = &self.maps;
        let censuses = &self.censuses;
        for record in self.records.values_mut() {
            record.fill(maps);
            if record.facts.settled.is_none() && seen.layout.settled && record.facts.version <= current {
                record.facts.settled = Some(seen.now);
                news.push(News::Settled(record.facts.key()));
            }
            record.measure(maps.get(&current), censuses, seen);
            record.note_held(censuses, seen);
        }
        let oldest = self
            .records
            .values()
            .map(|record| record.from)
            .min()
            .unwrap_or(current);
        self.maps.retain(|version, _| *version >= oldest.min(current));
        self.take_comparison(current, seen.now, &mut news);
        self.place(seen, &mut news);
        self.empty(seen, &mut news);
        news
    }

    fn discover(&mut self, seen: &Seen<'_>, news: &mut Vec<News>) {
        let Seen { layout, now, .. } = seen;
        let before = match &mut self.followed {
            Some(followed) if followed.version >= layout.version => {
                followed.split |= seen.split && followed.version == layout.version;
                return;
            }
            Some(followed) => followed.clone(),
            // Without memory nobody is known to have left.
            None if layout.version > 1 => Followed {
                version: layout.version - 1,
                roles: layout.roles.clone(),
                split: false,
            },
            None => Followed {
                version: 0,
                roles: BTreeMap::new(),
                split: false,
            },
        };
        if layout.version > 0 {
            let record = MoveRecord::new(layout, before, *now, seen.bucket);
            news.push(News::Applied(layout.version));
            self.records.insert(record.facts.key(), record);
        }
        self.followed = Some(Followed {
            version: layout.version,
            roles: layout.roles.clone(),
            split: seen.split,
        });
    }

    /// A disk that was replaced is filled again. One that is replaced again while that goes on is begun anew.
    fn refill(&mut self, seen: &Seen<'_>, news: &mut Vec<News>) {
        for (id, said) in seen.new_disks.iter().chain(seen.older) {
            let older = seen.older.contains_key(id);
            let holds = seen.layout.roles.get(id);
            if holds.is_none_or(|role| role.capacity.is_none()) {
                continue;
            }
            let mut open = self.records.values_mut().filter(|record| {
                let facts = &record.facts;
                facts.refilled == Some(*id) && facts.placed.is_none()
            });
            match open.next() {
                Some(record) if record.facts.applied >= *said => {}
                Some(record) => {
                    record.begin_anew(seen.now);
                    record.facts.older_metadata |= older;
                    news.push(News::Refilled(record.facts.key()));
                }
                None => {
                    let mut record = MoveRecord::refill(seen.layout, *id, seen.now);
                    record.facts.older_metadata = older;
                    news.push(News::Refilled(record.facts.key()));
                    self.records.insert(record.facts.key(), record);
                }
            }
        }
    }

    /// Whether holders of partitions are wanted that no map tells yet.
    pub(crate) fn wants_maps(&self, current: u64) -> bool {
        let unfilled = |record: &MoveRecord| record.facts.partitions.is_none() && !record.given_up;
        !self.maps.contains_key(&current) || self.records.values().any(unfilled)
    }

    /// Who is compared with whom for a move and all earlier ones. Where partitions changed hands, all who hold them now must
    /// list what anybody listed; a disk that is filled again, what the others list: what one of those lacks is not its matter.
    fn parties(
        &self,
        of: MoveKey,
        map: &LayoutMap,
        hosts: &BTreeMap<NodeId, HostName>,
        gone: &BTreeSet<NodeId>,
    ) -> Result<BTreeMap<u8, Parties>, NoComparison> {
        let name = |id: &NodeId| hosts.get(id).cloned().ok_or(NoComparison::Stranger(*id));
        let names = |ids: &[NodeId]| ids.iter().map(name).collect::<Result<BTreeSet<_>, _>>();
        let mut partitions: BTreeMap<u8, Parties> = BTreeMap::new();
        let open = self.records.values();
        let open = open.filter(|record| record.facts.placed.is_none() && record.facts.key() <= of);
        for record in open {
            for (id, gained) in &record.gained {
                for partition in gained {
                    let parties = partitions.entry(*partition).or_default();
                    let holders = map.holders_of(*partition);
                    if record.facts.refilled.is_none() {
                        parties.holders.extend(names(holders)?);
                    } else if holders.contains(id) {
                        parties.holders.insert(name(id)?);
                        parties.former.extend(names(holders)?);
                    }
                }
            }
            for (id, lost) in record.lost.iter().filter(|(id, _)| !gone.contains(*id)) {
                for partition in lost {
                    let parties = partitions.entry(*partition).or_default();
                    parties.former.insert(name(id)?);
                    parties.holders.extend(names(map.holders_of(*partition))?);
                }
            }
        }
        for parties in partitions.values_mut() {
            let Parties { former, holders } = parties;
            former.retain(|host| !holders.contains(host));
        }
        Ok(partitions)
    }

    /// Begins to compare, or goes on where an earlier comparison stopped. `spawn` starts it.
    pub(crate) fn compare(
        &mut self,
        of: MoveKey,
        current: u64,
        hosts: &BTreeMap<NodeId, HostName>,
        gone: &BTreeSet<NodeId>,
        now: Timestamp,
        spawn: impl FnOnce(Job, watch::Sender<View>) -> JoinHandle<()>,
    ) -> Result<(), NoComparison> {
        if self.comparison.as_ref().is_some_and(|running| running.of == of) {
            return Ok(());
        }
        // One at a time: whichever ran is begun anew when it is due again.
        self.stop_comparison();
        let map = self.maps.get(&current).ok_or(NoComparison::NoMap(current))?;
        let partitions = self.parties(of, map, hosts, gone)?;
        let Some(record) = self.records.get_mut(&of) else {
            return Ok(());
        };
        let usable = |from: &Comparing| {
            record
                .facts
                .repairs_ended()
                .is_some_and(|ended| from.began >= ended)
        };
        let from = record
            .comparing
            .take()
            .filter(usable)
            .unwrap_or_else(|| Comparing::new(now));
        record.facts.comparing = Some(now);
        record.comparing = Some(from.clone());
        let (sender, view) = watch::channel(View::Running(from.clone()));
        let task = spawn(Job { partitions, from }, sender);
        self.comparison = Some(Comparison {
            of,
            current,
            view,
            task,
        });
        Ok(())
    }

    /// For waking the loop when the comparison goes on.
    pub(crate) fn comparing(&self) -> Option<watch::Receiver<View>> {
        self.comparison.as_ref().map(|comparison| comparison.view.clone())
    }

    fn stop_comparison(&mut self) {
        let stopped = self.comparison.take();
        if let Some(record) = stopped.and_then(|stopped| self.records.get_mut(&stopped.of)) {
            record.comparing = None;
            record.facts.comparing = None;
        }
    }

    fn take_comparison(&mut self, current: u64, now: Timestamp, news: &mut Vec<News>) {
        let Some(comparison) = &mut self.comparison else {
            return;
        };
        let of = comparison.of;
        // Holders are others now than those that were listed.
        let superseded = comparison.current != current;
        let Some(record) = self.records.get_mut(&of) else {
            self.comparison = None;
            return;
        };
        let view = comparison.view.borrow_and_update().clone();
        match view {
            _ if superseded => self.stop_comparison(),
            View::Running(so_far) => record.comparing = Some(so_far),
            View::Done(done) => {
                let compared = Compared {
                    began: done.began,
                    at: now,
                    missing: done.missing,
                    of: done.of,
                };
                if done.missing > 0 {
                    news.push(News::Missing(of, done.missing));
                }
                self.stop_comparison();
                for record in self.records.values_mut() {
                    if record.facts.placed.is_none() && record.facts.key() <= of {
                        record.facts.compared = Some(compared);
                    }
                }
            }
            View::Failed(so_far, why) => {
                news.push(News::Uncompared(of, why));
                record.comparing = Some(so_far);
                record.facts.comparing = None;
                self.comparison = None;
            }
        }
    }

    fn place(&mut self, seen: &Seen<'_>, news: &mut Vec<News>) {
        let started = |id: NodeId| seen.started.get(&id).copied();
        let holds = |id: NodeId| seen.layout.roles.contains_key(&id);
        // The comparison that the newest placed move rests on; a version that moved nothing rests on none.
        let mut proof = None;
        for record in self.records.values_mut().rev() {
            let key = record.facts.key();
            // A comparison covers all earlier moves that it took in: where the current one wants a block, it is.
            let covered =
                proof.is_some() && record.facts.compared == proof && record.facts.tables_done(holds);
            if record.facts.placed.is_none() && (covered || record.facts.is_placed(started)) {
                record.facts.placed = Some(seen.now);
                if let Some(bytes) = record.facts.bytes {
                    record.facts.arrived = bytes;
                }
                news.push(News::Placed(key));
            }
            if record.facts.placed.is_some() && proof.is_none() {
                proof = record.facts.compared.filter(|compared| compared.missing == 0);
            }
        }
    }

    fn empty(&mut self, seen: &Seen<'_>, news: &mut Vec<News>) {
        for record in self.records.values_mut() {
            let Some(settled) = record.facts.settled else {
                continue;
            };
            let left: Vec<NodeId> = record.facts.departures().map(|departure| departure.id).collect();
            for id in left {
                // Its role may have come back in a later version.
                let holds = seen
                    .layout
                    .roles
                    .get(&id)
                    .is_some_and(|role| role.capacity.is_some());
                let empty = seen.sound.contains(&id)
                    && seen
                        .hosts
                        .get(&id)
                        .and_then(|host| self.censuses.last_asked(host))
                        .is_some_and(|(asked, census)| {
                            asked.duration_since(settled) > CERTAIN && census.blocks() == 0
                        });
                if empty && !holds && !record.facts.emptied.contains_key(&id) {
                    record.facts.emptied.insert(id, seen.now);
                    news.push(News::Emptied(record.facts.key(), id));
                }
            }
        }
        let gone = |id: NodeId| {
            let back = seen
                .layout
                .roles
                .get(&id)
                .is_some_and(|role| role.capacity.is_some());
            back || seen.gone.contains(&id)
        };
        let over: Vec<MoveKey> = self
            .records
            .values()
            .filter(|record| record.facts.is_over(gone))
            .map(|record| record.facts.key())
            .collect();
        for key in over {
            self.records.remove(&key);
            news.push(News::Over(key));
        }
    }

    /// Hosts whose blocks should be counted now and then: who gives, who gets, who leaves.
    pub(crate) fn counted(&self, hosts: &BTreeMap<NodeId, HostName>) -> BTreeSet<HostName> {
        let ids = self.records.values().flat_map(|record| {
            let moving = record.facts.placed.is_none();
            // Whoever is filled again is given by all others.
            let refilled = record.facts.refilled.is_some();
            let givers = record.facts.after.keys().filter(|_| refilled);
            let parties = record.gained.keys().chain(record.lost.keys()).chain(givers);
            let parties = parties.copied();
            let leaving = record.facts.departures().map(|departure| departure.id);
            let leaving: Vec<NodeId> = leaving
                .filter(|id| !record.facts.emptied.contains_key(id))
                .collect();
            parties.filter(move |_| moving).chain(leaving).collect::<Vec<_>>()
        });
        ids.filter_map(|id| hosts.get(&id).cloned()).collect()
    }
}

/// Why a comparison cannot begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoComparison {
    /// Nobody's layout file was read yet.
    #[error("who holds what in layout version {0} was not read from a member's file yet")]
    NoMap(u64),
    /// A node that no host is known to be.
    #[error("no host is known to be node {id}, which holds data", id = .0.short())]
    Stranger(NodeId),
}

#[cfg(test)]
mod tests;
