//! Looking through what is stored: every pack is read and checked once in a while, so that damage is found while pushes
//! can still heal it. What is found becomes a damage record: the paths it concerns are reported missing.

use std::time::Duration;

use hayloft_index::{Index, IndexError, KnownPack};
use hayloft_store::Digest;
use hayloft_store::key::{ObjectKey, PackName};
use hayloft_store::log::record::{DamageRecord, Record};
use hayloft_store::object::{ObjectError, SharedStore};
use hayloft_store::pack::PackedFrame;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::committer::Committer;
use super::error::sentence;
use super::pace::Pace;
use super::types::Clock;

/// Bytes that are read at a time.
const PART: u64 = 4 * 1024 * 1024;
/// Packs after which the position is noted.
const NOTED: u64 = 16;
/// What the position is noted under.
const NOTE: &str = "scrub";
/// How long to wait when nothing can be done now.
const LATER: Duration = Duration::from_secs(300);

/// How what is stored is looked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubSettings {
    /// Everything is read once in this time, if the rate allows it.
    pub every: Duration,
    /// Bytes a second that are read; 0: any number.
    pub max_rate: u64,
}

impl Default for ScrubSettings {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(30 * 24 * 3600),
            max_rate: 10_000_000,
        }
    }
}

/// What one pack turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// It is what was stored.
    Whole,
    /// It is gone from the bucket.
    Gone,
    /// These frames are not what was stored.
    Frames(Vec<Digest>),
    /// All frames are what was stored, but something between them is not: nothing that is ever sent.
    Between,
    /// It was given up meanwhile.
    GivenUp,
}

/// Why looking through cannot go on now.
#[derive(Debug, thiserror::Error)]
pub enum ScrubError {
    /// The index failed.
    #[error("the index does not answer")]
    Index(#[from] IndexError),
    /// The bucket does not answer.
    #[error("the bucket does not answer: {0}")]
    Bucket(String),
    /// The log did not take a record of damage.
    #[error("damage could not be noted in the log: {0}")]
    Commit(String),
    /// The gateway stops.
    #[error("the gateway is stopping")]
    Stopping,
}

/// Looks through packs.
#[derive(Clone)]
pub(super) struct Scrubber {
    pub(super) index: Index,
    pub(super) store: SharedStore,
    pub(super) committer: Committer,
}

/// How far a round has come.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Round {
    /// Milliseconds since 1970.
    began: i64,
    /// The last pack that was looked at.
    after: Option<[u8; 16]>,
    done: bool,
}

impl Scrubber {
    /// Reads a pack and checks every frame in it. What looks wrong is read a second time.
    pub(super) async fn look(&self, pack: &KnownPack, pace: &Pace) -> Result<Finding, ScrubError> {
        let first = self.look_once(pack, pace).await?;
        if first == Finding::Whole {
            return Ok(first);
        }
        if !self.index.is_registered(pack.name).await? {
            return Ok(Finding::GivenUp);
        }
        self.look_once(pack, pace).await
    }

    async fn look_once(&self, pack: &KnownPack, pace: &Pace) -> Result<Finding, ScrubError> {
        let key = ObjectKey::Pack(pack.name).to_string();
        let mut bytes = Vec::with_capacity(usize::try_from(pack.size).unwrap_or(0));
        let mut at = 0;
        while at < pack.size {
            let end = pack.size.min(at + PART);
            pace.take(end - at).await;
            match self.store.get_range(&key, at..end).await {
                Ok(part) => bytes.extend_from_slice(&part),
                Err(ObjectError::NotFound { .. }) => return Ok(Finding::Gone),
                Err(error) => return Err(ScrubError::Bucket(sentence(&error))),
            }
            if (bytes.len() as u64) < end {
                break;
            }
            at = end;
        }
        let digest = pack.digest;
        let hashed = tokio::task::spawn_blocking(move || (Digest::of(&bytes) == digest, bytes)).await;
        let Ok((same, bytes)) = hashed else {
            return Err(ScrubError::Stopping);
        };
        if same {
            return Ok(Finding::Whole);
        }
        let frames = self.index.frames_in(pack.name).await?;
        tokio::task::spawn_blocking(move || judge(&bytes, &frames))
            .await
            .map_err(|_| ScrubError::Stopping)
    }

