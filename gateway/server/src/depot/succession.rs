//! Opening: follow the log to its end and take office. A restart is a succession too.

use std::path::Path;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use hayloft_index::Index;
use hayloft_store::Digest;
use hayloft_store::cluster_key::LogSigner;
use hayloft_store::commit::Term;
use hayloft_store::key::{EpochId, LogPlace, ObjectKey, Position};
use hayloft_store::log::chain::{Listing, Next, Stretch, Walk};
use hayloft_store::log::object::LogObject;
use hayloft_store::log::record::{EpochOpened, Record};
use hayloft_store::log::{LogError, LogFault};
use hayloft_store::object::{ObjectError, SharedStore, list_all};
use tokio::sync::watch;

use super::committer::State;
use super::error::OpenError;
use super::office::{Office, highest_epoch};
use super::random::Random;

const FORMAT: u32 = 1;
const EPOCH: &[u8] = b"HayEpoch\x01\0\0\0";
/// Log objects that are read ahead.
const AHEAD: usize = 16;

/// How far to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upto {
    /// To the last object: the caller will make it count.
    Tail,
    /// To the last object that is known to count, which is the one before the last.
    Acknowledged,
}

/// Reads the bucket's format marker, or makes it.
pub(super) async fn check_format(store: &SharedStore) -> Result<(), OpenError> {
    let key = ObjectKey::Format.to_string();
    match store.get(&key).await {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let found = text
                .trim()
                .strip_prefix("hayloft bucket format ")
                .and_then(|n| n.parse().ok());
            match found {
                Some(FORMAT) => Ok(()),
                found => Err(OpenError::Format {
                    found: found.unwrap_or(0),
                    known: FORMAT,
                }),
            }
        }
        Err(ObjectError::NotFound { .. }) => {
            let text = format!("hayloft bucket format {FORMAT}\n");
            store
                .put(&key, Bytes::from(text))
                .await
                .map_err(OpenError::Bucket)
        }
        Err(error) => Err(OpenError::Bucket(error)),
    }
}

/// Brings the index to the end of the log; begins it anew when it is not on the log. Gives the index back.
pub(super) async fn follow(
    store: &SharedStore,
    signer: &LogSigner,
    mut index: Index,
    upto: Upto,
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
        let Some(stretches) = chain(store, signer, from).await? else {
            if from.is_none() {
                return Err(OpenError::Hole {
                    object: ObjectKey::LOGS.to_owned(),
                });
            }
            tracing::warn!("the index holds records that do not count and is made again from the bucket");
            index = index.reset().await.map_err(OpenError::Index)?;
            from = None;
            continue;
        };
        let applied = apply(store, signer, &index, from, stretches, upto).await?;
        if applied > 0 {
            tracing::info!(objects = applied, "followed the log");
        }
        return Ok(index);
    }
}

/// Claims an epoch above all others. From then on nothing of an older one is acknowledged.
pub(super) async fn claim(store: &SharedStore, random: &Random) -> Result<EpochId, OpenError> {
    let highest = highest_epoch(store, None).await.map_err(OpenError::Bucket)?;
    let epoch = EpochId {
        number: highest.map_or(0, |epoch| epoch.number) + 1,
        instance: u64::from_le_bytes(random.bytes()),
    };
    let key = ObjectKey::Epoch(epoch).to_string();
    store
        .put(&key, Bytes::from_static(EPOCH))
        .await
        .map_err(OpenError::Bucket)?;
    Ok(epoch)
}

/// Makes the tail durable that was counted, opens the epoch, and waits until the opening counts.
pub(super) async fn take_office(office: &Office, epoch: EpochId) -> Result<Term, OpenError> {
    let after = office.index.position().await.map_err(OpenError::Index)?;
    if let Some(position) = after {
        // Seen is not yet durable: the one who wrote it may have stopped half-way.
        let key = ObjectKey::Log(position.place).to_string();
        let bytes = office.store.get(&key).await.map_err(OpenError::Bucket)?;
        if Digest::of(&bytes) != position.digest {
            return Err(OpenError::Log(LogError {
                object: key,
                fault: LogFault::Chain,
            }));
        }
        office.store.put(&key, bytes).await.map_err(OpenError::Bucket)?;
    }
    let (mut term, step) = Term::open(epoch, after, &office.signer).map_err(OpenError::Log)?;
    let (state, _) = watch::channel(State::Leading);
    office
        .drive(&mut term, step, &state)
        .await
        .map_err(|_| OpenError::Deposed)?;
    Ok(term)
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
async fn chain(
    store: &SharedStore,
    signer: &LogSigner,
    from: Option<Position>,
) -> Result<Option<Vec<Stretch>>, OpenError> {
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
            Next::Apply(stretches) => return Ok(Some(stretches)),
            Next::StartOver => return Ok(None),
            Next::Read(place) => next = walk.read(opening(store, signer, place).await?),
        }
    }
}

