//! What may be ordered: every record is checked against everything ordered before it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use hayloft_nixcache::{CacheName, StorePathHash};

use crate::Digest;
use crate::key::PackName;
use crate::log::record::{PathRecord, Record};
use crate::manifest::{Manifest, ManifestError};

/// What the index knows about one request, at the last acknowledged position.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Caches that exist.
    pub caches: BTreeSet<CacheName>,
    /// Which of the frames that the request names lie in registered packs that are not condemned.
    pub frames: HashSet<Digest>,
    /// NAR hashes that the cache knows for the paths that the request names, removed or not.
    pub nar_hashes: BTreeMap<(CacheName, StorePathHash), [u8; 32]>,
    /// Of the packs that the request names: those that are registered, and those that are condemned.
    pub packs: BTreeMap<PackName, PackState>,
    /// What the packs hold that the request condemns; nothing for one that is not registered.
    pub condemning: BTreeMap<PackName, Vec<HeldFrame>>,
    /// Since whoever collects has looked last, something came that may need what the request collects.
    pub unseen: bool,
}

/// What the log says of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackState {
    /// Its frames are known.
    Registered,
    /// It is condemned, for ever.
    Condemned,
}

/// A frame of a pack that is to be condemned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldFrame {
    /// The frame.
    pub frame: Digest,
    /// Other registered packs that hold it and are not condemned.
    pub elsewhere: Vec<PackName>,
    /// A path that is there needs it.
    pub needed: bool,
}

/// Why something is not ordered.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The cache that it speaks of is not there.
    #[error("there is no cache named {0}")]
    NoSuchCache(CacheName),
    /// A cache of that name is there already.
    #[error("there is already a cache named {0}")]
    CacheExists(CacheName),
    /// These frames must be stored again.
    #[error("{} frames that the path needs are not stored any more", .0.len())]
    FramesMissing(Vec<Digest>),
    /// The path has another NAR hash.
    #[error("the path is known with another NAR hash")]
    OtherNarHash {
        /// The one it has.
        known: [u8; 32],
    },
    /// The manifest makes no sense.
    #[error("the path's manifest cannot be used")]
    Manifest(#[source] ManifestError),
    /// The manifest stands for another number of bytes than the NAR has.
    #[error("the path's manifest stands for {manifest} bytes, the NAR has {nar}")]
    Size {
        /// By the manifest.
        manifest: u64,
        /// By the record.
        nar: u64,
    },
    /// The pack is condemned, and that is for ever.
    #[error("pack {0} was given up before its record came; what it held must be stored again")]
    PackCondemned(PackName),
    /// A path needs what would be condemned.
    #[error("pack {0} holds what a path needs and no other pack has")]
    PackNeeded(PackName),
    /// Something came in between; whoever asked looks again and then asks again.
    #[error("something came in between; look again, then ask again")]
    Again,
    /// Openings are made by the committer itself.
    #[error("an epoch's opening cannot be asked for")]
    Opening,
}

/// What a group that is being put together changes, before the index knows it.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    caches: BTreeMap<CacheName, bool>,
    frames: HashSet<Digest>,
    nar_hashes: BTreeMap<(CacheName, StorePathHash), [u8; 32]>,
    /// Packs that came with the group.
    added: BTreeSet<PackName>,
    /// Packs that the group condemns.
    condemned: BTreeSet<PackName>,
    /// Frames that no pack holds any more but for the group's own.
    gone: HashSet<Digest>,
    /// Frames that paths of the group need.
    needed: HashSet<Digest>,
    /// Paths or pins came with the group.
    grown: bool,
    /// The group notes damage.
    damaged: bool,
}

