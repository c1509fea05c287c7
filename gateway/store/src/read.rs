//! Plans reads: few large ranges instead of many small ones. Pure.
//!
//! After deduplication a NAR's frames lie scattered over packs; asked for one by one, they make a pull
//! several times slower.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::key::PackName;

/// The most output that is planned, fetched and held at once, in bytes.
pub const WINDOW: u64 = 8 * 1024 * 1024;
/// The longest range that is asked for.
pub const LONGEST: u64 = 4 * 1024 * 1024;
/// Frames that lie this near to each other are read together with what lies between.
pub const GAP: u64 = 128 * 1024;

/// A frame that is wanted, and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Which of the asked-for frames it is.
    pub index: usize,
    /// The pack.
    pub pack: PackName,
    /// Offset in bytes.
    pub offset: u64,
    /// Stored bytes.
    pub stored: u32,
}

/// One range to read, and the frames in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// The pack.
    pub pack: PackName,
    /// Bytes of the object.
    pub range: Range<u64>,
    /// The frames that lie in it.
    pub frames: Vec<Wanted>,
}

/// Joins frames to ranges.
#[must_use]
pub fn plan(wanted: impl IntoIterator<Item = Wanted>) -> Vec<Fetch> {
    let mut packs: BTreeMap<PackName, Vec<Wanted>> = BTreeMap::new();
    for frame in wanted {
        packs.entry(frame.pack).or_default().push(frame);
    }
    let mut fetches: Vec<Fetch> = Vec::new();
    for (pack, mut frames) in packs {
        frames.sort_by_key(|frame| frame.offset);
        let mut open: Option<Fetch> = None;
        for frame in frames {
            let end = frame.offset + u64::from(frame.stored);
            match &mut open {
                Some(fetch)
                    if frame.offset <= fetch.range.end.saturating_add(GAP)
                        && end.saturating_sub(fetch.range.start) <= LONGEST =>
                {
                    fetch.range.end = fetch.range.end.max(end);
                    fetch.frames.push(frame);
                }
                _ => {
                    fetches.extend(open.take());
                    open = Some(Fetch {
                        pack,
                        range: frame.offset..end,
                        frames: vec![frame],
                    });
                }
            }
        }
        fetches.extend(open);
    }
    fetches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(index: usize, pack: u8, offset: u64, stored: u32) -> Wanted {
        Wanted {
            index,
            pack: PackName([pack; 16]),
            offset,
            stored,
        }
    }

    #[test]
    fn neighbours_are_read_together_and_strangers_apart() {
        let fetches = plan([
            frame(0, 1, 100, 50),
            frame(1, 1, 150, 50),
            frame(2, 2, 0, 10),
            frame(3, 1, 200 + GAP, 10),
            frame(4, 1, 211 + 2 * GAP, 10),
        ]);
        let ranges: Vec<_> = fetches
            .iter()
            .map(|f| (f.pack.0[0], f.range.clone(), f.frames.len()))
            .collect();
        assert_eq!(
            ranges,
            [
                (1, 100..210 + GAP, 3),
                (1, 211 + 2 * GAP..221 + 2 * GAP, 1),
                (2, 0..10, 1)
            ]
        );
    }

    #[test]
    fn no_range_is_longer_than_the_longest() {
        let size = 100_000_u32;
        let fetches = plan((0..200).map(|i| frame(i, 1, i as u64 * u64::from(size), size)));
        assert!(fetches.iter().all(|f| f.range.end - f.range.start <= LONGEST));
        assert_eq!(fetches.iter().map(|f| f.frames.len()).sum::<usize>(), 200);
        assert_eq!(fetches.len(), 5);
    }

    #[test]
    fn a_frame_that_is_wanted_twice_is_read_once() {
        let fetches = plan([frame(0, 1, 0, 10), frame(1, 1, 0, 10)]);
        assert_eq!(fetches.len(), 1);
        assert_eq!(fetches[0].range, 0..10);
        assert_eq!(fetches[0].frames.len(), 2);
    }
}
