//! Log objects: a group of records, chained to the object before by its digest, and signed.
//!
//! Layout, numbers little-endian: magic (8), version (4), epoch number (8), epoch instance (8), seq (8), digest of
//! the object before (32), signer's public key (32), body length (4), body (postcard), signature (64) of all before it.

use super::record::Record;
use super::{LogError, LogFault};
use crate::Digest;
use crate::cluster_key::LogSigner;
use crate::key::{EpochId, LogPlace, ObjectKey, Position};

const MAGIC: &[u8; 8] = b"HayLog\0\0";
/// The latest format that this version reads. An object is written in the earliest that may hold its records, so that
/// gateways one version behind follow as long as nothing new is said.
pub const VERSION: u32 = 2;
const SIGNATURE: usize = 64;

/// A group of records in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogObject {
    /// Where it stands.
    pub place: LogPlace,
    /// The digest of the object before it in the log; [`Digest::ZERO`] for the first of all.
    pub before: Digest,
    /// What it says.
    pub records: Vec<Record>,
}

impl LogObject {
    /// The stored form, and the position that someone is at who has applied it.
    ///
    /// # Errors
    /// Only when memory runs out.
    pub fn encode(&self, signer: &LogSigner) -> Result<(Vec<u8>, Position), LogError> {
        let fault = |fault| LogError {
            object: ObjectKey::Log(self.place).to_string(),
            fault,
        };
        let body = postcard::to_stdvec(&self.records).map_err(|e| fault(LogFault::Body(e)))?;
        let length = u32::try_from(body.len()).map_err(|_| fault(LogFault::Length))?;
        let mut out = Vec::with_capacity(body.len() + 200);
        out.extend_from_slice(MAGIC);
        let version = self.records.iter().map(Record::since).max().unwrap_or(1);
        out.extend_from_slice(&version.to_le_bytes());
        out.extend_from_slice(&self.place.epoch.number.to_le_bytes());
        out.extend_from_slice(&self.place.epoch.instance.to_le_bytes());
        out.extend_from_slice(&self.place.seq.to_le_bytes());
        out.extend_from_slice(self.before.as_bytes());
        out.extend_from_slice(&signer.public());
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&body);
        let signature = signer.sign(&out);
        out.extend_from_slice(&signature);
        let position = Position {
            place: self.place,
            digest: Digest::of(&out),
        };
        Ok((out, position))
    }

    /// Parses and checks the object that lies at `place`. The caller checks `before`.
    ///
    /// # Errors
    /// When it is damaged, wrongly signed, of an unknown version, or stands elsewhere than it says.
    pub fn decode(place: LogPlace, bytes: &[u8], signer: &LogSigner) -> Result<(Self, Position), LogError> {
        let fault = |fault| LogError {
            object: ObjectKey::Log(place).to_string(),
            fault,
        };
        let mut rest = Cursor(bytes);
        if rest.take::<8>().map_err(fault)? != *MAGIC {
            return Err(fault(LogFault::Magic));
        }
        let version = u32::from_le_bytes(rest.take().map_err(fault)?);
        if version == 0 || version > VERSION {
            return Err(fault(LogFault::Version {
                found: version,
                known: VERSION,
            }));
        }
        let number = u64::from_le_bytes(rest.take().map_err(fault)?);
        let instance = u64::from_le_bytes(rest.take().map_err(fault)?);
        let seq = u64::from_le_bytes(rest.take().map_err(fault)?);
        let before = Digest::from_bytes(rest.take().map_err(fault)?);
        let public: [u8; 32] = rest.take().map_err(fault)?;
        let length = u32::from_le_bytes(rest.take().map_err(fault)?) as usize;
        let (body, signature) = rest
            .0
            .split_at_checked(length)
            .ok_or_else(|| fault(LogFault::Length))?;
        if signature.len() != SIGNATURE {
            return Err(fault(LogFault::Length));
        }
        if public != signer.public() {
            return Err(fault(LogFault::Signer));
        }
        if !signer.verifies(&bytes[..bytes.len() - SIGNATURE], signature) {
            return Err(fault(LogFault::Signature));
        }
        let stands = LogPlace {
            epoch: EpochId { number, instance },
            seq,
        };
        if stands != place {
            return Err(fault(LogFault::Place));
        }
        let records: Vec<Record> = postcard::from_bytes(body).map_err(|e| fault(LogFault::Body(e)))?;
        let opens = matches!(records.first(), Some(Record::EpochOpened(_)));
        let opened_later = records
            .iter()
            .skip(1)
            .any(|record| matches!(record, Record::EpochOpened(_)));
        if records.iter().any(|record| record.since() > version) {
            return Err(fault(LogFault::TooNew));
        }
        if opens != (seq == 1) || opened_later {
            return Err(fault(LogFault::Opening));
        }
        Ok((
            Self {
                place,
                before,
                records,
            },
            Position {
                place,
                digest: Digest::of(bytes),
            },
        ))
    }
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], LogFault> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(LogFault::Length)?;
        self.0 = rest;
        Ok(*head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster_key::ClusterKey;
    use crate::log::record::EpochOpened;

    fn object() -> LogObject {
        LogObject {
            place: LogPlace {
                epoch: EpochId {
                    number: 3,
                    instance: 9,
                },
                seq: 1,
            },
            before: Digest::ZERO,
            records: vec![Record::EpochOpened(EpochOpened { after: None })],
        }
    }

    #[test]
    fn an_object_reads_back_and_its_bytes_stay_the_same() {
        let signer = ClusterKey::from_random([1; 32]).log_signer().unwrap();
        let (bytes, position) = object().encode(&signer).unwrap();
        let (again, at) = LogObject::decode(object().place, &bytes, &signer).unwrap();
        assert_eq!((again, at), (object(), position));
        insta::assert_snapshot!(hex::encode(bytes));
    }

    #[test]
    fn an_object_is_written_in_the_earliest_format_that_holds_its_records() {
        let signer = ClusterKey::from_random([1; 32]).log_signer().unwrap();
        let mut object = object();
        object.place.seq = 2;
        for (record, version) in [
            (Record::CacheDestroyed("main".parse().unwrap()), 1),
            (Record::PacksDeleted(vec![]), 2),
        ] {
            object.records = vec![record];
            let (bytes, _) = object.encode(&signer).unwrap();
            assert_eq!(bytes[8..12], u32::to_le_bytes(version));
            let (again, _) = LogObject::decode(object.place, &bytes, &signer).unwrap();
            assert_eq!(again, object);
        }
    }

    #[test]
    fn any_changed_byte_and_any_cut_is_refused() {
        let signer = ClusterKey::from_random([1; 32]).log_signer().unwrap();
        let (bytes, _) = object().encode(&signer).unwrap();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(
                LogObject::decode(object().place, &bad, &signer).is_err(),
                "byte {at}"
            );
            assert!(
                LogObject::decode(object().place, &bytes[..at], &signer).is_err(),
                "cut at {at}"
            );
        }
    }

    #[test]
    fn an_object_of_another_key_or_in_another_place_is_refused_by_name() {
        let signer = ClusterKey::from_random([1; 32]).log_signer().unwrap();
        let other = ClusterKey::from_random([2; 32]).log_signer().unwrap();
        let (bytes, _) = object().encode(&other).unwrap();
        let error = LogObject::decode(object().place, &bytes, &signer).unwrap_err();
        assert!(matches!(error.fault, LogFault::Signer));
        assert!(
            error
                .to_string()
                .contains("log/0000000000000003-0000000000000009/0000000000000001")
        );
        let (bytes, _) = object().encode(&signer).unwrap();
        let moved = LogPlace {
            seq: 2,
            ..object().place
        };
        let error = LogObject::decode(moved, &bytes, &signer).unwrap_err();
        assert!(matches!(error.fault, LogFault::Place));
    }
}
