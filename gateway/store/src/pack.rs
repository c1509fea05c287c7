//! Packs: immutable objects of about 16 MiB that hold frames, one after the other.
//!
//! A pack has no table of its own: the record that registers it lists its frames, and its digest.

use serde::{Deserialize, Serialize};

use crate::Digest;
use crate::frame::Frame;

/// A pack is closed when it has reached this many bytes.
pub const TARGET: usize = 16 * 1024 * 1024;
/// What every pack begins with: magic and format version.
pub const HEADER: &[u8; 12] = b"HayPack\0\x01\0\0\0";

/// A frame as the record of its pack lists it. Frames lie in the order of the list, without gaps, after the
/// header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedFrame {
    /// BLAKE3 of the raw piece.
    pub piece: Digest,
    /// BLAKE3 of the stored bytes.
    pub frame: Digest,
    /// Stored bytes.
    pub stored: u32,
    /// Bytes when decompressed.
    pub raw: u32,
}

/// A pack while it is filled.
#[derive(Debug)]
pub struct PackBuilder {
    bytes: Vec<u8>,
    frames: Vec<PackedFrame>,
}

impl Default for PackBuilder {
    fn default() -> Self {
        Self {
            bytes: HEADER.to_vec(),
            frames: Vec::new(),
        }
    }
}

impl PackBuilder {
    /// Appends frames.
    pub fn append<'a>(&mut self, frames: impl IntoIterator<Item = &'a Frame>) {
        for Frame {
            piece,
            frame,
            raw,
            stored,
        } in frames
        {
            let Ok(length) = u32::try_from(stored.len()) else {
                continue;
            };
            if self.bytes.capacity() - self.bytes.len() < stored.len() {
                // Doubling would take twice a pack's memory at its end.
                let step = self.bytes.len().clamp(64 * 1024, 4 * 1024 * 1024);
                self.bytes.reserve_exact(step.max(stored.len()));
            }
            self.bytes.extend_from_slice(stored);
            self.frames.push(PackedFrame {
                piece: *piece,
                frame: *frame,
                stored: length,
                raw: *raw,
            });
        }
    }

    /// Bytes so far.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it holds no frame.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The object's bytes, and what its record lists.
    #[must_use]
    pub fn finish(self) -> (Vec<u8>, Vec<PackedFrame>) {
        (self.bytes, self.frames)
    }
}

/// Where each of `frames` lies in its pack: offsets in bytes from the object's beginning.
pub fn offsets(frames: &[PackedFrame]) -> impl Iterator<Item = (u64, &PackedFrame)> {
    frames.iter().scan(HEADER.len() as u64, |at, frame| {
        let offset = *at;
        *at += u64::from(frame.stored);
        Some((offset, frame))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FrameEncoder;

    #[test]
    fn every_frame_lies_where_the_list_says() {
        let mut encoder = FrameEncoder::new().unwrap();
        let frames: Vec<Frame> = [&b"one"[..], &[7; 5000], b"three"]
            .iter()
            .map(|raw| encoder.encode(Digest::of(raw), raw).unwrap())
            .collect();
        let mut pack = PackBuilder::default();
        pack.append(&frames);
        let (bytes, list) = pack.finish();
        for ((offset, packed), frame) in offsets(&list).zip(&frames) {
            let offset = usize::try_from(offset).unwrap();
            assert_eq!(bytes[offset..offset + packed.stored as usize], frame.stored);
        }
        assert_eq!(
            bytes.len(),
            HEADER.len() + list.iter().map(|f| f.stored as usize).sum::<usize>()
        );
    }
}
