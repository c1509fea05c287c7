//! Paths that are asked for often, and all hashes there are, in bounded memory: most questions of Nix never reach
//! the file.
//!
//! Both follow [`Index::apply`], the one way by which rows come and go.

use std::sync::{Arc, PoisonError, RwLock};

use hayloft_nixcache::{CacheName, StorePathHash};
use hayloft_store::log::record::Record;
use moka::sync::Cache;

use crate::known::Known;
use crate::{Index, IndexError, StoredPath};

/// Bytes of paths that are kept.
const MEMORY: u64 = 24 * 1024 * 1024;
/// What a path takes besides its texts.
const ROW: usize = 400;

type Key = (CacheName, StorePathHash);

/// What is kept in memory.
#[derive(Debug)]
pub(crate) struct Hot {
    paths: Cache<Key, Arc<StoredPath>>,
    /// Counts changes. Whoever read a row before the last change must not keep it.
    changes: RwLock<u64>,
    pub(crate) known: Known,
}

impl Default for Hot {
    fn default() -> Self {
        Self {
            paths: Cache::builder()
                .max_capacity(MEMORY)
                .weigher(|_: &Key, path: &Arc<StoredPath>| weight(path))
                .build(),
            changes: RwLock::new(0),
            known: Known::default(),
        }
    }
}

impl Hot {
    /// Before records are committed: their paths may be there from now on.
    pub(crate) fn coming(&self, records: &[Record]) {
        for record in records {
            if let Record::PathAdded(path) = record {
                self.known.insert(&path.cache, &path.path.hash());
            }
        }
    }

    /// After records were committed: what they change is read anew.
    pub(crate) fn changed(&self, records: &[Record]) {
        let mut changes = self.changes.write().unwrap_or_else(PoisonError::into_inner);
        *changes += 1;
        for record in records {
            match record {
                Record::PathAdded(path) => self.paths.invalidate(&(path.cache.clone(), path.path.hash())),
                Record::PathRemoved { cache, path } => self.paths.invalidate(&(cache.clone(), path.hash())),
                Record::PathsCollected { cache, paths } => {
                    for path in paths {
                        self.paths.invalidate(&(cache.clone(), *path));
                    }
                }
                // They take nothing from a path that is whole, and only such are kept.
                Record::EpochOpened(_)
                | Record::CacheCreated(_)
                | Record::CacheConfigured(_)
                | Record::PackAdded(_)
                | Record::PathsUsed { .. }
                | Record::Pinned { .. }
                | Record::Unpinned { .. }
                | Record::NarHashConflict { .. }
                | Record::CacheLimited { .. } => {}
                // Whose paths these concern is known only to the file.
                Record::CacheDestroyed(_)
                | Record::Damaged(_)
                | Record::PacksCondemned(_)
                | Record::PacksDeleted(_) => self.paths.invalidate_all(),
            }
        }
    }
}

impl Index {
    /// A path of a cache that is there and whole, from memory if it was asked for lately.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn whole_path(
        &self,
        cache: &CacheName,
        hash: &StorePathHash,
    ) -> Result<Option<Arc<StoredPath>>, IndexError> {
        if !self.hot.known.may_have(cache, hash) {
            return Ok(None);
        }
        let key = (cache.clone(), *hash);
        if let Some(path) = self.hot.paths.get(&key) {
            return Ok(Some(path));
        }
        let before = *self.hot.changes.read().unwrap_or_else(PoisonError::into_inner);
        let Some(path) = self.path(cache, hash).await? else {
            return Ok(None);
        };
        if path.damaged || path.removed {
            return Ok(None);
        }
        let path = Arc::new(path);
        let changes = self.hot.changes.read().unwrap_or_else(PoisonError::into_inner);
        if *changes == before {
            self.hot.paths.insert(key, Arc::clone(&path));
        }
        drop(changes);
        Ok(Some(path))
    }
}

fn weight(path: &StoredPath) -> u32 {
    let texts = |list: &[String]| list.iter().map(|text| text.len() + 24).sum::<usize>();
    let size = ROW
        + path.path.as_str().len()
        + texts(&path.references)
        + texts(&path.sigs)
        + path.deriver.as_ref().map_or(0, String::len);
    u32::try_from(size).unwrap_or(u32::MAX)
}