async fn opening(store: &SharedStore, signer: &LogSigner, place: LogPlace) -> Result<EpochOpened, OpenError> {
    let (object, _) = read(store, signer, place).await?;
    match object.records.first() {
        Some(Record::EpochOpened(opened)) => Ok(*opened),
        _ => {
            let object = ObjectKey::Log(place).to_string();
            Err(OpenError::Log(LogError {
                object,
                fault: LogFault::Opening,
            }))
        }
    }
}

async fn read(
    store: &SharedStore,
    signer: &LogSigner,
    place: LogPlace,
) -> Result<(LogObject, Position), OpenError> {
    let key = ObjectKey::Log(place).to_string();
    let bytes = match store.get(&key).await {
        Ok(bytes) => bytes,
        Err(ObjectError::NotFound { key }) => return Err(OpenError::Hole { object: key }),
        Err(error) => return Err(OpenError::Bucket(error)),
    };
    LogObject::decode(place, &bytes, signer).map_err(OpenError::Log)
}

/// Applies stretches in order; gives the number of objects.
async fn apply(
    store: &SharedStore,
    signer: &LogSigner,
    index: &Index,
    from: Option<Position>,
    stretches: Vec<Stretch>,
    upto: Upto,
) -> Result<u64, OpenError> {
    let total: u64 = stretches.iter().map(|s| s.last - s.first + 1).sum();
    let wanted = if upto == Upto::Acknowledged {
        total.saturating_sub(1)
    } else {
        total
    };
    let places = stretches
        .into_iter()
        .flat_map(|s| (s.first..=s.last).map(move |seq| LogPlace { epoch: s.epoch, seq }))
        .take(usize::try_from(wanted).unwrap_or(usize::MAX));
    let mut objects =
        stream::iter(places.map(|place| async move { read(store, signer, place).await })).buffered(AHEAD);
    let mut before = from.map_or(Digest::ZERO, |position| position.digest);
    let mut applied = 0_u64;
    while let Some((object, position)) = objects.try_next().await? {
        if object.before != before {
            let object = ObjectKey::Log(object.place).to_string();
            return Err(OpenError::Log(LogError {
                object,
                fault: LogFault::Chain,
            }));
        }
        index
            .apply(&object.records, position)
            .await
            .map_err(OpenError::Index)?;
        before = position.digest;
        applied += 1;
        if applied.is_multiple_of(1000) {
            tracing::info!(applied, of = wanted, "following the log");
        }
    }
    Ok(applied)
}

/// Makes the state folder, for its owner only.
pub(super) async fn make_state_dir(dir: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::StateDir {
        path: dir.to_owned(),
        source,
    };
    let mut builder = tokio::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(dir).await.map_err(failed)
}

/// What [`super::rebuild`] found.
#[derive(Clone, Debug)]
pub struct Rebuilt {
    /// How far the log was followed.
    pub position: Option<Position>,
    /// Caches that there are.
    pub caches: usize,
}

/// Makes an index again from nothing, without taking office.
pub(super) async fn rebuild(
    store: SharedStore,
    signer: &LogSigner,
    path: &Path,
) -> Result<Rebuilt, OpenError> {
    check_format(&store).await?;
    let index = Index::create(path).await.map_err(OpenError::Index)?;
    let index = follow(&store, signer, index, Upto::Acknowledged).await?;
    let position = index.position().await.map_err(OpenError::Index)?;
    let caches = index.caches().await.map_err(OpenError::Index)?.len();
    index.close().await;
    Ok(Rebuilt { position, caches })
}
