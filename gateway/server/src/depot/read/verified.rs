//! Verified bytes, in as few pieces as they lie in memory: what was read from the bucket is handed on without being
//! copied.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

/// Pieces shorter than this are put together: handing on one more piece costs as much as copying so many bytes.
const SMALL: usize = 8 * 1024;
/// A buffer of which less than this share (in quarters) is wanted is not kept for it.
const WORTH: usize = 3;

/// A range that was read, of which some frames are wanted.
#[derive(Clone, Debug)]
pub(super) struct Buffer {
    bytes: Bytes,
    /// It is mostly wanted: pieces may hold on to it.
    keep: bool,
}

/// A frame in a buffer.
#[derive(Clone, Debug)]
pub(super) struct Slice {
    buffer: Arc<Buffer>,
    range: Range<usize>,
}

impl Buffer {
    /// A buffer of which `wanted` bytes are.
    pub(super) fn new(bytes: Bytes, wanted: usize) -> Arc<Self> {
        let keep = wanted >= bytes.len() / 4 * WORTH;
        Arc::new(Self { bytes, keep })
    }

    pub(super) fn slice(self: &Arc<Self>, range: Range<usize>) -> Slice {
        Slice {
            buffer: Arc::clone(self),
            range,
        }
    }
}

impl Slice {
    /// A frame that has a buffer for itself.
    pub(super) fn whole(bytes: Bytes) -> Self {
        let range = 0..bytes.len();
        Buffer::new(bytes, range.len()).slice(range)
    }

    /// The frame's bytes, for those who keep them longer than the rest of the buffer.
    pub(super) fn copied(&self) -> Bytes {
        Bytes::copy_from_slice(self.buffer.bytes.get(self.range.clone()).unwrap_or_default())
    }
}

/// Bytes in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Verified {
    pieces: Arc<[Bytes]>,
    length: usize,
    /// Bytes of memory that are held for it.
    held: usize,
}

impl Verified {
    pub(super) const fn len(&self) -> usize {
        self.length
    }

    pub(super) const fn held(&self) -> usize {
        self.held
    }

    /// The pieces of a part of it.
    pub(super) fn slice(&self, range: Range<usize>) -> VecDeque<Bytes> {
        let mut at = 0;
        let mut pieces = VecDeque::new();
        for piece in self.pieces.iter() {
            let start = range.start.saturating_sub(at).min(piece.len());
            let end = range.end.saturating_sub(at).min(piece.len());
            if start < end {
                pieces.push_back(piece.slice(start..end));
            }
            at += piece.len();
        }
        pieces
    }
}

/// Puts frames and literals together.
#[derive(Default)]
pub(super) struct Assembly {
    pieces: Vec<Bytes>,
    /// Frames that lie behind each other in one buffer.
    open: Option<Slice>,
    /// What is put together of short pieces.
    short: BytesMut,
    length: usize,
    held: usize,
}

impl Assembly {
    /// A frame.
    pub(super) fn frame(&mut self, slice: &Slice) {
        self.length += slice.range.len();
        if let Some(open) = &mut self.open
            && Arc::ptr_eq(&open.buffer, &slice.buffer)
            && open.range.end == slice.range.start
        {
            open.range.end = slice.range.end;
            return;
        }
        self.close();
        self.open = Some(slice.clone());
    }

    /// Bytes that are not in any buffer.
    pub(super) fn literal(&mut self, bytes: &[u8]) {
        self.length += bytes.len();
        self.close();
        self.short.extend_from_slice(bytes);
    }

    fn close(&mut self) {
        let Some(Slice { buffer, range }) = self.open.take() else {
            return;
        };
        if !buffer.keep || range.len() < SMALL {
            let bytes = buffer.bytes.get(range).unwrap_or_default();
            self.short.extend_from_slice(bytes);
            return;
        }
        self.flush();
        // What of the buffer is not wanted is held with it.
        self.held += range.len() / WORTH * 4;
        self.pieces.push(buffer.bytes.slice(range));
    }

    fn flush(&mut self) {
        if !self.short.is_empty() {
            self.held += self.short.len();
            self.pieces.push(self.short.split().freeze());
        }
    }

    pub(super) fn finish(mut self) -> Verified {
        self.close();
        self.flush();
        Verified {
            pieces: self.pieces.into(),
            length: self.length,
            held: self.held,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(verified: &Verified) -> Vec<u8> {
        verified.slice(0..verified.len()).into_iter().flatten().collect()
    }

    #[test]
    fn frames_that_lie_together_are_one_piece_and_short_ones_are_put_together() {
        let raw: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
        let buffer = Buffer::new(Bytes::from(raw.clone()), 100_000);
        let mut assembly = Assembly::default();
        assembly.frame(&buffer.slice(0..30_000));
        assembly.frame(&buffer.slice(30_000..60_000));
        assembly.literal(b"literal");
        assembly.frame(&buffer.slice(60_000..60_100));
        assembly.literal(b"other");
        assembly.frame(&buffer.slice(70_000..100_000));
        let verified = assembly.finish();
        let expected = [
            &raw[..60_000],
            b"literal",
            &raw[60_000..60_100],
            b"other",
            &raw[70_000..],
        ]
        .concat();
        assert_eq!(all(&verified), expected);
        assert_eq!(verified.len(), expected.len());
        assert_eq!(verified.pieces.len(), 3);
        let part: Vec<u8> = verified.slice(59_990..60_120).into_iter().flatten().collect();
        assert_eq!(part, &expected[59_990..60_120]);
    }

    #[test]
    fn a_buffer_of_which_little_is_wanted_is_not_held() {
        let buffer = Buffer::new(Bytes::from(vec![7; 1_000_000]), 20_000);
        let mut assembly = Assembly::default();
        assembly.frame(&buffer.slice(500_000..520_000));
        let verified = assembly.finish();
        assert_eq!(verified.held(), 20_000);
        assert_eq!(all(&verified), vec![7; 20_000]);
    }
}
