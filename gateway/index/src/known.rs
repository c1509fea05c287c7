//! The hashes of all paths there ever were, 8 bytes each: who asks for any other is answered without a look at the file.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::{PoisonError, RwLock};

use hayloft_nixcache::{CacheName, StorePathHash};

use crate::{Index, IndexError};

/// Rows that are read at once.
const PAGE: u32 = 20_000;
/// New ones are worked into the sorted list when there are this many.
const RECENT: usize = 100_000;

#[derive(Debug, Default)]
struct Set {
    /// All were read; before that, any path may be there.
    complete: bool,
    sorted: Vec<u64>,
    recent: HashSet<u64>,
}

/// Fingerprints of paths. One that is not among them is not there; one that is may be.
#[derive(Debug, Default)]
pub(crate) struct Known(RwLock<Set>);

impl Known {
    pub(crate) fn insert(&self, cache: &CacheName, hash: &StorePathHash) {
        let mut set = self.0.write().unwrap_or_else(PoisonError::into_inner);
        set.recent.insert(fingerprint(cache, hash));
        if set.complete && set.recent.len() >= RECENT {
            let recent = std::mem::take(&mut set.recent);
            set.add(recent);
        }
    }

    /// Whether the file must be asked.
    pub(crate) fn may_have(&self, cache: &CacheName, hash: &StorePathHash) -> bool {
        let set = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if !set.complete {
            return true;
        }
        let fingerprint = fingerprint(cache, hash);
        set.sorted.binary_search(&fingerprint).is_ok() || set.recent.contains(&fingerprint)
    }

    fn complete(&self, all: Vec<u64>) {
        let mut set = self.0.write().unwrap_or_else(PoisonError::into_inner);
        set.sorted = all;
        set.sorted.sort_unstable();
        set.sorted.dedup();
        set.sorted.shrink_to_fit();
        set.complete = true;
    }
}

impl Set {
    fn add(&mut self, more: HashSet<u64>) {
        self.sorted.extend(more);
        // Nearly sorted: this takes little more than one look at each.
        self.sorted.sort();
        self.sorted.dedup();
    }
}

fn fingerprint(cache: &CacheName, hash: &StorePathHash) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one((cache.as_str(), hash.as_bytes()))
}

impl Index {
    /// Reads the hashes of all paths into memory, in pages; until it is done, every question goes to the file.
    /// 5 million paths take 40 MB.
    ///
    /// # Errors
    /// When the index fails; then every question goes to the file.
    pub async fn learn(&self) -> Result<usize, IndexError> {
        let failed = IndexError::query("all paths");
        let caches: Vec<(i64, String)> = sqlx::query_as("SELECT id, name FROM caches")
            .fetch_all(&self.readers)
            .await
            .map_err(&failed)?;
        let mut all = Vec::new();
        // A cache that is made meanwhile has only paths that are inserted while we read.
        for (id, name) in caches {
            let name: CacheName = name
                .parse()
                .map_err(|_| IndexError::Corrupt { what: "cache name" })?;
            let mut after = String::new();
            loop {
                let rows: Vec<(String,)> = sqlx::query_as(
                    "SELECT hash FROM paths WHERE cache = ? AND hash > ? ORDER BY hash LIMIT ?",
                )
                .bind(id)
                .bind(&after)
                .bind(PAGE)
                .fetch_all(&self.readers)
                .await
                .map_err(&failed)?;
                let Some((last,)) = rows.last() else { break };
                after.clone_from(last);
                for (hash,) in &rows {
                    let hash = hash.parse().map_err(|_| IndexError::Corrupt {
                        what: "store path hash",
                    })?;
                    all.push(fingerprint(&name, &hash));
                }
            }
        }
        let count = all.len();
        self.hot.known.complete(all);
        Ok(count)
    }
}
