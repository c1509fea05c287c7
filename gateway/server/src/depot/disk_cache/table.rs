//! Where frames lie. Known by the first eight bytes of their digests: two that share them are one place, and the frame
//! that is there is checked against the whole digest.

use std::collections::HashMap;

use hayloft_store::Digest;

/// Where a frame lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u32,
    pub(super) offset: u32,
    pub(super) length: u32,
}

impl Place {
    pub(super) fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.length)
    }
}

/// The highest bit of a length says that the frame was asked for.
const HOT: u32 = 1 << 31;

/// The table.
#[derive(Debug, Default)]
pub(super) struct Table(HashMap<u64, Place>);

impl Table {
    pub(super) fn insert(&mut self, digest: [u8; 8], place: Place) {
        self.0.insert(u64::from_le_bytes(digest), place);
    }

    pub(super) fn has(&self, digest: &Digest) -> bool {
        self.0.contains_key(&key(digest))
    }

    /// Where a frame lies; from then on it counts as asked for.
    pub(super) fn find(&mut self, digest: &Digest) -> Option<Place> {
        let place = self.0.get_mut(&key(digest))?;
        let found = Place {
            length: place.length & !HOT,
            ..*place
        };
        place.length |= HOT;
        Some(found)
    }

    /// What was there is not what it should be.
    pub(super) fn forget(&mut self, digest: &Digest, place: Place) {
        let same = |known: &Place| known.segment == place.segment && known.offset == place.offset;
        if self.0.get(&key(digest)).is_some_and(same) {
            self.0.remove(&key(digest));
        }
    }

    /// Forgets all that lies in a file; gives what of it was asked for.
    pub(super) fn drop_segment(&mut self, segment: u32) -> Vec<Place> {
        let mut hot = Vec::new();
        self.0.retain(|_, place| {
            if place.segment != segment {
                return true;
            }
            if place.length & HOT != 0 {
                hot.push(Place {
                    length: place.length & !HOT,
                    ..*place
                });
            }
            false
        });
        hot
    }
}

fn key(digest: &Digest) -> u64 {
    u64::from_le_bytes(*digest.as_bytes().first_chunk().unwrap_or(&[0; 8]))
}
