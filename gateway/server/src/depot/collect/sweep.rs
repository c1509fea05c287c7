//! Sweeping: what was not marked goes, in small groups, as long as nothing comes that needs it.

use std::collections::BTreeSet;
use std::time::Duration;

use hayloft_nixcache::CacheName;
use hayloft_store::commit::Refusal;
use hayloft_store::log::record::{CacheRecord, Record};

use super::mark::{Bits, Marker, Rules};
use super::report::{CacheReport, Stage};
use super::{CollectError, Run};
use crate::depot::committer::CommitError;
use crate::depot::dying::may_die;

/// Paths that go at a time: the index takes some 20 ms for them, in which nothing else is ordered.
const GROUP: usize = 200;
/// Between two groups.
const PAUSE: Duration = Duration::from_millis(10);
/// How often a group is tried while paths come in.
const TRIES: u32 = 200;

/// What sweeping left to know for packs.
#[derive(Default)]
pub(super) struct Swept {
    /// Of a look: paths that would go.
    pub(super) dead: Bits,
    /// Of a look: packs that hold something of them.
    pub(super) touched: BTreeSet<i64>,
}

impl Run<'_> {
    /// Removes, or counts, what a cache does not keep.
    pub(super) async fn sweep(
        &self,
        record: &CacheRecord,
        swept: &mut Swept,
    ) -> Result<CacheReport, CollectError> {
        let index = &self.collector.index;
        let cache = &record.name;
        let max_bytes = index.limit_of(cache).await?;
        let rules = Rules::new(record, max_bytes, self.now);
        let mut report = CacheReport {
            cache: cache.clone(),
            retention: record.retention,
            max_bytes,
            kept: Default::default(),
            expired: Default::default(),
            over_limit: Default::default(),
            put_off: false,
        };
        // What comes from now on is heard of: the marks may not know it.
        if !self.dry_run {
            index.watch_arrivals();
        }
        let mut marker = Marker::new(index, cache, self.stop);
        if !rules.keep_all() {
            self.tell(Stage::Marking(cache.clone()));
            if !marker.run(rules, self.now).await? {
                report.put_off = true;
                return Ok(report);
            }
        }
        let mut after = 0;
        let mut group: Vec<i64> = Vec::new();
        loop {
            if self.stop.is_cancelled() {
                report.put_off = true;
                return Ok(report);
            }
            let page = index.path_uses(cache, after, 500).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            if !self.dry_run && !rules.keep_all() && !self.hear(&mut marker).await? {
                report.put_off = true;
                return Ok(report);
            }
            for path in page {
                if rules.keep_all() || marker.marks.has(path.id) {
                    report.kept.add(path.bytes);
                    continue;
                }
                if max_bytes.is_none() && rules.keeps(path.last) {
                    // Asked for since it was looked at.
                    marker.mark(&[(path.id, path.bytes)], None).await?;
                    report.kept.add(path.bytes);
                    continue;
                }
                if rules.keeps(path.last) {
                    report.over_limit.add(path.bytes);
                } else {
                    report.expired.add(path.bytes);
                }
                group.push(path.id);
                if group.len() == GROUP {
                    let group = std::mem::take(&mut group);
                    if !self.remove(cache, &mut marker, group, swept).await? {
                        report.put_off = true;
                        return Ok(report);
                    }
                }
            }
        }
        report.put_off = !self.remove(cache, &mut marker, group, swept).await?;
        Ok(report)
    }

    /// Marks what came meanwhile. False: too much came, or the cache's rules changed.
    async fn hear(&self, marker: &mut Marker<'_>) -> Result<bool, CollectError> {
        match self.collector.index.arrivals() {
            Ok(arrivals) => Ok(marker.arrived(&arrivals).await?),
            Err(_) => Ok(false),
        }
    }

    /// Removes a group. False: not now.
    async fn remove(
        &self,
        cache: &CacheName,
        marker: &mut Marker<'_>,
        mut group: Vec<i64>,
        swept: &mut Swept,
    ) -> Result<bool, CollectError> {
        let index = &self.collector.index;
        if self.dry_run {
            swept.touched.extend(index.packs_of(&group).await?);
            for id in group {
                swept.dead.set(id);
            }
            return Ok(true);
        }
        for _ in 0..TRIES {
            if self.stop.is_cancelled() {
                return Ok(false);
            }
            if !self.hear(marker).await? {
                return Ok(false);
            }
            group.retain(|id| !marker.marks.has(*id));
            let (used, paths): (Vec<_>, Vec<_>) = index
                .hashes_of(&group)
                .await?
                .into_iter()
                .partition(|hash| self.collector.uses.is_waiting(cache, hash));
            if !used.is_empty() {
                // Asked for just now: kept, with all that it refers to.
                let roots = index.ids_of(cache, &used).await?;
                marker.mark(&roots, None).await?;
                continue;
            }
            if paths.is_empty() {
                return Ok(true);
            }
            let count = paths.len();
            let record = Record::PathsCollected {
                cache: cache.clone(),
                paths,
            };
            may_die!("collect.before-removing");
            match self.collector.committer.commit(vec![record]).await {
                Ok(()) => {
                    may_die!("collect.removed");
                    self.tell(Stage::Removed {
                        cache: cache.clone(),
                        paths: count as u64,
                    });
                    tokio::time::sleep(PAUSE).await;
                    return Ok(true);
                }
                Err(CommitError::Refused(Refusal::Again)) => {}
                Err(CommitError::Refused(Refusal::NoSuchCache(_))) => return Ok(false),
                Err(error) => return Err(CollectError::Commit(error.to_string())),
            }
        }
        Ok(false)
    }
}
