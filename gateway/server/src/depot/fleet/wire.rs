//! What gateways say to each other: postcard over HTTP, the version in the path. What a version says never changes; a new
//! one is served beside the one before, so that gateways may differ in version by one.

use hayloft_nixcache::CacheName;
use hayloft_store::Digest;
use hayloft_store::commit::Refusal;
use hayloft_store::key::{EpochId, LogPlace, PackName, Position};
use hayloft_store::log::record::Record;
use serde::{Deserialize, Serialize};

use crate::depot::committer::CommitError;

/// How a gateway is doing.
pub(super) const STATUS: &str = "/v1/status";
/// From the committer: objects of the log that count.
pub(super) const TELL: &str = "/v1/tell";
/// To the committer: records to order.
pub(super) const ASK: &str = "/v1/ask";
/// A header of [`ASK`]: whoever is not the committer is to ask it in the asker's stead. A gateway that does not know it says
/// [`Answer::Elsewhere`].
pub(super) const PASS_ON: &str = "x-hayloft-pass-on";
/// What a client asked of a gateway that cannot answer yet; behind it the client's own path.
pub(super) const RELAY: &str = "/v1/relay";

/// What a gateway is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::depot) enum Seat {
    /// It opens its index, and can answer nothing yet.
    Opening,
    /// It follows.
    Following,
    /// It is the committer.
    Leading {
        /// Its epoch.
        epoch: EpochId,
    },
}

/// How a gateway is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::depot) struct Status {
    /// Random for each start of a gateway.
    pub(in crate::depot) instance: u64,
    /// What it calls itself.
    pub(in crate::depot) name: Option<String>,
    /// What it is.
    pub(in crate::depot) seat: Seat,
    /// Up to where it shows the log.
    pub(in crate::depot) position: Option<Position>,
    /// The latest format of log objects that it reads.
    pub(in crate::depot) log_format: u32,
    /// The committer that it heard of within the last seconds.
    pub(in crate::depot) hears: Option<EpochId>,
    /// It may take office by itself.
    pub(in crate::depot) may_lead: bool,
}

/// From the committer: this counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::depot) struct Tell {
    /// The committer's instance.
    pub(in crate::depot) from: u64,
    /// Its epoch.
    pub(in crate::depot) epoch: EpochId,
    /// All that leads up to here counts.
    pub(in crate::depot) acknowledged: Position,
    /// Some log objects, in order; none in a sign of life.
    pub(in crate::depot) objects: Vec<(LogPlace, Vec<u8>)>,
}

/// The answer to that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::depot) struct Told {
    /// Who answers.
    pub(in crate::depot) instance: u64,
    /// Up to where it shows the log.
    pub(in crate::depot) position: Option<Position>,
    /// The latest format of log objects that it reads.
    pub(in crate::depot) log_format: u32,
    /// A newer epoch than the teller's, of which it heard.
    pub(in crate::depot) newer: Option<EpochId>,
}

/// Records that are ordered together or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::depot) struct Asked {
    /// Random; who asks again because it heard no answer uses the same.
    pub(in crate::depot) id: [u8; 16],
    /// The records.
    pub(in crate::depot) records: Vec<Record>,
}

/// What became of requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::depot) enum Answer {
    /// One verdict for each, in their order.
    Done {
        /// All that was ordered lies before this.
        position: Option<Position>,
        /// What became of each.
        verdicts: Vec<Verdict>,
    },
    /// This gateway is not the committer.
    Elsewhere,
}

/// What became of one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::depot) enum Verdict {
    /// It counts.
    Ordered,
    /// The cache that it speaks of is not there.
    NoSuchCache(CacheName),
    /// A cache of that name is there already.
    CacheExists(CacheName),
    /// These frames must be stored again.
    FramesMissing(Vec<Digest>),
    /// The path has another NAR hash.
    OtherNarHash([u8; 32]),
    /// The pack is condemned.
    PackCondemned(PackName),
    /// It breaks another rule.
    Refused(String),
    /// It was not ordered, or nobody knows; it may be asked again.
    Failed,
}

impl Verdict {
    /// The verdict that says what `result` says.
    pub(super) fn of(result: Result<(), CommitError>) -> Self {
        match result {
            Ok(()) => Self::Ordered,
            Err(CommitError::Refused(refusal)) => match refusal {
                Refusal::NoSuchCache(name) => Self::NoSuchCache(name),
                Refusal::CacheExists(name) => Self::CacheExists(name),
                Refusal::FramesMissing(frames) => Self::FramesMissing(frames),
                Refusal::OtherNarHash { known } => Self::OtherNarHash(known),
                Refusal::PackCondemned(pack) => Self::PackCondemned(pack),
                other => Self::Refused(other.to_string()),
            },
            Err(error @ (CommitError::Said(_) | CommitError::NotReadable)) => {
                Self::Refused(error.to_string())
            }
            Err(_) => Self::Failed,
        }
    }

    /// What the verdict says, to whoever waits; none: it may be asked again.
    pub(in crate::depot) fn result(self) -> Option<Result<(), CommitError>> {
        let refusal = match self {
            Self::Ordered => return Some(Ok(())),
            Self::Failed => return None,
            Self::Refused(reason) => return Some(Err(CommitError::Said(reason))),
            Self::NoSuchCache(name) => Refusal::NoSuchCache(name),
            Self::CacheExists(name) => Refusal::CacheExists(name),
            Self::FramesMissing(frames) => Refusal::FramesMissing(frames),
            Self::OtherNarHash(known) => Refusal::OtherNarHash { known },
            Self::PackCondemned(pack) => Refusal::PackCondemned(pack),
        };
        Some(Err(CommitError::Refused(refusal)))
    }
}
