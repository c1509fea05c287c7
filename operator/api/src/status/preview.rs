//! What a change of the layout would do.

use serde::{Deserialize, Serialize};

/// What a new layout version would do, before it is applied. Garage splits partitions a little differently each time it
/// computes, so what happens to a single host is told as bounds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    /// The version that it would be.
    pub version: u64,
    /// What it would do, in words.
    pub what: String,
    /// By host.
    pub hosts: Vec<HostPreview>,
    /// By zone: what would happen if it vanished while data moves.
    pub zones: Vec<ZonePreview>,
    /// Copies of partitions that would move.
    pub partitions: Option<u64>,
    /// Bytes that would move.
    pub bytes: Option<u64>,
    /// Bytes a second that a destination was last measured to take; `None`: not measured yet.
    pub rate: Option<u64>,
    /// Seconds until all would be placed, at that rate.
    pub seconds: Option<u64>,
    /// Bytes of distinct data that could be held before.
    pub usable_before: Option<u64>,
    /// Bytes of distinct data that could be held after.
    pub usable_after: Option<u64>,
    /// Copies are in so many zones at least, before.
    pub zones_before: Option<u8>,
    /// Copies are in so many zones at least, after.
    pub zones_after: Option<u8>,
    /// What the document consents to, with its price, as sentences.
    pub prices: Vec<String>,
    /// Why it would be refused, as sentences with the number that makes it so; empty: it would not.
    pub refusals: Vec<String>,
}

/// A least and a most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bounds {
    /// Not less.
    pub least: u64,
    /// Not more.
    pub most: u64,
}

impl Bounds {
    /// Just this.
    pub const fn exactly(n: u64) -> Self {
        Self { least: n, most: n }
    }

    /// From this to that, in either order.
    pub fn between(one: u64, other: u64) -> Self {
        Self {
            least: one.min(other),
            most: one.max(other),
        }
    }
}

impl std::fmt::Display for Bounds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = if self.least == self.most {
            self.least.to_string()
        } else {
            format!("{}-{}", self.least, self.most)
        };
        f.pad(&text)
    }
}

/// What a change would do to one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostPreview {
    /// Its name, or that of its node where no host is known.
    pub host: String,
    /// Its zone after the change, or before it where it leaves.
    pub zone: String,
    /// Partitions that it holds now.
    pub partitions: u64,
    /// Partitions that it would hold.
    pub partitions_after: Bounds,
    /// Partitions that would come to it.
    pub partitions_in: Bounds,
    /// Partitions that would go from it.
    pub partitions_out: Bounds,
    /// Bytes that would come.
    pub bytes_in: Option<Bounds>,
    /// Bytes that would go.
    pub bytes_out: Option<Bounds>,
    /// Bytes that fit beside what lies there and the reserve; what goes lies there for ten minutes more.
    pub room: Option<u64>,
}

/// What would happen if all hosts of a zone vanished while data moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ZonePreview {
    /// The zone.
    pub zone: String,
    /// Partitions, of 256, that could not be written.
    pub unwritable: Bounds,
    /// Partitions that could not be read.
    pub unreadable: Bounds,
    /// Partitions of which no copy would be left.
    pub lost: Bounds,
}
