//! Collecting: what nothing keeps goes, in the order paths → packs → objects.
//!
//! Only the committer collects. All state is in the log and the index: a collection that was cut off at any point is
//! gone on with by the next. Safety does not lie here: what may go is decided when it is ordered
//! ([`hayloft_store::commit::Admission`]); this only finds what is worth asking for.

mod bucket;
mod mark;
mod packs;
mod report;
mod sweep;

pub use report::{Amount, Bytes, CacheReport, CollectReport, PackReport, Stage};

use std::sync::Arc;
use std::time::Duration;

use hayloft_index::{Index, IndexError};
use hayloft_store::object::SharedStore;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use self::sweep::Swept;
use super::committer::Committer;
use super::pace::Pace;
use super::random::Random;
use super::types::Clock;
use super::uses::Uses;

/// The note that says how many packs there were at which times.
const AGES: &str = "collect.ages";
/// Times that it remembers.
const AGES_KEPT: usize = 24;

/// How collection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CollectSettings {
    /// How often.
    pub every: Duration,
    /// How long the object of a pack stays after it was given up.
    pub grace: Duration,
    /// How long a pack that no record names is left alone.
    pub abandoned_after: Duration,
    /// How old a pack must be to be looked at: the upload that it belongs to may be under way. Nothing is lost when it is, but
    /// the upload stores again what it counted on.
    pub settle: Duration,
    /// Bytes a second that are read and written; 0: any number.
    pub max_rate: u64,
}

impl Default for CollectSettings {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(6 * 3600),
            grace: Duration::from_secs(24 * 3600),
            abandoned_after: Duration::from_secs(48 * 3600),
            settle: Duration::from_secs(3600),
            max_rate: 50_000_000,
        }
    }
}

/// Why a collection did not come to its end. Nothing is wrong then: the next one goes on.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// Another gateway orders changes.
    #[error("only the gateway that orders changes collects, and that is another one")]
    NotLeading,
    /// A collection is under way already.
    #[error("a collection is under way already")]
    Busy,
    /// The gateway stops.
    #[error("the gateway is stopping")]
    Stopping,
    /// The index failed.
    #[error("the index does not answer")]
    Index(#[from] IndexError),
    /// The log did not take a change.
    #[error("the log does not take a change: {0}")]
    Commit(String),
    /// The bucket failed.
    #[error("the bucket does not do what is asked: {0}")]
    Bucket(String),
}

/// Hears what a collection is doing.
pub type Listener = Arc<dyn Fn(Stage) + Send + Sync>;

/// Collects.
pub(super) struct Collector {
    pub(super) index: Index,
    pub(super) store: SharedStore,
    pub(super) committer: Committer,
    pub(super) uses: Arc<Uses>,
    pub(super) random: Arc<Random>,
    pub(super) clock: Clock,
    pub(super) settings: CollectSettings,
    pub(super) pace: Pace,
    pub(super) under_way: Mutex<()>,
}

/// How many packs there were at some time.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Age {
    at: i64,
    packs: i64,
}

/// One collection.
struct Run<'a> {
    collector: &'a Collector,
    dry_run: bool,
    /// Milliseconds since 1970.
    now: i64,
    stop: &'a CancellationToken,
    listener: &'a Listener,
}

impl Run<'_> {
    fn tell(&self, stage: Stage) {
        (self.listener)(stage);
    }

    fn later(&self, span: Duration) -> i64 {
        self.now.saturating_add(millis(span))
    }

    fn earlier(&self, span: Duration) -> i64 {
        self.now.saturating_sub(millis(span))
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// Nobody watches arrivals any more when it goes.
struct Watch<'a>(&'a Index);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.0.ignore_arrivals();
    }
}

impl Collector {
    /// Collects once, or only looks what there is to collect.
    pub(super) async fn run(
        &self,
        dry_run: bool,
        stop: &CancellationToken,
        listener: &Listener,
    ) -> Result<CollectReport, CollectError> {
        let Ok(_under_way) = self.under_way.try_lock() else {
            return Err(CollectError::Busy);
        };
        if !dry_run && !self.committer.is_leading() {
            return Err(CollectError::NotLeading);
        }
        let run = Run {
            collector: self,
            dry_run,
            now: (self.clock)().as_millisecond(),
            stop,
            listener,
        };
        let _watch = (!dry_run).then(|| Watch(&self.index));
        let mut report = CollectReport {
            dry_run,
            ..CollectReport::default()
        };
        let mut swept = Swept::default();
        for cache in self.index.caches().await? {
            if stop.is_cancelled() {
                break;
            }
            report.caches.push(run.sweep(&cache, &mut swept).await?);
        }
        self.index.ignore_arrivals();
        let upto = self.settled(run.now, dry_run).await?;
        run.packs(upto, &swept, &mut report.packs).await?;
        run.strangers(&mut report.packs).await?;
        run.delete_due(&mut report.packs).await?;
        report.interrupted = stop.is_cancelled();
        Ok(report)
    }

    /// Notes how many packs there are now, so that it is known later which are old.
    pub(super) async fn note_age(&self) -> Result<(), IndexError> {
        self.settled((self.clock)().as_millisecond(), false)
            .await
            .map(|_| ())
    }

    /// The highest number of a pack that is old enough to be looked at.
    async fn settled(&self, now: i64, dry_run: bool) -> Result<i64, IndexError> {
        let noted = self.index.note(AGES).await?;
        let mut ages: Vec<Age> = noted.and_then(|noted| parsed(&noted)).unwrap_or_default();
        // A clock that was set back knows nothing of ages.
        ages.retain(|age| age.at <= now);
        let old = now.saturating_sub(millis(self.settings.settle));
        let upto = ages.iter().filter(|age| age.at <= old).map(|age| age.packs).max();
        let recent = ages
            .iter()
            .any(|age| age.at > now.saturating_sub(millis(self.settings.settle / 4)));
        if !dry_run && !recent {
            let packs = self.index.last_pack().await?;
            ages.push(Age { at: now, packs });
            let surplus = ages.len().saturating_sub(AGES_KEPT);
            ages.drain(..surplus);
            if let Ok(noted) = serde_json::to_vec(&ages) {
                self.index.set_note(AGES, &noted).await?;
            }
        }
        Ok(upto.unwrap_or(0))
    }
}

fn parsed(noted: &[u8]) -> Option<Vec<Age>> {
    serde_json::from_slice(noted).ok()
}
