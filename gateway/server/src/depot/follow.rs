//! Following the log: find what counts behind the index's position, read it, apply it.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use hayloft_index::Index;
use hayloft_store::Digest;
use hayloft_store::cluster_key::LogSigner;
use hayloft_store::key::{LogPlace, ObjectKey, Position};
use hayloft_store::log::chain::{Listing, Next, Stretch, Walk, settled};
use hayloft_store::log::object::LogObject;
use hayloft_store::log::record::{EpochOpened, Record};
use hayloft_store::log::{LogError, LogFault};
use hayloft_store::object::{ObjectError, SharedStore, list_all};
use tokio::time::Instant;

use super::error::OpenError;
use super::office::Office;

/// Log objects that are read ahead.
const AHEAD: usize = 16;

/// How often is said how far it has come.
const SAY: Duration = Duration::from_secs(1);

/// Listings that may have been overtaken by what was written meanwhile, before an object counts as lost.
const LISTINGS: usize = 5;

/// What a listing showed behind the index's position, in order.
pub(super) struct Behind {
    places: Vec<LogPlace>,
    /// So many of them are known to count.
    settled: usize,
}

/// An object of the log that was read.
pub(super) struct Seen {
    pub(super) records: Vec<Record>,
    pub(super) position: Position,
    pub(super) bytes: Bytes,
}

/// Brings a new index to what is known to count, without showing it to anybody; begins it anew when it is not on the
/// log. Gives the index back.
pub(super) async fn catch_up(
    store: &SharedStore,
    signer: &LogSigner,
    mut index: Index,
) -> Result<Index, OpenError> {
    let mut from = index.position().await.map_err(OpenError::Index)?;
    if let Some(position) = from
        && !stands(store, position).await?
    {
        tracing::warn!("the index belongs to another log and is made again from the bucket");
        index = index.reset().await.map_err(OpenError::Index)?;
        from = None;
    }
    loop {
        let Some(behind) = behind(store, signer, from).await? else {
            tracing::warn!("the index holds records that do not count and is made again from the bucket");
            index = index.reset().await.map_err(OpenError::Index)?;
            from = None;
            continue;
        };
        let applied = behind.apply_settled(store, signer, &index, from, None).await?;
        if applied > 0 {
            tracing::info!(objects = applied, "followed the log");
        }
        return Ok(index);
    }
}

/// Whether the log object that the index says it has applied last is still what it was.
async fn stands(store: &SharedStore, position: Position) -> Result<bool, OpenError> {
    match store.get(&ObjectKey::Log(position.place).to_string()).await {
        Ok(bytes) => Ok(Digest::of(&bytes) == position.digest),
        Err(ObjectError::NotFound { .. }) => Ok(false),
        Err(error) => Err(OpenError::Bucket(error)),
    }
}

