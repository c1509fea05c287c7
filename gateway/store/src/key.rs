//! The names of things in the bucket: one enum, and what it is made of.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Digest;

/// A term of office. Ordered by number, then instance: of two gateways that took the same number at once,
/// the one with the higher instance is the later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EpochId {
    /// One above the highest that was seen.
    pub number: u64,
    /// Random, so that no two gateways ever share an epoch.
    pub instance: u64,
}

impl EpochId {
    /// The epoch that `text` names, as [`fmt::Display`] writes it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        parse_epoch(text)
    }
}

impl fmt::Display for EpochId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}", self.number, self.instance)
    }
}

impl fmt::Debug for EpochId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A fresh random name; it is never used again, also not after the pack is gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PackName(pub [u8; 16]);

impl fmt::Display for PackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A log object's place: the `seq`th of its epoch, counted from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogPlace {
    /// Its epoch.
    pub epoch: EpochId,
    /// Its number within the epoch.
    pub seq: u64,
}

impl fmt::Display for LogPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:016x}", self.epoch, self.seq)
    }
}

impl fmt::Debug for LogPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How far someone has followed: a place, and the digest of the object there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The last log object applied.
    pub place: LogPlace,
    /// Its BLAKE3.
    pub digest: Digest,
}

/// The key of an object in the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKey {
    /// The marker that says which format the bucket has.
    Format,
    /// An immutable object that holds frames.
    Pack(PackName),
    /// Somebody's claim to be the committer.
    Epoch(EpochId),
    /// Says that this epoch is over; written by whoever claims a later one.
    Ended(EpochId),
    /// A sign of life of this epoch's committer, for gateways that cannot hear it otherwise.
    Alive(EpochId),
    /// One group of records.
    Log(LogPlace),
    /// Describes a checkpoint: the state after the log object at this place. It is written after all its parts.
    Checkpoint(LogPlace),
    /// A part of a checkpoint, counted from 0.
    CheckpointPart(LogPlace, u32),
}

impl ObjectKey {
    /// All epochs lie under this prefix.
    pub const EPOCHS: &'static str = "epoch/";
    /// All ends of epochs lie under this prefix.
    pub const ENDS: &'static str = "ended/";
    /// All signs of life lie under this prefix.
    pub const SIGNS_OF_LIFE: &'static str = "alive/";
    /// All descriptions of checkpoints lie under this prefix, in the order of their places.
    pub const CHECKPOINTS: &'static str = "checkpoint/head/";
    /// All parts of checkpoints lie under this prefix.
    pub const CHECKPOINT_PARTS: &'static str = "checkpoint/part/";
    /// All log objects lie under this prefix, in the order of their places.
    pub const LOGS: &'static str = "log/";
    /// All packs lie under this prefix.
    pub const PACKS: &'static str = "pack/";

    /// The key that `text` is; none when it is not one of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == "format" {
            return Some(Self::Format);
        }
        if let Some(name) = text.strip_prefix(Self::PACKS) {
            let mut bytes = [0; 16];
            hex::decode_to_slice(name, &mut bytes).ok()?;
            return Some(Self::Pack(PackName(bytes)));
        }
        if let Some(epoch) = text.strip_prefix(Self::EPOCHS) {
            return Some(Self::Epoch(parse_epoch(epoch)?));
        }
        if let Some(epoch) = text.strip_prefix(Self::ENDS) {
            return Some(Self::Ended(parse_epoch(epoch)?));
        }
        if let Some(epoch) = text.strip_prefix(Self::SIGNS_OF_LIFE) {
            return Some(Self::Alive(parse_epoch(epoch)?));
        }
        if let Some(place) = text.strip_prefix(Self::CHECKPOINTS) {
            return Some(Self::Checkpoint(parse_place(place)?));
        }
        if let Some(rest) = text.strip_prefix(Self::CHECKPOINT_PARTS) {
            let (place, part) = rest.rsplit_once('/')?;
            let part = u32::try_from(parse_hex(part, 8)?).ok()?;
            return Some(Self::CheckpointPart(parse_place(place)?, part));
        }
        Some(Self::Log(parse_place(text.strip_prefix(Self::LOGS)?)?))
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format => f.write_str("format"),
            Self::Pack(name) => write!(f, "{}{name}", Self::PACKS),
            Self::Epoch(epoch) => write!(f, "{}{epoch}", Self::EPOCHS),
            Self::Ended(epoch) => write!(f, "{}{epoch}", Self::ENDS),
            Self::Alive(epoch) => write!(f, "{}{epoch}", Self::SIGNS_OF_LIFE),
            Self::Log(place) => write!(f, "{}{place}", Self::LOGS),
            Self::Checkpoint(place) => write!(f, "{}{place}", Self::CHECKPOINTS),
            Self::CheckpointPart(place, part) => write!(f, "{}{place}/{part:08x}", Self::CHECKPOINT_PARTS),
        }
    }
}

fn parse_epoch(text: &str) -> Option<EpochId> {
    let (number, instance) = text.split_once('-')?;
    Some(EpochId {
        number: parse_u64(number)?,
        instance: parse_u64(instance)?,
    })
}

fn parse_place(text: &str) -> Option<LogPlace> {
    let (epoch, seq) = text.split_once('/')?;
    Some(LogPlace {
        epoch: parse_epoch(epoch)?,
        seq: parse_u64(seq)?,
    })
}

fn parse_u64(text: &str) -> Option<u64> {
    parse_hex(text, 16)
}

fn parse_hex(text: &str, digits: usize) -> Option<u64> {
    let lower = text
        .bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if text.len() == digits && lower {
        u64::from_str_radix(text, 16).ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_parses_back_and_stays_as_it_is() {
        let epoch = EpochId {
            number: 10,
            instance: 0xab,
        };
        let keys = [
            ObjectKey::Format,
            ObjectKey::Pack(PackName([0x5a; 16])),
            ObjectKey::Epoch(epoch),
            ObjectKey::Log(LogPlace { epoch, seq: 17 }),
            ObjectKey::Ended(epoch),
            ObjectKey::Alive(epoch),
            ObjectKey::Checkpoint(LogPlace { epoch, seq: 17 }),
            ObjectKey::CheckpointPart(LogPlace { epoch, seq: 17 }, 300),
        ];
        for key in keys {
            assert_eq!(ObjectKey::parse(&key.to_string()), Some(key));
        }
        insta::assert_debug_snapshot!(keys.map(|key| key.to_string()));
    }

    #[test]
    fn what_is_not_ours_is_not_taken_for_ours() {
        for text in [
            "",
            "pack/",
            "pack/xy",
            "log/1/2",
            "epoch/000000000000000A-0000000000000001",
            "other",
        ] {
            assert_eq!(ObjectKey::parse(text), None, "{text}");
        }
    }

    #[test]
    fn log_keys_sort_like_their_places() {
        let place = |number, instance, seq| LogPlace {
            epoch: EpochId { number, instance },
            seq,
        };
        let mut places = [
            place(1, 9, 300),
            place(1, 9, 2),
            place(2, 1, 1),
            place(16, 0, 1),
            place(2, 0, 5),
        ];
        let mut keys: Vec<String> = places.iter().map(|p| ObjectKey::Log(*p).to_string()).collect();
        places.sort();
        keys.sort();
        let sorted: Vec<String> = places.iter().map(|p| ObjectKey::Log(*p).to_string()).collect();
        assert_eq!(keys, sorted);
    }
}
