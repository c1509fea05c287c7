//! Ways to cut a NAR, compared by what would be stored: the figures behind the choice of chunk size, of blanked
//! hashes, and of cutting at files.

use std::collections::HashSet;
use std::ops::Range;

use aho_corasick::AhoCorasick;
use anyhow::Result;
use bytes::Bytes;
use fastcdc::v2020::FastCDC;
use hayloft_store::Digest;

use crate::corpus::Nar;

/// Which hashes are blanked before cut points are looked for, and cut out of the chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blank {
    /// None: plain chunks.
    Nothing,
    /// The path's own.
    Own,
    /// Its own and those of all that it refers to.
    All,
}

/// A way to cut.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// Bytes of a chunk, on average; at least a quarter and at most four times this.
    pub average: usize,
    /// Hashes that are blanked.
    pub blank: Blank,
    /// Begin a new chunk where a file of at least this many bytes begins and ends; none: files are not looked at.
    pub files: Option<usize>,
    /// zstd's level.
    pub level: i32,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stored {
    /// Bytes of frames that are new.
    pub frames: u64,
    /// How many.
    pub count: u64,
    /// Bytes of hashes and what is too short for a frame.
    pub literals: u64,
}

/// Stores generations one after the other.
pub struct Study {
    way: Way,
    known: HashSet<Digest>,
    compressor: zstd::bulk::Compressor<'static>,
}

impl Study {
    /// With nothing stored yet.
    ///
    /// # Errors
    /// When no compressor can be made.
    pub fn new(way: Way) -> Result<Self> {
        Ok(Self {
            way,
            known: HashSet::new(),
            compressor: zstd::bulk::Compressor::new(way.level)?,
        })
    }

    /// What a generation adds.
    ///
    /// # Errors
    /// When something cannot be compressed.
    pub fn add(&mut self, generation: &[(Nar, Bytes)]) -> Result<Stored> {
        let mut stored = Stored::default();
        for (nar, bytes) in generation {
            let (blanked, hashes) = self.blank(nar, bytes)?;
            let mut hashes = hashes.into_iter().peekable();
            for part in self.parts(bytes) {
                let chunker = FastCDC::new(
                    &blanked[part.clone()],
                    (self.way.average / 4).max(64),
                    self.way.average,
                    self.way.average * 4,
                );
                for chunk in chunker {
                    let end = part.start + chunk.offset + chunk.length;
                    let mut at = part.start + chunk.offset;
                    while let Some(&hash) = hashes.peek()
                        && hash < end
                    {
                        hashes.next();
                        self.piece(&bytes[at..hash.max(at)], &mut stored)?;
                        stored.literals += 32;
                        at = (hash + 32).min(end);
                    }
                    self.piece(&bytes[at..end], &mut stored)?;
                }
            }
        }
        Ok(stored)
    }

    fn piece(&mut self, piece: &[u8], stored: &mut Stored) -> Result<()> {
        if piece.len() <= hayloft_store::chunk::TINY && self.way.blank != Blank::Nothing {
            stored.literals += piece.len() as u64;
        } else if self.known.insert(Digest::of(piece)) {
            stored.frames += self.compressor.compress(piece)?.len() as u64;
            stored.count += 1;
        }
        Ok(())
    }

    fn blank(&self, nar: &Nar, bytes: &Bytes) -> Result<(Vec<u8>, Vec<usize>)> {
        let mut blanked = bytes.to_vec();
        let hashes: Vec<&str> = match self.way.blank {
            Blank::Nothing => return Ok((blanked, Vec::new())),
            Blank::Own => vec![nar.hash()],
            Blank::All => std::iter::once(nar.hash())
                .chain(nar.references.iter().filter_map(|name| name.get(..32)))
                .collect(),
        };
        let found: Vec<usize> = AhoCorasick::new(hashes)?
            .find_iter(bytes)
            .map(|hit| hit.start())
            .collect();
        for start in &found {
            blanked[*start..start + 32].fill(0);
        }
        Ok((blanked, found))
    }

    /// Stretches that are cut by themselves.
    fn parts(&self, bytes: &Bytes) -> Vec<Range<usize>> {
        let Some(least) = self.way.files else {
            return std::iter::once(0..bytes.len()).collect();
        };
        let mut parts = Vec::new();
        let mut at = 0;
        for file in files(bytes).into_iter().filter(|file| file.len() >= least) {
            if at < file.start {
                parts.push(at..file.start);
            }
            at = file.end;
            parts.push(file);
        }
        if at < bytes.len() {
            parts.push(at..bytes.len());
        }
        parts
    }
}

/// Where the contents of files lie in a NAR.
fn files(bytes: &[u8]) -> Vec<Range<usize>> {
    const WORD: &[u8] = b"\x08\0\0\0\0\0\0\0contents";
    let mut files = Vec::new();
    let mut at = 0;
    // Words begin at multiples of eight; contents are skipped, so that what looks like one within a file is not seen.
    while let Some(word) = bytes.get(at..at + WORD.len()) {
        if word != WORD {
            at += 8;
            continue;
        }
        at += WORD.len();
        let Some(length) = bytes.get(at..at + 8).and_then(|length| length.try_into().ok()) else {
            break;
        };
        let length = usize::try_from(u64::from_le_bytes(length)).unwrap_or(0);
        files.push(at + 8..(at + 8 + length).min(bytes.len()));
        at += 8 + length.next_multiple_of(8);
    }
    files
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hayloft_nixcache::nar::{Node, write};

    use super::*;

    #[test]
    fn files_are_found_where_they_lie() {
        let file = |contents: &[u8]| Node::File {
            executable: false,
            contents: contents.to_vec(),
        };
        let trap = [
            b"\x08\0\0\0\0\0\0\0contents\x10\0\0\0\0\0\0\0",
            [7; 40].as_slice(),
        ]
        .concat();
        let tree = Node::Directory(BTreeMap::from([
            (b"a".to_vec(), file(b"first")),
            (b"b".to_vec(), file(&trap)),
            (b"c".to_vec(), file(b"")),
        ]));
        let mut nar = Vec::new();
        write(&tree, &mut nar).unwrap();
        let found: Vec<&[u8]> = files(&nar).into_iter().map(|file| &nar[file]).collect();
        assert_eq!(found, [b"first".as_slice(), &trap, b""]);
    }
}
