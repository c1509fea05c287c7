//! One pass over a NAR's bytes: hash, structure, and cutting. Runs on blocking threads, portion by portion.

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use hayloft_nixcache::NarHash;
use hayloft_nixcache::nar::{NarError, Validator};
use hayloft_store::Digest;
use hayloft_store::chunk::{Chunker, PatternError, Segment};

/// A stretch of the NAR, ready to be looked up.
pub(super) enum Part {
    /// To be stored as a frame, unless it is already.
    Piece {
        /// BLAKE3 of the bytes.
        id: Digest,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// To stand in the manifest.
    Literal(Vec<u8>),
}

/// The state between portions.
pub(super) struct Cutter {
    sha256: Context,
    validator: Validator,
    /// None: the NAR is only hashed, for it is stored already.
    chunker: Option<Chunker>,
    length: u64,
}

/// What the whole NAR turned out to be.
pub(super) struct Whole {
    pub(super) hash: NarHash,
    pub(super) rest: Vec<Part>,
}

impl Cutter {
    /// Cuts with these hashes blanked.
    pub(super) fn new<'a>(hashes: impl IntoIterator<Item = &'a [u8; 32]>) -> Result<Self, PatternError> {
        Ok(Self {
            chunker: Some(Chunker::new(hashes)?),
            ..Self::hash_only()
        })
    }

    /// Only hashes and validates.
    pub(super) fn hash_only() -> Self {
        Self {
            sha256: Context::new(&SHA256),
            validator: Validator::new(),
            chunker: None,
            length: 0,
        }
    }

    /// Takes the next bytes.
    pub(super) fn feed(&mut self, bytes: &[Bytes]) -> Result<Vec<Part>, NarError> {
        let mut parts = Vec::new();
        for bytes in bytes {
            self.length += bytes.len() as u64;
            self.sha256.update(bytes);
            self.validator.feed(bytes)?;
            if let Some(chunker) = &mut self.chunker {
                chunker.feed(bytes, |segment| parts.push(part(segment)));
            }
        }
        Ok(parts)
    }

    /// Bytes so far.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// Ends the pass.
    pub(super) fn finish(self) -> Result<Whole, NarError> {
        self.validator.finish()?;
        let mut rest = Vec::new();
        if let Some(chunker) = self.chunker {
            chunker.finish(|segment| rest.push(part(segment)));
        }
        let digest = self.sha256.finish();
        let mut hash = [0; 32];
        hash.copy_from_slice(digest.as_ref());
        Ok(Whole {
            hash: NarHash::new(hash),
            rest,
        })
    }
}

fn part(segment: Segment) -> Part {
    match segment {
        Segment::Piece(bytes) => Part::Piece {
            id: Digest::of(&bytes),
            bytes,
        },
        Segment::Literal(bytes) => Part::Literal(bytes),
    }
}
