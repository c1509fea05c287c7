//! Checkpoints: the index at some position of the log, in parts, so that a new gateway need not apply the whole log.
//!
//! A checkpoint is never the truth: what lies in it follows from the log, and is acknowledged. The description (head) is
//! written after all parts, names the digest of each, and is signed as log objects are. Layout, numbers little-endian:
//! magic (8), version (4), signer's public key (32), body length (4), body (postcard), signature (64) of all before it.

use serde::{Deserialize, Serialize};

use crate::Digest;
use crate::cluster_key::LogSigner;
use crate::key::Position;

const MAGIC: &[u8; 8] = b"HayChk\0\0";
const VERSION: u32 = 1;
const FIXED: usize = 8 + 4 + 32 + 4;
const SIGNATURE: usize = 64;
/// Quick, for what is large and soon replaced.
const LEVEL: i32 = 1;
/// Bytes of a part before it is compressed; the last one is shorter.
pub const PART: usize = 8 * 1024 * 1024;

/// Describes a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointHead {
    /// What the index holds follows from the log up to here.
    pub position: Position,
    /// The version of the index's tables.
    pub schema: i64,
    /// Bytes of the index's file.
    pub size: u64,
    /// Its parts, in order: each the zstd form of [`PART`] bytes of the file.
    pub parts: Vec<CheckpointPart>,
}

/// A part, as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointPart {
    /// BLAKE3 of the stored bytes.
    pub digest: Digest,
    /// Stored bytes.
    pub stored: u32,
}

/// Why a description is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the description of a checkpoint is damaged, of another version or signed with another key")]
pub struct CheckpointError;

impl CheckpointHead {
    /// The stored form.
    ///
    /// # Errors
    /// Only when memory runs out.
    pub fn encode(&self, signer: &LogSigner) -> Result<Vec<u8>, CheckpointError> {
        let body = postcard::to_stdvec(self).map_err(|_| CheckpointError)?;
        let length = u32::try_from(body.len()).map_err(|_| CheckpointError)?;
        let mut out = Vec::with_capacity(FIXED + body.len() + SIGNATURE);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&signer.public());
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&body);
        let signature = signer.sign(&out);
        out.extend_from_slice(&signature);
        Ok(out)
    }

    /// Parses and checks a stored form.
    ///
    /// # Errors
    /// When it is damaged, of another version, or signed with another key.
    pub fn decode(bytes: &[u8], signer: &LogSigner) -> Result<Self, CheckpointError> {
        let (signed, signature) = bytes
            .len()
            .checked_sub(SIGNATURE)
            .and_then(|at| bytes.split_at_checked(at))
            .ok_or(CheckpointError)?;
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&VERSION.to_le_bytes());
        head.extend_from_slice(&signer.public());
        let rest = signed.strip_prefix(head.as_slice()).ok_or(CheckpointError)?;
        let (length, body) = rest.split_first_chunk::<4>().ok_or(CheckpointError)?;
        let whole = body.len() == u32::from_le_bytes(*length) as usize;
        if !whole || !signer.verifies(signed, signature) {
            return Err(CheckpointError);
        }
        postcard::from_bytes(body).map_err(|_| CheckpointError)
    }
}

impl CheckpointPart {
    /// Packs a part of an index's file, of at most [`PART`] bytes.
    ///
    /// # Errors
    /// When it cannot be compressed.
    pub fn pack(bytes: &[u8]) -> std::io::Result<(Self, Vec<u8>)> {
        let packed = zstd::bulk::compress(bytes, LEVEL)?;
        let part = Self {
            digest: Digest::of(&packed),
            stored: u32::try_from(packed.len()).map_err(std::io::Error::other)?,
        };
        Ok((part, packed))
    }

    /// The bytes of the file that `packed` stands for; none when it is not what was packed.
    #[must_use]
    pub fn unpack(&self, packed: &[u8]) -> Option<Vec<u8>> {
        if Digest::of(packed) != self.digest {
            return None;
        }
        zstd::bulk::decompress(packed, PART).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster_key::ClusterKey;
    use crate::key::{EpochId, LogPlace};

    fn head() -> CheckpointHead {
        let epoch = EpochId {
            number: 3,
            instance: 9,
        };
        CheckpointHead {
            position: Position {
                place: LogPlace { epoch, seq: 7 },
                digest: Digest::of(b"object"),
            },
            schema: 2,
            size: 10_000_000,
            parts: vec![
                CheckpointPart {
                    digest: Digest::of(b"one"),
                    stored: 5_000_000,
                },
                CheckpointPart {
                    digest: Digest::of(b"two"),
                    stored: 1_000_000,
                },
            ],
        }
    }

    #[test]
    fn a_description_reads_back_and_its_bytes_stay_the_same() {
        let signer = ClusterKey::from_random([1; 32]).log_signer().unwrap();
        let bytes = head().encode(&signer).unwrap();
        assert_eq!(CheckpointHead::decode(&bytes, &signer).unwrap(), head());
        insta::assert_snapshot!(hex::encode(bytes));
    }

    #[test]
    fn a_part_comes_back_or_is_refused() {
        let bytes: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        let (part, mut packed) = CheckpointPart::pack(&bytes).unwrap();
        assert_eq!(part.stored as usize, packed.len());
        assert_eq!(part.unpack(&packed).unwrap(), bytes);
        packed[10] ^= 1;
        assert!(part.unpack(&packed).is_none());
    }

    #[test]
    fn any_changed_byte_any_cut_and_another_key_are_refused() {
        let signer = ClusterKey::from_random([1; 32]).log_signer().unwrap();
        let bytes = head().encode(&signer).unwrap();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(CheckpointHead::decode(&bad, &signer).is_err(), "byte {at}");
            assert!(
                CheckpointHead::decode(&bytes[..at], &signer).is_err(),
                "cut at {at}"
            );
        }
        let other = ClusterKey::from_random([2; 32]).log_signer().unwrap();
        assert!(CheckpointHead::decode(&bytes, &other).is_err());
    }
}
