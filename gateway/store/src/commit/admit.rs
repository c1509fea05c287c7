//! What may be ordered: every record is checked against everything ordered before it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use hayloft_nixcache::{CacheName, StorePathHash};

use crate::Digest;
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
                Record::PackAdded(pack) => next.frames.extend(pack.frames.iter().map(|f| f.frame)),
                Record::PathAdded(path) => {
                    self.need_cache(&next, facts, &path.cache)?;
                    let at = (path.cache.clone(), path.path.hash());
                    self.check_path(&next, facts, path, &at)?;
                    next.nar_hashes.push((at, path.nar_hash));
                }
                Record::PathRemoved { cache, .. } => self.need_cache(&next, facts, cache)?,
                Record::Damaged(_) => {}
            }
        }
        self.caches.extend(next.caches);
        self.frames.extend(next.frames);
        self.nar_hashes.extend(next.nar_hashes);
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
        next: &Changes,
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
        let stored =
            |f: &Digest| next.frames.contains(f) || self.frames.contains(f) || facts.frames.contains(f);
        let missing: Vec<Digest> = manifest.frames().filter(|frame| !stored(frame)).collect();
        if missing.is_empty() {
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
