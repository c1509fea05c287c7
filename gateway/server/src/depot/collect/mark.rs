//! Marking: which paths of a cache are kept. From pins and from what was asked for in time, along references.
//!
//! Memory: one bit a path; for a cache that is larger than it may be, 8 bytes more for each of its paths.

use hayloft_index::{Arrival, Index, IndexError};
use hayloft_nixcache::CacheName;
use hayloft_store::log::record::CacheRecord;
use tokio_util::sync::CancellationToken;

/// Paths that are asked about at a time.
const PAGE: u32 = 500;
/// Paths whose references are looked up at a time.
const STEP: usize = 200;

/// One bit for each path, by its number.
#[derive(Clone, Debug, Default)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    /// Sets a bit; whether it was clear.
    pub(super) fn set(&mut self, id: i64) -> bool {
        let (word, bit) = place(id);
        if word >= self.0.len() {
            self.0.resize(word + word / 8 + 1, 0);
        }
        let was = self.0.get(word).copied().unwrap_or(0);
        if let Some(slot) = self.0.get_mut(word) {
            *slot |= bit;
        }
        was & bit == 0
    }

    pub(super) fn clear(&mut self, id: i64) {
        let (word, bit) = place(id);
        if let Some(slot) = self.0.get_mut(word) {
            *slot &= !bit;
        }
    }

    pub(super) fn has(&self, id: i64) -> bool {
        let (word, bit) = place(id);
        self.0.get(word).is_some_and(|slot| slot & bit != 0)
    }
}

fn place(id: i64) -> (usize, u64) {
    let id = usize::try_from(id).unwrap_or(0);
    (id / 64, 1 << (id % 64))
}

/// What a cache keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    /// Paths that were wanted at this time or later are kept, in milliseconds since 1970; none: all are.
    pub(super) since: Option<i64>,
    /// Bytes that it may hold.
    pub(super) max_bytes: Option<u64>,
}

impl Rules {
    pub(super) fn new(cache: &CacheRecord, max_bytes: Option<u64>, now: i64) -> Self {
        Self {
            since: cache
                .retention
                .map(|seconds| now.saturating_sub(i64::from(seconds) * 1000)),
            max_bytes,
        }
    }

    /// Whether a path is kept that was wanted last at that time, if there is room.
    pub(super) fn keeps(&self, last: i64) -> bool {
        self.since.is_none_or(|since| last >= since)
    }

    /// Whether everything is kept, whatever there is.
    pub(super) const fn keep_all(&self) -> bool {
        self.since.is_none() && self.max_bytes.is_none()
    }
}

/// Marks the paths of one cache.
pub(super) struct Marker<'a> {
    index: &'a Index,
    cache: &'a CacheName,
    stop: &'a CancellationToken,
    pub(super) marks: Bits,
    /// Bytes of what is marked.
    bytes: u64,
}

impl<'a> Marker<'a> {
    pub(super) fn new(index: &'a Index, cache: &'a CacheName, stop: &'a CancellationToken) -> Self {
        Self {
            index,
            cache,
            stop,
            marks: Bits::default(),
            bytes: 0,
        }
    }

    /// Marks what the rules and pins keep. False: it was told to stop.
    pub(super) async fn run(&mut self, rules: Rules, now: i64) -> Result<bool, IndexError> {
        for pin in self.index.pins(self.cache).await? {
            if pin.until.is_none_or(|until| until > now) {
                let roots = self.index.ids_of(self.cache, &pin.paths).await?;
                self.mark(&roots, None).await?;
            }
        }
        match rules.max_bytes {
            Some(limit) if self.is_larger(limit).await? => self.newest(rules, limit).await,
            _ => self.recent(rules).await,
        }
    }

    /// Marks what came meanwhile. False: the rules of the cache changed.
    pub(super) async fn arrived(&mut self, arrivals: &[Arrival]) -> Result<bool, IndexError> {
        for arrival in arrivals {
            match arrival {
                Arrival::Paths { cache, hashes } if cache == self.cache => {
                    let roots = self.index.ids_of(cache, hashes).await?;
                    self.mark(&roots, None).await?;
                }
                Arrival::Rules(cache) if cache == self.cache => return Ok(false),
                Arrival::Paths { .. } | Arrival::Rules(_) => {}
            }
        }
        Ok(true)
    }

