//! Cuts a NAR by content, so that a mass rebuild adds nothing.
//!
//! When one package changes, all that depend on it are rebuilt, and most of their bytes stay the same but
//! for store hashes: their own and their references'. So those are blanked before FastCDC looks for cut
//! points, each chunk is cut again at every hash, and the hashes travel as literals of the manifest.

mod mask;

use fastcdc::v2020;

use mask::Mask;
pub use mask::PatternError;

/// The least bytes of a chunk (but the last).
pub const MIN: usize = 16 * 1024;
/// What chunks come out at on average.
pub const AVERAGE: usize = 64 * 1024;
/// The most bytes of a chunk.
pub const MAX: usize = 256 * 1024;
/// A piece of up to this many bytes next to a hash costs less as part of the literal than as a frame.
pub const TINY: usize = 96;

/// A NAR is cut at no more hashes than this; later ones stay in their pieces. Without a bound, a NAR that is made of
/// hashes would have a manifest of its own size, and frames by the million.
pub const MAX_HASHES: usize = 128 * 1024;

/// The window is compacted when this many bytes of it are done with.
const SLACK: usize = MAX;

/// What a NAR is cut into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Bytes to deduplicate and compress.
    Piece(Vec<u8>),
    /// Bytes to keep as they are.
    Literal(Vec<u8>),
}

/// Cuts one NAR, fed in any portions: the same NAR always gives the same segments.
pub struct Chunker {
    mask: Mask,
    window: Vec<u8>,
    blanked: Vec<u8>,
    /// How much of the window is cut already.
    done: usize,
    masks: (u64, u64),
    /// At how many hashes the NAR may still be cut.
    hashes_left: usize,
}

impl Chunker {
    /// A chunker that blanks these hashes (32 ASCII digits each).
    ///
    /// # Errors
    /// When there are too many of them for the automaton.
    pub fn new<'a>(hashes: impl IntoIterator<Item = &'a [u8; 32]>) -> Result<Self, PatternError> {
        Ok(Self {
            mask: Mask::new(hashes)?,
            window: Vec::with_capacity(SLACK + 2 * MAX),
            blanked: Vec::with_capacity(SLACK + 2 * MAX),
            done: 0,
            masks: v2020::select_masks(AVERAGE, v2020::Normalization::Level1),
            hashes_left: MAX_HASHES,
        })
    }

    /// Takes the next bytes and gives what is certain by now.
    pub fn feed(&mut self, bytes: &[u8], mut give: impl FnMut(Segment)) {
        for part in bytes.chunks(MAX) {
            self.window.extend_from_slice(part);
            self.blanked.extend_from_slice(part);
            // A cut point within MAX bytes depends on nothing behind them but the end of a hash that
            // begins before them.
            while self.window.len() - self.done >= MAX + mask::LENGTH {
                self.cut(false, &mut give);
            }
            self.compact();
        }
    }

    /// Gives the rest.
    pub fn finish(mut self, mut give: impl FnMut(Segment)) {
        while self.done < self.window.len() {
            self.cut(true, &mut give);
        }
    }

    fn cut(&mut self, last: bool, give: &mut impl FnMut(Segment)) {
        self.mask.scan(&self.window, &mut self.blanked, last);
        let (s, l) = self.masks;
        let (_, length) = v2020::cut(
            &self.blanked[self.done..],
            MIN,
            AVERAGE,
            MAX,
            s,
            l,
            s << 1,
            l << 1,
        );
        let (start, end) = (self.done, self.done + length.max(1));
        self.done = end;
        let mut hashes = self.mask.take(start, end);
        hashes.truncate(self.hashes_left);
        self.hashes_left -= hashes.len();
        split(&self.window[start..end], &hashes, give);
    }

    fn compact(&mut self) {
        if self.done >= SLACK {
            self.window.drain(..self.done);
            self.blanked.drain(..self.done);
            self.mask.shift(self.done);
            self.done = 0;
        }
    }
}

/// Cuts one chunk at `hashes` (ranges within it, in order).
fn split(chunk: &[u8], hashes: &[(usize, usize)], give: &mut impl FnMut(Segment)) {
    let mut literal: Vec<u8> = Vec::new();
    let mut at = 0;
    for &(start, end) in hashes {
        let piece = &chunk[at..start];
        // A piece before the first hash has a hash behind it, any other has one on both sides.
        if piece.len() <= TINY {
            literal.extend_from_slice(piece);
        } else {
            if !literal.is_empty() {
                give(Segment::Literal(std::mem::take(&mut literal)));
            }
            give(Segment::Piece(piece.to_vec()));
        }
        literal.extend_from_slice(&chunk[start..end]);
        at = end;
    }
    let rest = &chunk[at..];
    if !literal.is_empty() {
        if rest.len() <= TINY {
            literal.extend_from_slice(rest);
            give(Segment::Literal(literal));
            return;
        }
        give(Segment::Literal(literal));
    }
    if !rest.is_empty() {
        give(Segment::Piece(rest.to_vec()));
    }
}

#[cfg(test)]
mod tests;