impl Admission {
    /// Checks the records of one request, which are ordered together or not at all.
    ///
    /// # Errors
    /// With the rule that it breaks; then nothing is changed.
    pub fn admit(&mut self, records: &[Record], facts: &Facts) -> Result<(), Refusal> {
        let mut next = Changes::default();
        for record in records {
            match record {
                Record::EpochOpened(_) => return Err(Refusal::Opening),
                Record::CacheCreated(cache) => {
                    if self.has_cache(&next, facts, &cache.name) {
                        return Err(Refusal::CacheExists(cache.name.clone()));
                    }
                    next.caches.push((cache.name.clone(), true));
                }
                Record::CacheConfigured(cache) => self.need_cache(&next, facts, &cache.name)?,
                Record::CacheDestroyed(name) => {
                    self.need_cache(&next, facts, name)?;
                    next.caches.push((name.clone(), false));
                }
                Record::PackAdded(pack) => match self.state_of(facts, pack.name) {
                    Some(PackState::Condemned) => return Err(Refusal::PackCondemned(pack.name)),
                    // Said twice, by one who did not hear the answer.
                    Some(PackState::Registered) => {}
                    None => {
                        next.added.push(pack.name);
                        next.frames.extend(pack.frames.iter().map(|f| f.frame));
                    }
                },
                Record::PathAdded(path) => {
                    self.need_cache(&next, facts, &path.cache)?;
                    let at = (path.cache.clone(), path.path.hash());
                    self.check_path(&mut next, facts, path, &at)?;
                    next.nar_hashes.push((at, path.nar_hash));
                    next.grown = true;
                }
                Record::Pinned { cache, .. } => {
                    self.need_cache(&next, facts, cache)?;
                    next.grown = true;
                }
                Record::PathRemoved { cache, .. }
                | Record::PathsUsed { cache, .. }
                | Record::Unpinned { cache, .. }
                | Record::NarHashConflict { cache, .. }
                | Record::CacheLimited { name: cache, .. } => self.need_cache(&next, facts, cache)?,
                Record::PathsCollected { cache, .. } => {
                    self.need_cache(&next, facts, cache)?;
                    if facts.unseen || self.grown || next.grown {
                        return Err(Refusal::Again);
                    }
                }
                Record::PacksCondemned(packs) => self.check_condemned(&mut next, facts, packs)?,
                Record::PacksDeleted(_) => {}
                Record::Damaged(_) => next.damaged = true,
            }
        }
        let Changes {
            caches,
            frames,
            nar_hashes,
            added,
            condemned,
            gone,
            needed,
            grown,
            damaged,
        } = next;
        self.caches.extend(caches);
        self.frames.extend(frames);
        self.nar_hashes.extend(nar_hashes);
        self.added.extend(added);
        self.condemned.extend(condemned);
        self.gone.extend(gone);
        self.needed.extend(needed);
        self.grown |= grown;
        self.damaged |= damaged;
        Ok(())
    }

    fn state_of(&self, facts: &Facts, pack: PackName) -> Option<PackState> {
        if self.condemned.contains(&pack) {
            Some(PackState::Condemned)
        } else if self.added.contains(&pack) {
            Some(PackState::Registered)
        } else {
            facts.packs.get(&pack).copied()
        }
    }

    /// No path may lose a frame. Who needs the frames of a pack is known through the packs that hold them, as of
    /// before the group; so packs are condemned once in a group, and not behind damage that it notes.
    fn check_condemned(&self, next: &mut Changes, facts: &Facts, packs: &[PackName]) -> Result<(), Refusal> {
        if !self.condemned.is_empty() || self.damaged || !next.condemned.is_empty() || next.damaged {
            return Err(Refusal::Again);
        }
        let going: HashSet<PackName> = packs.iter().copied().collect();
        for pack in packs {
            if self.added.contains(pack) || next.added.contains(pack) {
                return Err(Refusal::PackNeeded(*pack));
            }
            for held in facts.condemning.get(pack).into_iter().flatten() {
                let stays = held.elsewhere.iter().any(|other| !going.contains(other))
                    || self.frames.contains(&held.frame)
                    || next.frames.contains(&held.frame);
                if stays {
                    continue;
                }
                if held.needed || self.needed.contains(&held.frame) || next.needed.contains(&held.frame) {
                    return Err(Refusal::PackNeeded(*pack));
                }
                next.gone.insert(held.frame);
            }
            next.condemned.push(*pack);
        }
        Ok(())
    }

    fn has_cache(&self, next: &Changes, facts: &Facts, name: &CacheName) -> bool {
        let newest = next
            .caches
            .iter()
            .rev()
            .find(|(n, _)| n == name)
            .map(|(_, there)| *there);
        newest
            .or_else(|| self.caches.get(name).copied())
            .unwrap_or_else(|| facts.caches.contains(name))
    }

    fn need_cache(&self, next: &Changes, facts: &Facts, name: &CacheName) -> Result<(), Refusal> {
        if self.has_cache(next, facts, name) {
            Ok(())
        } else {
            Err(Refusal::NoSuchCache(name.clone()))
        }
    }

    fn check_path(
        &self,
        next: &mut Changes,
        facts: &Facts,
        path: &PathRecord,
        at: &(CacheName, StorePathHash),
    ) -> Result<(), Refusal> {
        let known = self.nar_hashes.get(at).or_else(|| facts.nar_hashes.get(at));
        if let Some(known) = known.filter(|known| **known != path.nar_hash) {
            return Err(Refusal::OtherNarHash { known: *known });
        }
        let manifest = Manifest::decode(&path.manifest).map_err(Refusal::Manifest)?;
        if manifest.raw() != path.nar_size {
            return Err(Refusal::Size {
                manifest: manifest.raw(),
                nar: path.nar_size,
            });
        }
        let stored = |f: &Digest| {
            next.frames.contains(f)
                || self.frames.contains(f)
                || (facts.frames.contains(f) && !self.gone.contains(f) && !next.gone.contains(f))
        };
        let missing: Vec<Digest> = manifest.frames().filter(|frame| !stored(frame)).collect();
        if missing.is_empty() {
            next.needed.extend(manifest.frames());
            Ok(())
        } else {
            Err(Refusal::FramesMissing(missing))
        }
    }
}

