//! Cuts what is to be sent into windows. Pure.

use std::ops::Range;

use hayloft_store::manifest::{Entry, Manifest};

/// Entries that are fetched together, and which of their bytes are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) entries: Range<usize>,
    /// Bytes of the entries together.
    pub(super) bytes: u64,
    /// Within them.
    pub(super) wanted: Range<usize>,
}

/// How far a range of a body has been cut.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    range: Range<u64>,
    /// The next entry.
    entry: usize,
    /// Where it begins in the body.
    offset: u64,
}

impl Cut {
    pub(super) fn new(manifest: &Manifest, range: Range<u64>) -> Self {
        let mut cut = Self {
            range,
            entry: 0,
            offset: 0,
        };
        for entry in manifest.entries() {
            if cut.offset + entry.sent() > cut.range.start {
                break;
            }
            cut.offset += entry.sent();
            cut.entry += 1;
        }
        cut
    }

    /// The next window: of at most `limit` bytes, but at least one entry.
    pub(super) fn next(&mut self, manifest: &Manifest, limit: u64) -> Option<Window> {
        let rest = manifest.entries().get(self.entry..)?;
        if self.offset >= self.range.end || rest.is_empty() {
            return None;
        }
        let begin = self.offset;
        let first = self.entry;
        let mut bytes = 0;
        for size in rest.iter().map(Entry::sent) {
            if (bytes > 0 && bytes + size > limit) || begin + bytes >= self.range.end {
                break;
            }
            bytes += size;
            self.entry += 1;
        }
        self.offset += bytes;
        let start = self.range.start.saturating_sub(begin).min(bytes);
        let end = (self.range.end - begin).min(bytes);
        let wanted = usize::try_from(start).ok()?..usize::try_from(end).ok()?;
        Some(Window {
            entries: first..self.entry,
            bytes,
            wanted,
        })
    }
}

#[cfg(test)]
mod tests {
    use hayloft_store::Digest;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn windows_cover_exactly_the_range(
            sizes in proptest::collection::vec(1_u32..5000, 1..80),
            bounds: (u16, u16),
            limit in 1_u64..20_000,
        ) {
            let mut manifest = Manifest::default();
            for size in &sizes {
                manifest.push_frame(Digest::ZERO, *size, *size);
            }
            let total = manifest.sent();
            let (a, b) = (u64::from(bounds.0) % (total + 1), u64::from(bounds.1) % (total + 1));
            let range = a.min(b)..a.max(b);
            let mut cut = Cut::new(&manifest, range.clone());
            let mut at = range.start;
            let mut before = None;
            while let Some(window) = cut.next(&manifest, limit) {
                let begin: u64 = manifest.entries()[..window.entries.start].iter().map(Entry::sent).sum();
                prop_assert!(window.bytes <= limit || window.entries.len() == 1);
                prop_assert_eq!(begin + window.wanted.start as u64, at);
                at = begin + window.wanted.end as u64;
                if let Some(before) = before {
                    prop_assert_eq!(window.entries.start, before);
                }
                before = Some(window.entries.end);
            }
            prop_assert_eq!(at, range.end);
        }
    }
}
