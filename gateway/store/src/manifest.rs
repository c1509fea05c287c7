//! Manifests: the list of frames and literals that make one NAR.

use serde::{Deserialize, Serialize};

use crate::{Digest, frame};

const VERSION: u8 = 1;

/// One stretch of a NAR.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// A stored frame.
    Frame {
        /// BLAKE3 of the stored bytes.
        frame: Digest,
        /// Stored bytes.
        stored: u32,
        /// Bytes when decompressed.
        raw: u32,
    },
    /// Bytes that stand here: hashes that differ from build to build, and what little lies between them.
    Literal(Vec<u8>),
}

impl Entry {
    /// Bytes that are sent for it.
    #[must_use]
    pub fn sent(&self) -> u64 {
        match self {
            Self::Frame { stored, .. } => u64::from(*stored),
            Self::Literal(bytes) => frame::literal_length(bytes.len()) as u64,
        }
    }

    /// Bytes of the NAR that it stands for.
    #[must_use]
    pub fn raw(&self) -> u64 {
        match self {
            Self::Frame { raw, .. } => u64::from(*raw),
            Self::Literal(bytes) => bytes.len() as u64,
        }
    }
}

/// Why bytes are not a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// A later version wrote it.
    #[error("a manifest has format {0}, this version reads {VERSION}")]
    Version(u8),
    /// It does not parse.
    #[error("a manifest cannot be parsed")]
    Parse(#[source] postcard::Error),
    /// It has no bytes at all.
    #[error("a manifest is empty")]
    Empty,
    /// A literal is longer than one literal frame holds.
    #[error("a manifest holds a literal of {0} bytes")]
    Literal(usize),
}

/// What one NAR is made of, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    entries: Vec<Entry>,
}

impl Manifest {
    /// Adds a frame.
    pub fn push_frame(&mut self, frame: Digest, stored: u32, raw: u32) {
        self.entries.push(Entry::Frame { frame, stored, raw });
    }

    /// Adds literal bytes, joined to a literal that stands before them.
    pub fn push_literal(&mut self, mut bytes: &[u8]) {
        if let Some(Entry::Literal(last)) = self.entries.last_mut() {
            let room = frame::MAX_LITERAL.saturating_sub(last.len()).min(bytes.len());
            let (now, later) = bytes.split_at(room);
            last.extend_from_slice(now);
            bytes = later;
        }
        for part in bytes.chunks(frame::MAX_LITERAL) {
            self.entries.push(Entry::Literal(part.to_vec()));
        }
    }

    /// The entries in order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Bytes that are sent for the NAR.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.entries.iter().map(Entry::sent).sum()
    }

    /// Bytes of the NAR.
    #[must_use]
    pub fn raw(&self) -> u64 {
        self.entries.iter().map(Entry::raw).sum()
    }

    /// The digests of all frames, in order, with repetitions.
    pub fn frames(&self) -> impl Iterator<Item = Digest> + '_ {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Frame { frame, .. } => Some(*frame),
            Entry::Literal(_) => None,
        })
    }

    /// The stored form. Its BLAKE3 is the NAR's entity tag.
    ///
    /// # Errors
    /// Only when memory runs out.
    pub fn encode(&self) -> Result<Vec<u8>, ManifestError> {
        postcard::to_extend(&self.entries, vec![VERSION]).map_err(ManifestError::Parse)
    }

    /// Parses the stored form.
    ///
    /// # Errors
    /// When it is not one that this version reads.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let (&version, body) = bytes.split_first().ok_or(ManifestError::Empty)?;
        if version != VERSION {
            return Err(ManifestError::Version(version));
        }
        let entries: Vec<Entry> = postcard::from_bytes(body).map_err(ManifestError::Parse)?;
        for entry in &entries {
            if let Entry::Literal(bytes) = entry
                && bytes.len() > frame::MAX_LITERAL
            {
                return Err(ManifestError::Literal(bytes.len()));
            }
        }
        Ok(Self { entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_reads_back_and_its_bytes_stay_the_same() {
        let mut manifest = Manifest::default();
        manifest.push_frame(Digest::of(b"a"), 100, 200);
        manifest.push_literal(b"abc");
        manifest.push_literal(b"def");
        let bytes = manifest.encode().unwrap();
        assert_eq!(Manifest::decode(&bytes).unwrap(), manifest);
        assert_eq!(manifest.raw(), 206);
        assert_eq!(manifest.entries().len(), 2);
        insta::assert_snapshot!(hex::encode(bytes));
    }

    #[test]
    fn a_long_literal_is_cut() {
        let mut manifest = Manifest::default();
        manifest.push_literal(b"x");
        manifest.push_literal(&vec![1; 2 * frame::MAX_LITERAL]);
        assert_eq!(manifest.entries().len(), 3);
        assert_eq!(manifest.raw(), 2 * frame::MAX_LITERAL as u64 + 1);
    }

    #[test]
    fn an_unknown_version_is_refused() {
        assert!(matches!(
            Manifest::decode(&[9, 0]),
            Err(ManifestError::Version(9))
        ));
        assert!(matches!(Manifest::decode(&[]), Err(ManifestError::Empty)));
    }
}