/// Finds what counts behind `from`. None: `from` itself does not count.
pub(super) async fn behind(
    store: &SharedStore,
    signer: &LogSigner,
    from: Option<Position>,
) -> Result<Option<Behind>, OpenError> {
    // A listing is no snapshot. What it missed was written before what it shows, so the next one shows it: no pause.
    for _ in 1..LISTINGS {
        match behind_once(store, signer, from).await {
            Ok(Found::Overtaken(_)) => {}
            Err(OpenError::Log(error)) if matches!(error.fault, LogFault::Hole) => {}
            Ok(Found::Behind(behind)) => return Ok(Some(behind)),
            Ok(Found::Astray) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    match behind_once(store, signer, from).await? {
        Found::Behind(behind) => Ok(Some(behind)),
        Found::Astray => Ok(None),
        Found::Overtaken(place) => Err(OpenError::Hole {
            object: ObjectKey::Log(place).to_string(),
        }),
    }
}

/// What one listing gives.
enum Found {
    Behind(Behind),
    /// The starting point does not count.
    Astray,
    /// This object counts and was not listed.
    Overtaken(LogPlace),
}

async fn behind_once(
    store: &SharedStore,
    signer: &LogSigner,
    from: Option<Position>,
) -> Result<Found, OpenError> {
    let after = from.map(|position| ObjectKey::Log(position.place).to_string());
    let keys = list_all(store.as_ref(), ObjectKey::LOGS, after.as_deref())
        .await
        .map_err(OpenError::Bucket)?;
    let mut places = Vec::with_capacity(keys.len());
    for key in keys {
        match ObjectKey::parse(&key) {
            Some(ObjectKey::Log(place)) => places.push(place),
            _ => {
                return Err(OpenError::Log(LogError {
                    object: key,
                    fault: LogFault::Place,
                }));
            }
        }
    }
    let listing = Listing::new(places, from.map(|position| position.place)).map_err(OpenError::Log)?;
    let (mut walk, mut next) = Walk::new(listing, from);
    loop {
        match next {
            Next::Apply(stretches) => return Ok(Found::Behind(Behind::new(&stretches))),
            Next::ListAgain(place) => return Ok(Found::Overtaken(place)),
            Next::StartOver => return Ok(Found::Astray),
            Next::Read(place) => next = walk.read(opening(store, signer, place).await?),
        }
    }
}

impl Behind {
    fn new(stretches: &[Stretch]) -> Self {
        let places: Vec<LogPlace> = stretches
            .iter()
            .flat_map(|s| (s.first..=s.last).map(|seq| LogPlace { epoch: s.epoch, seq }))
            .collect();
        let settled = usize::try_from(settled(stretches)).unwrap_or(usize::MAX);
        Self { places, settled }
    }

    /// The last object.
    pub(super) fn last(&self) -> Option<LogPlace> {
        self.places.last().copied()
    }

    /// Applies what is known to count; `told`: up to there the committer says so. Gives the number of objects.
    pub(super) async fn apply_settled(
        &self,
        store: &SharedStore,
        signer: &LogSigner,
        index: &Index,
        from: Option<Position>,
        told: Option<Position>,
    ) -> Result<u64, OpenError> {
        let upto = self.counted(told);
        let mut objects = std::pin::pin!(self.objects(store, signer, 0..upto));
        let mut before = from.map_or(Digest::ZERO, |position| position.digest);
        let mut applied = 0_u64;
        let mut said = Instant::now();
        while let Some((object, seen)) = objects.try_next().await? {
            if object != before || told.is_some_and(|told| differs(told, seen.position)) {
                return Err(broken(seen.position.place));
            }
            index
                .apply(&seen.records, seen.position)
                .await
                .map_err(OpenError::Index)?;
            before = seen.position.digest;
            applied += 1;
            // Tests slow it down.
            fail::fail_point!("follow.applied");
            if said.elapsed() >= SAY {
                said = Instant::now();
                tracing::info!(applied, of = upto, "following the log");
            }
        }
        Ok(applied)
    }

    /// Reads what is not known to count, behind what does; `before` is the digest of the last that does.
    pub(super) async fn read_rest(
        &self,
        store: &SharedStore,
        signer: &LogSigner,
        mut before: Digest,
    ) -> Result<Vec<Seen>, OpenError> {
        let mut objects = std::pin::pin!(self.objects(store, signer, self.settled..self.places.len()));
        let mut rest = Vec::new();
        while let Some((object, seen)) = objects.try_next().await? {
            if object != before {
                return Err(broken(seen.position.place));
            }
            before = seen.position.digest;
            rest.push(seen);
        }
        Ok(rest)
    }

    fn counted(&self, told: Option<Position>) -> usize {
        let told = told.and_then(|told| self.places.iter().position(|place| *place == told.place));
        told.map_or(self.settled, |at| self.settled.max(at + 1))
    }

    /// The objects in order, each with the digest that it names as the one before it.
    fn objects<'a>(
        &'a self,
        store: &'a SharedStore,
        signer: &'a LogSigner,
        range: std::ops::Range<usize>,
    ) -> impl stream::Stream<Item = Result<(Digest, Seen), OpenError>> + 'a {
        let places = self.places.get(range).unwrap_or_default();
        stream::iter(places.iter().map(move |place| read(store, signer, *place))).buffered(AHEAD)
    }
}

impl Office {
    /// Applies what is known to count behind the index's position, and shows it; `told`: up to there the committer says
    /// so. Gives the number of objects.
    pub(super) async fn sync(&self, told: Option<Position>) -> Result<u64, OpenError> {
        let from = self.index.position().await.map_err(OpenError::Index)?;
        let behind = behind(&self.store, &self.signer, from)
            .await?
            .ok_or(OpenError::Astray)?;
        let applied = behind
            .apply_settled(&self.store, &self.signer, &self.index, from, told)
            .await?;
        if applied > 0 {
            self.caches.refresh(&self.index).await?;
        }
        Ok(applied)
    }
}

fn differs(told: Position, seen: Position) -> bool {
    told.place == seen.place && told.digest != seen.digest
}

fn broken(place: LogPlace) -> OpenError {
    OpenError::Log(LogError {
        object: ObjectKey::Log(place).to_string(),
        fault: LogFault::Chain,
    })
}

async fn opening(store: &SharedStore, signer: &LogSigner, place: LogPlace) -> Result<EpochOpened, OpenError> {
    let (_, seen) = read(store, signer, place).await?;
    match seen.records.first() {
        Some(Record::EpochOpened(opened)) => Ok(*opened),
        _ => Err(OpenError::Log(LogError {
            object: ObjectKey::Log(place).to_string(),
            fault: LogFault::Opening,
        })),
    }
}

async fn read(store: &SharedStore, signer: &LogSigner, place: LogPlace) -> Result<(Digest, Seen), OpenError> {
    let key = ObjectKey::Log(place).to_string();
    let bytes = match store.get(&key).await {
        Ok(bytes) => bytes,
        Err(ObjectError::NotFound { key }) => return Err(OpenError::Hole { object: key }),
        Err(error) => return Err(OpenError::Bucket(error)),
    };
    let (object, position) = LogObject::decode(place, &bytes, signer).map_err(OpenError::Log)?;
    let seen = Seen {
        records: object.records,
        position,
        bytes,
    };
    Ok((object.before, seen))
}