    /// Marks paths and all that they refer to; notes in `journal` what was not marked before.
    pub(super) async fn mark(
        &mut self,
        roots: &[(i64, u64)],
        mut journal: Option<&mut Vec<(i64, u64)>>,
    ) -> Result<(), IndexError> {
        let mut frontier: Vec<i64> = Vec::new();
        let mut found: Vec<(i64, u64)> = roots.to_vec();
        loop {
            for (id, bytes) in found.drain(..) {
                if self.marks.set(id) {
                    self.bytes = self.bytes.saturating_add(bytes);
                    frontier.push(id);
                    if let Some(journal) = journal.as_deref_mut() {
                        journal.push((id, bytes));
                    }
                }
            }
            let step = frontier.split_off(frontier.len().saturating_sub(STEP));
            if step.is_empty() {
                return Ok(());
            }
            found = self.index.references_of(&step).await?;
        }
    }

    /// Marks what was wanted in time.
    async fn recent(&mut self, rules: Rules) -> Result<bool, IndexError> {
        let mut after = 0;
        loop {
            if self.stop.is_cancelled() {
                return Ok(false);
            }
            let page = self.index.path_uses(self.cache, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(true) };
            after = last.id;
            let roots: Vec<(i64, u64)> = page
                .iter()
                .filter(|path| rules.keeps(path.last))
                .map(|path| (path.id, path.bytes))
                .collect();
            self.mark(&roots, None).await?;
        }
    }

    async fn is_larger(&self, limit: u64) -> Result<bool, IndexError> {
        let (mut after, mut bytes) = (0, 0_u64);
        loop {
            let page = self.index.path_uses(self.cache, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(false) };
            after = last.id;
            bytes = page
                .iter()
                .fold(bytes, |sum, path| sum.saturating_add(path.bytes));
            if bytes > limit {
                return Ok(true);
            }
        }
    }

    /// Marks what was wanted in time, from the last to the first, each with all that it refers to, up to where the next
    /// one does not fit.
    async fn newest(&mut self, rules: Rules, limit: u64) -> Result<bool, IndexError> {
        let mut roots: Vec<u64> = Vec::new();
        let mut after = 0;
        loop {
            if self.stop.is_cancelled() {
                return Ok(false);
            }
            let page = self.index.path_uses(self.cache, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            let kept = page.iter().filter(|path| rules.keeps(path.last));
            roots.extend(kept.map(|path| packed(path.last, path.id)));
        }
        // Ascending: the last wanted lies at the end.
        roots.sort_unstable();
        while !roots.is_empty() {
            if self.stop.is_cancelled() {
                return Ok(false);
            }
            let some = roots.split_off(roots.len().saturating_sub(STEP));
            let ids: Vec<i64> = some.iter().rev().map(|root| id_of(*root)).collect();
            let before = self.bytes;
            let mut journal = Vec::new();
            let sizes = self.index.sizes_of(&ids).await?;
            self.mark(&sizes, Some(&mut journal)).await?;
            if self.bytes <= limit {
                continue;
            }
            self.unmark(&journal, before);
            for id in ids {
                let before = self.bytes;
                let mut journal = Vec::new();
                let size = self.index.sizes_of(&[id]).await?;
                self.mark(&size, Some(&mut journal)).await?;
                if self.bytes > limit && !journal.is_empty() {
                    self.unmark(&journal, before);
                    return Ok(true);
                }
            }
        }
        Ok(true)
    }

    fn unmark(&mut self, journal: &[(i64, u64)], bytes: u64) {
        for (id, _) in journal {
            self.marks.clear(*id);
        }
        self.bytes = bytes;
    }
}

/// Seconds and number in one, sorted by seconds. Numbers of paths have 31 bits here: 2 thousand million.
fn packed(last: i64, id: i64) -> u64 {
    let seconds = u64::try_from(last / 1000).unwrap_or(0) & ((1 << 33) - 1);
    (seconds << 31) | (u64::try_from(id).unwrap_or(0) & ((1 << 31) - 1))
}

fn id_of(packed: u64) -> i64 {
    i64::try_from(packed & ((1 << 31) - 1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_set_and_cleared_one_by_one() {
        let mut bits = Bits::default();
        for id in [0, 1, 63, 64, 1000, 5_000_000] {
            assert!(!bits.has(id));
            assert!(bits.set(id));
            assert!(!bits.set(id));
            assert!(bits.has(id) && !bits.has(id + 2));
            bits.clear(id);
            assert!(!bits.has(id));
        }
    }

    #[test]
    fn what_was_wanted_later_sorts_later_and_keeps_its_number() {
        let earlier = packed(1_000_000, 70_000);
        let later = packed(1_001_000, 3);
        assert!(earlier < later);
        assert_eq!((id_of(earlier), id_of(later)), (70_000, 3));
        // A clock that is wrong by centuries does not spill into the number.
        assert_eq!(id_of(packed(i64::MAX, 9)), 9);
    }
}
