//! Finds store hashes in a sliding window and blanks them.

use std::collections::VecDeque;

use aho_corasick::{AhoCorasick, MatchKind};

/// Digits of a store hash.
pub(super) const LENGTH: usize = 32;

/// The hashes to look for cannot be made a search automaton.
#[derive(Debug, thiserror::Error)]
#[error("a search for the references' hashes cannot be built")]
pub struct PatternError(#[source] aho_corasick::BuildError);

/// Where hashes begin in a window. Matches never overlap: of two that would, the first counts.
pub(super) struct Mask {
    search: AhoCorasick,
    /// Everything that begins before this place was looked for.
    scanned: usize,
    /// Beginnings of hashes not yet behind the last cut.
    found: VecDeque<usize>,
    /// Bytes of the first chunk that belong to a hash that began in the chunk before.
    carried: usize,
}

impl Mask {
    pub(super) fn new<'a>(hashes: impl IntoIterator<Item = &'a [u8; LENGTH]>) -> Result<Self, PatternError> {
        let search = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostFirst)
            .build(hashes)
            .map_err(PatternError)?;
        Ok(Self {
            search,
            scanned: 0,
            found: VecDeque::new(),
            carried: 0,
        })
    }

    /// Looks through what is new in `window` and zeroes the hashes in `blanked`. What lies so near to the
    /// end that a hash could begin there and end behind it waits, unless this is the `last` of it.
    pub(super) fn scan(&mut self, window: &[u8], blanked: &mut [u8], last: bool) {
        let mut at = self.scanned.min(window.len());
        for hit in self.search.find_iter(&window[at..]) {
            let start = self.scanned + hit.start();
            self.found.push_back(start);
            blanked[start..start + LENGTH].fill(0);
            at = start + LENGTH;
        }
        let safe = if last {
            window.len()
        } else {
            window.len().saturating_sub(LENGTH - 1)
        };
        self.scanned = at.max(safe);
    }

    /// The hashes in `start..end`, clipped to it and relative to `start`.
    pub(super) fn take(&mut self, start: usize, end: usize) -> Vec<(usize, usize)> {
        let mut ranges = Vec::new();
        let length = end - start;
        if self.carried > 0 {
            let clip = self.carried.min(length);
            ranges.push((0, clip));
            self.carried -= clip;
        }
        while let Some(&hash) = self.found.front() {
            if hash >= end {
                break;
            }
            self.found.pop_front();
            let stop = hash + LENGTH;
            ranges.push((hash - start, stop.min(end) - start));
            self.carried = stop.saturating_sub(end);
        }
        ranges
    }

    /// The first `by` bytes left the window.
    pub(super) fn shift(&mut self, by: usize) {
        self.scanned = self.scanned.saturating_sub(by);
        for start in &mut self.found {
            *start = start.saturating_sub(by);
        }
    }
}