#[derive(Default)]
struct Changes {
    caches: Vec<(CacheName, bool)>,
    frames: HashSet<Digest>,
    nar_hashes: Vec<((CacheName, StorePathHash), [u8; 32])>,
    added: Vec<PackName>,
    condemned: Vec<PackName>,
    gone: HashSet<Digest>,
    needed: HashSet<Digest>,
    grown: bool,
    damaged: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::PackName;
    use crate::log::record::{CacheRecord, PackRecord};
    use crate::pack::PackedFrame;

    fn cache(name: &str) -> CacheRecord {
        CacheRecord {
            name: name.parse().unwrap(),
            sealed_key: vec![],
            is_public: true,
            store_dir: "/nix/store".to_owned(),
            priority: 40,
            upstream_keys: vec![],
            retention: None,
            created_at: 0,
        }
    }

    fn pack(frame: Digest) -> Record {
        let frames = vec![PackedFrame {
            piece: frame,
            frame,
            stored: 5,
            raw: 9,
        }];
        Record::PackAdded(PackRecord {
            name: PackName([0; 16]),
            digest: Digest::ZERO,
            size: 17,
            frames,
        })
    }

    fn path(cache: &str, nar_hash: u8, frame: Digest) -> Record {
        let mut manifest = Manifest::default();
        manifest.push_frame(frame, 5, 9);
        Record::PathAdded(PathRecord {
            cache: cache.parse().unwrap(),
            path: "/nix/store/26xbg1ndr7hbcncrlf9nhx5is2b25d13-hello"
                .parse()
                .unwrap(),
            nar_hash: [nar_hash; 32],
            nar_size: 9,
            references: vec![],
            deriver: None,
            ca: None,
            sigs: vec![],
            created_by: None,
            created_at: 0,
            manifest: manifest.encode().unwrap(),
        })
    }

    #[test]
    fn a_path_needs_its_cache_and_all_its_frames() {
        let frame = Digest::of(b"frame");
        let mut group = Admission::default();
        let facts = Facts::default();
        assert!(matches!(
            group.admit(&[path("main", 1, frame)], &facts),
            Err(Refusal::NoSuchCache(_))
        ));
        group
            .admit(&[Record::CacheCreated(cache("main"))], &facts)
            .unwrap();
        let refusal = group.admit(&[path("main", 1, frame)], &facts).unwrap_err();
        assert!(matches!(refusal, Refusal::FramesMissing(missing) if missing == [frame]));
        group.admit(&[pack(frame)], &facts).unwrap();
        group.admit(&[path("main", 1, frame)], &facts).unwrap();
    }

    #[test]
    fn a_path_keeps_its_nar_hash_also_within_one_group() {
        let frame = Digest::of(b"frame");
        let facts = Facts {
            caches: BTreeSet::from(["main".parse().unwrap()]),
            frames: HashSet::from([frame]),
            ..Facts::default()
        };
        let mut group = Admission::default();
        group.admit(&[path("main", 1, frame)], &facts).unwrap();
        group.admit(&[path("main", 1, frame)], &facts).unwrap();
        let refusal = group.admit(&[path("main", 2, frame)], &facts).unwrap_err();
        assert!(matches!(refusal, Refusal::OtherNarHash { known } if known == [1; 32]));
    }

    fn condemning(frame: Digest, elsewhere: &[u8], needed: bool) -> Facts {
        let held = HeldFrame {
            frame,
            elsewhere: elsewhere.iter().map(|n| PackName([*n; 16])).collect(),
            needed,
        };
        Facts {
            caches: BTreeSet::from(["main".parse().unwrap()]),
            frames: HashSet::from([frame]),
            packs: BTreeMap::from([(PackName([1; 16]), PackState::Registered)]),
            condemning: BTreeMap::from([(PackName([1; 16]), vec![held])]),
            ..Facts::default()
        }
    }

    fn condemn(packs: &[u8]) -> [Record; 1] {
        [Record::PacksCondemned(
            packs.iter().map(|n| PackName([*n; 16])).collect(),
        )]
    }