    /// Notes in the log what was found; whether there was anything to note.
    pub(super) async fn note(&self, pack: PackName, finding: &Finding) -> Result<bool, ScrubError> {
        let damage = match finding {
            Finding::Whole | Finding::Between | Finding::GivenUp => return Ok(false),
            Finding::Gone => DamageRecord {
                packs: vec![pack],
                frames: vec![],
            },
            Finding::Frames(frames) => DamageRecord {
                packs: vec![],
                frames: frames.iter().map(|frame| (pack, *frame)).collect(),
            },
        };
        self.committer
            .commit(vec![Record::Damaged(damage)])
            .await
            .map_err(|error| ScrubError::Commit(error.to_string()))?;
        Ok(true)
    }

    /// Looks through everything, round after round, as long as this gateway orders changes.
    pub(super) async fn run(self, settings: ScrubSettings, clock: Clock, stop: CancellationToken) {
        let pace = Pace::new(settings.max_rate);
        loop {
            let pause = match self.step(settings, &clock, &pace, &stop).await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::warn!("looking through what is stored goes on later: {error}");
                    LATER
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(pause) => {}
            }
        }
    }

    /// Looks at the next packs; gives how long to wait.
    async fn step(
        &self,
        settings: ScrubSettings,
        clock: &Clock,
        pace: &Pace,
        stop: &CancellationToken,
    ) -> Result<Duration, ScrubError> {
        if !self.committer.is_leading() {
            return Ok(LATER);
        }
        let now = clock().as_millisecond();
        let noted = self.index.note(NOTE).await?;
        let mut round: Round = noted
            .and_then(|noted| serde_json::from_slice(&noted).ok())
            .unwrap_or(Round {
                began: now,
                ..Round::default()
            });
        let every = i64::try_from(settings.every.as_millis()).unwrap_or(i64::MAX);
        if round.done {
            let due = round.began.saturating_add(every);
            if now < due {
                let wait = Duration::from_millis(u64::try_from(due - now).unwrap_or(0));
                return Ok(wait.min(Duration::from_secs(3600)));
            }
            round = Round {
                began: now,
                ..Round::default()
            };
        }
        let packs = self.index.packs_behind(round.after.map(PackName), 100).await?;
        if packs.is_empty() {
            round.done = true;
            self.keep(round).await?;
            return Ok(Duration::ZERO);
        }
        for (count, pack) in (1..).zip(&packs) {
            if stop.is_cancelled() {
                break;
            }
            let finding = self.look(pack, pace).await?;
            if self.note(pack.name, &finding).await? {
                tracing::error!(pack = %pack.name, "a pack is damaged; its paths are reported missing until they are pushed again");
            }
            round.after = Some(pack.name.0);
            if u64::is_multiple_of(count, NOTED) {
                self.keep(round).await?;
            }
        }
        self.keep(round).await?;
        Ok(Duration::ZERO)
    }

    async fn keep(&self, round: Round) -> Result<(), ScrubError> {
        if let Ok(noted) = serde_json::to_vec(&round) {
            self.index.set_note(NOTE, &noted).await?;
        }
        Ok(())
    }
}

/// Which frames of a pack are not what was stored.
fn judge(bytes: &[u8], frames: &[(u64, PackedFrame)]) -> Finding {
    let lost: Vec<Digest> = frames
        .iter()
        .filter(|(offset, frame)| {
            let from = usize::try_from(*offset).unwrap_or(usize::MAX);
            let stored = bytes.get(from..from.saturating_add(frame.stored as usize));
            stored.is_none_or(|stored| Digest::of(stored) != frame.frame)
        })
        .map(|(_, frame)| frame.frame)
        .collect();
    if lost.is_empty() {
        Finding::Between
    } else {
        Finding::Frames(lost)
    }
}
