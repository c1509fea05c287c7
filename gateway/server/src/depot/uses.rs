//! Which paths are asked for: each at most once a day, noted in the log in groups, so that all gateways know.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hayloft_index::Index;
use hayloft_nixcache::{CacheName, StorePathHash};
use hayloft_store::log::record::Record;

use super::committer::Committer;
use super::types::Clock;

/// How often uses are noted in the log.
pub(super) const EVERY: Duration = Duration::from_secs(180);
/// Uses that wait to be noted; more are dropped, and noted when the path is asked for again.
const WAITING: usize = 100_000;
/// Paths that are known to have been asked for today, 8 bytes each.
const SEEN: usize = 1_000_000;
/// Uses in one record.
const GROUP: usize = 2_000;
/// How long noting a group may take.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Default)]
struct State {
    day: u32,
    seen: HashSet<u64>,
    /// By the day on which they were asked for.
    waiting: BTreeMap<u32, BTreeMap<CacheName, HashSet<StorePathHash>>>,
    count: usize,
}

/// Notes which paths are asked for.
pub(super) struct Uses {
    clock: Clock,
    state: Mutex<State>,
}

impl Uses {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            state: Mutex::default(),
        }
    }

    /// These paths were asked for, and are there.
    pub(super) fn used<'a>(&self, cache: &CacheName, hashes: impl IntoIterator<Item = &'a StorePathHash>) {
        let day = day(&self.clock);
        let mut state = self.lock();
        if state.day != day {
            state.day = day;
            state.seen.clear();
        }
        for hash in hashes {
            if state.seen.len() >= SEEN {
                state.seen.clear();
            }
            if !state.seen.insert(fingerprint(cache, hash)) {
                continue;
            }
            if state.count >= WAITING {
                state.seen.remove(&fingerprint(cache, hash));
                return;
            }
            // Cloning the name only for its first use.
            let today = state.waiting.entry(day).or_default();
            let added = match today.get_mut(cache) {
                Some(waiting) => waiting.insert(*hash),
                None => {
                    today.insert(cache.clone(), HashSet::from([*hash]));
                    true
                }
            };
            state.count += usize::from(added);
        }
    }

    /// Whether a path was asked for and that is not noted yet.
    pub(super) fn is_waiting(&self, cache: &CacheName, hash: &StorePathHash) -> bool {
        let state = self.lock();
        let mut days = state.waiting.values().filter_map(|caches| caches.get(cache));
        days.any(|waiting| waiting.contains(hash))
    }

    /// Notes in the log what waits. What cannot be noted now waits on.
    pub(super) async fn note(&self, index: &Index, committer: &Committer) {
        let waiting = {
            let mut state = self.lock();
            state.count = 0;
            std::mem::take(&mut state.waiting)
        };
        let waiting = waiting
            .into_iter()
            .flat_map(|(day, caches)| caches.into_iter().map(move |cache| (day, cache)));
        for (day, (cache, hashes)) in waiting {
            let hashes: Vec<StorePathHash> = hashes.into_iter().collect();
            for group in hashes.chunks(GROUP) {
                if let Err(error) = note_group(index, committer, day, &cache, group).await {
                    tracing::debug!(error, %cache, "uses could not be noted yet");
                    self.wait_on(day, &cache, group);
                }
            }
        }
    }

    fn wait_on(&self, day: u32, cache: &CacheName, hashes: &[StorePathHash]) {
        let mut state = self.lock();
        let room = WAITING.saturating_sub(state.count);
        let waiting = state
            .waiting
            .entry(day)
            .or_default()
            .entry(cache.clone())
            .or_default();
        let before = waiting.len();
        waiting.extend(hashes.iter().take(room));
        let added = waiting.len() - before;
        state.count += added;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn note_group(
    index: &Index,
    committer: &Committer,
    day: u32,
    cache: &CacheName,
    group: &[StorePathHash],
) -> Result<(), String> {
    // Another gateway, or this one before a restart, may have noted them.
    let mut paths = index
        .unused_since(cache, group, day)
        .await
        .map_err(|error| error.to_string())?;
    if paths.is_empty() {
        return Ok(());
    }
    paths.sort_unstable();
    let record = Record::PathsUsed {
        day,
        cache: cache.clone(),
        paths,
    };
    match tokio::time::timeout(PATIENCE, committer.commit(vec![record])).await {
        Ok(committed) => committed.map_err(|error| error.to_string()),
        Err(_) => Err("the log takes too long".to_owned()),
    }
}

/// Days since 1970.
pub(super) fn day(clock: &Clock) -> u32 {
    u32::try_from(clock().as_second().div_euclid(86_400)).unwrap_or(0)
}

fn fingerprint(cache: &CacheName, hash: &StorePathHash) -> u64 {
    let mut hasher = DefaultHasher::new();
    (cache, hash).hash(&mut hasher);
    hasher.finish()
}