    #[test]
    fn a_pack_is_condemned_only_when_nothing_needs_it_or_another_pack_has_it() {
        let frame = Digest::of(b"frame");
        let verdict = |elsewhere: &[u8], needed, packs: &[u8]| {
            Admission::default().admit(&condemn(packs), &condemning(frame, elsewhere, needed))
        };
        verdict(&[], false, &[1]).unwrap();
        verdict(&[2], true, &[1]).unwrap();
        assert!(matches!(verdict(&[], true, &[1]), Err(Refusal::PackNeeded(_))));
        assert!(matches!(
            verdict(&[2], true, &[1, 2]),
            Err(Refusal::PackNeeded(_))
        ));
    }

    #[test]
    fn what_the_group_itself_brings_counts_when_a_pack_is_condemned() {
        let frame = Digest::of(b"frame");
        let facts = condemning(frame, &[], false);
        let mut group = Admission::default();
        group.admit(&[path("main", 1, frame)], &facts).unwrap();
        assert!(matches!(
            group.admit(&condemn(&[1]), &facts),
            Err(Refusal::PackNeeded(_))
        ));
        // The other way round, the path hears that it must bring the frame again.
        let mut group = Admission::default();
        group.admit(&condemn(&[1]), &facts).unwrap();
        let refusal = group.admit(&[path("main", 1, frame)], &facts).unwrap_err();
        assert!(matches!(refusal, Refusal::FramesMissing(missing) if missing == [frame]));
        group.admit(&[pack(frame)], &facts).unwrap();
        group.admit(&[path("main", 1, frame)], &facts).unwrap();
        // A copy that came before makes it free to go.
        let mut group = Admission::default();
        let needed = condemning(frame, &[], true);
        group.admit(&[pack(frame)], &needed).unwrap();
        group.admit(&condemn(&[1]), &needed).unwrap();
        assert!(matches!(
            group.admit(&condemn(&[1]), &needed),
            Err(Refusal::Again)
        ));
    }

    #[test]
    fn a_condemned_pack_never_comes_back() {
        let frame = Digest::of(b"frame");
        let facts = Facts {
            packs: BTreeMap::from([(PackName([0; 16]), PackState::Condemned)]),
            ..Facts::default()
        };
        let refused = Admission::default().admit(&[pack(frame)], &facts);
        assert!(matches!(refused, Err(Refusal::PackCondemned(_))));
        let mut group = Admission::default();
        group.admit(&condemn(&[0]), &Facts::default()).unwrap();
        let refused = group.admit(&[pack(frame)], &Facts::default());
        assert!(matches!(refused, Err(Refusal::PackCondemned(_))));
    }

    #[test]
    fn paths_are_collected_only_by_one_who_has_seen_all_that_came() {
        let facts = Facts {
            caches: BTreeSet::from(["main".parse().unwrap()]),
            frames: HashSet::from([Digest::of(b"frame")]),
            ..Facts::default()
        };
        let collected = [Record::PathsCollected {
            cache: "main".parse().unwrap(),
            paths: vec![],
        }];
        Admission::default().admit(&collected, &facts).unwrap();
        let mut group = Admission::default();
        group
            .admit(&[path("main", 1, Digest::of(b"frame"))], &facts)
            .unwrap();
        assert!(matches!(group.admit(&collected, &facts), Err(Refusal::Again)));
        let unseen = Facts {
            unseen: true,
            ..facts
        };
        let refused = Admission::default().admit(&collected, &unseen);
        assert!(matches!(refused, Err(Refusal::Again)));
    }

    #[test]
    fn a_refused_request_leaves_nothing_behind() {
        let frame = Digest::of(b"frame");
        let mut group = Admission::default();
        let facts = Facts::default();
        let request = [
            pack(frame),
            Record::CacheCreated(cache("a")),
            path("main", 1, frame),
        ];
        assert!(group.admit(&request, &facts).is_err());
        group.admit(&[Record::CacheCreated(cache("a"))], &facts).unwrap();
        assert!(matches!(
            group.admit(&[path("a", 1, frame)], &facts),
            Err(Refusal::FramesMissing(_))
        ));
    }

    #[test]
    fn a_cache_is_made_once_and_can_be_made_again_after_its_end() {
        let mut group = Admission::default();
        let facts = Facts {
            caches: BTreeSet::from(["main".parse().unwrap()]),
            ..Facts::default()
        };
        let create = Record::CacheCreated(cache("main"));
        assert!(matches!(
            group.admit(std::slice::from_ref(&create), &facts),
            Err(Refusal::CacheExists(_))
        ));
        group
            .admit(&[Record::CacheDestroyed("main".parse().unwrap())], &facts)
            .unwrap();
        group.admit(&[create], &facts).unwrap();
    }
}
