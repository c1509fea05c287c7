//! What a gateway knows: the log's records, applied in order. Stands for the index.

use std::collections::{BTreeMap, BTreeSet};

use hayloft_nixcache::{CacheName, StorePathHash};
use hayloft_store::Digest;
use hayloft_store::commit::{Facts, HeldFrame, PackState};
use hayloft_store::key::{PackName, Position};
use hayloft_store::log::record::Record;
use hayloft_store::manifest::Manifest;

/// The state at a position of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct View {
    /// The positions that led here.
    pub(crate) chain: Vec<Position>,
    pub(crate) caches: BTreeSet<CacheName>,
    pub(crate) packs: BTreeMap<PackName, BTreeSet<Digest>>,
    pub(crate) condemned: BTreeSet<PackName>,
    pub(crate) paths: BTreeMap<StorePathHash, Known>,
    /// A path came with another NAR hash than it had.
    pub(crate) changed: bool,
}

/// A path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Known {
    pub(crate) nar_hash: [u8; 32],
    pub(crate) frames: BTreeSet<Digest>,
    pub(crate) live: bool,
}

impl View {
    pub(crate) fn position(&self) -> Option<Position> {
        self.chain.last().copied()
    }

    /// Whether the frame lies in a pack that is registered and not condemned.
    pub(crate) fn holds(&self, frame: &Digest) -> bool {
        self.packs.values().any(|frames| frames.contains(frame))
    }

    /// Applies a group; `reads`: the highest format that is understood, what is newer is passed over.
    pub(crate) fn apply(&mut self, records: &[Record], position: Position, reads: u32) {
        self.chain.push(position);
        for record in records.iter().filter(|record| record.since() <= reads) {
            self.apply_one(record);
        }
    }

    fn apply_one(&mut self, record: &Record) {
        match record {
            Record::CacheCreated(cache) => {
                self.caches.insert(cache.name.clone());
            }
            Record::PackAdded(pack) if !self.condemned.contains(&pack.name) => {
                self.packs
                    .insert(pack.name, pack.frames.iter().map(|f| f.frame).collect());
            }
            Record::PathAdded(path) => {
                let frames = Manifest::decode(&path.manifest)
                    .map(|manifest| manifest.frames().collect())
                    .unwrap_or_default();
                let known = Known {
                    nar_hash: path.nar_hash,
                    frames,
                    live: true,
                };
                let before = self.paths.insert(path.path.hash(), known);
                self.changed |= before.is_some_and(|before| before.nar_hash != path.nar_hash);
            }
            Record::PathRemoved { path, .. } => {
                if let Some(known) = self.paths.get_mut(&path.hash()) {
                    known.live = false;
                }
            }
            Record::PacksCondemned(packs) => {
                for pack in packs {
                    self.packs.remove(pack);
                    self.condemned.insert(*pack);
                }
            }
            _ => {}
        }
    }

    /// What the index would say of a request.
    pub(crate) fn facts(&self, records: &[Record]) -> Facts {
        let mut facts = Facts {
            caches: self.caches.clone(),
            ..Facts::default()
        };
        for record in records {
            match record {
                Record::PathAdded(path) => {
                    if let Ok(manifest) = Manifest::decode(&path.manifest) {
                        facts
                            .frames
                            .extend(manifest.frames().filter(|frame| self.holds(frame)));
                    }
                    if let Some(known) = self.paths.get(&path.path.hash()) {
                        facts
                            .nar_hashes
                            .insert((path.cache.clone(), path.path.hash()), known.nar_hash);
                    }
                }
                Record::PackAdded(pack) => self.state(&mut facts, pack.name),
                Record::PacksCondemned(packs) => {
                    for pack in packs {
                        self.state(&mut facts, *pack);
                        let frames = self.packs.get(pack).into_iter().flatten();
                        facts
                            .condemning
                            .insert(*pack, frames.map(|frame| self.held(*pack, *frame)).collect());
                    }
                }
                _ => {}
            }
        }
        facts
    }

    fn state(&self, facts: &mut Facts, pack: PackName) {
        if self.condemned.contains(&pack) {
            facts.packs.insert(pack, PackState::Condemned);
        } else if self.packs.contains_key(&pack) {
            facts.packs.insert(pack, PackState::Registered);
        }
    }

    fn held(&self, pack: PackName, frame: Digest) -> HeldFrame {
        HeldFrame {
            frame,
            elsewhere: self
                .packs
                .iter()
                .filter(|(other, frames)| **other != pack && frames.contains(&frame))
                .map(|(other, _)| *other)
                .collect(),
            needed: self
                .paths
                .values()
                .any(|path| path.live && path.frames.contains(&frame)),
        }
    }
}
