//! How far the data of layout versions has come, and what happened lately.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A layout version, or a new data disk, whose data is on its way. Figures never go back within one of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MoveStatus {
    /// The version.
    pub version: u64,
    /// The host whose new data disk is filled, where that is all that this is: the layout stays as it is then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refilled: Option<String>,
    /// What it does, in words.
    pub what: String,
    /// When it was applied.
    pub applied: Timestamp,
    /// What happens now.
    pub phase: MovePhase,
    /// Permille of the metadata that is synced.
    pub settled: u16,
    /// Permille of the blocks that are where they belong. 1000 only when that is proven.
    pub placed: u16,
    /// Permille of what hosts that left held and hold no more. 1000 only when their own disks say so.
    pub empty: u16,
    /// Copies of partitions that move; `None` where that is not known.
    pub partitions: Option<u64>,
    /// Bytes that are to move; `None` where that is not known.
    pub bytes: Option<u64>,
    /// Bytes that have arrived.
    pub arrived: u64,
    /// Bytes that have not.
    pub left: Option<u64>,
    /// Bytes a second, lately.
    pub rate: Option<u64>,
    /// Seconds until the blocks have arrived, at that rate; without Garage's delays.
    pub seconds_left: Option<u64>,
    /// Garage's fixed delays that run now.
    pub delays: Vec<DelayStatus>,
}

/// What happens in a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MovePhase {
    /// Metadata is being synced.
    Settling,
    /// Repairs look for what is missing, and blocks are on their way.
    Repairing,
    /// Block names are being compared.
    Comparing,
    /// All is placed; hosts that left become empty.
    Emptying,
    /// All is done.
    Done,
}

impl MovePhase {
    /// As a word for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Settling => "settling",
            Self::Repairing => "repairing",
            Self::Comparing => "comparing",
            Self::Emptying => "emptying",
            Self::Done => "done",
        }
    }
}

/// A fixed delay of Garage's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DelayStatus {
    /// What waits, in words.
    pub what: String,
    /// Seconds until it ends.
    pub seconds_left: u64,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What it is about.
    pub kind: EventKind,
    /// What happened, as a sentence.
    pub text: String,
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EventKind {
    /// A step was taken.
    Step,
    /// A step failed.
    Failed,
    /// A layout version was applied, settled, placed or is over.
    Move,
    /// A host came, went, was put out or retired.
    Host,
    /// Something that somebody else changed was undone.
    Drift,
    /// Secrets were renewed.
    Secrets,
    /// A condition changed.
    Condition,
    /// A coordinator began or ended.
    Coordinator,
}
