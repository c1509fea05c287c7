//! Taking office: what counts is made durable, the epoch is opened, and the opening must count. A restart is a
//! succession too.

use std::path::Path;

use bytes::Bytes;
use hayloft_index::Index;
use hayloft_store::Digest;
use hayloft_store::cluster_key::LogSigner;
use hayloft_store::commit::Term;
use hayloft_store::key::{EpochId, ObjectKey, Position};
use hayloft_store::log::{LogError, LogFault};
use hayloft_store::object::{ObjectError, SharedStore};
use tokio::sync::watch;

use super::checkpoint::load;
use super::committer::State;
use super::error::OpenError;
use super::follow::{behind, catch_up};
use super::office::Office;

/// Format 2 has marks of epochs' ends, which a gateway that knows only format 1 would not write.
const FORMAT: u32 = 2;

/// Reads the bucket's format marker, or makes it. A bucket of the format before is raised to this one when `raise`.
pub(super) async fn check_format(store: &SharedStore, raise: bool) -> Result<(), OpenError> {
    let key = ObjectKey::Format.to_string();
    let found = match store.get(&key).await {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let number = text.trim().strip_prefix("hayloft bucket format ");
            Some(number.and_then(|n| n.parse().ok()).unwrap_or(0))
        }
        Err(ObjectError::NotFound { .. }) => None,
        Err(error) => return Err(OpenError::Bucket(error)),
    };
    match found {
        Some(FORMAT) => Ok(()),
        Some(found) if found == 0 || found > FORMAT => Err(OpenError::Format { found, known: FORMAT }),
        Some(_) if !raise => Ok(()),
        Some(_) | None => {
            let text = format!("hayloft bucket format {FORMAT}\n");
            store
                .put(&key, Bytes::from(text))
                .await
                .map_err(OpenError::Bucket)
        }
    }
}

/// Makes durable what counts so far, opens the epoch, and waits until the opening counts; then all of it is shown.
///
/// # Errors
/// [`OpenError::Deposed`] when a newer epoch was claimed meanwhile; then nothing was shown that may not count.
pub(super) async fn take_office(office: &Office, epoch: EpochId) -> Result<Term, OpenError> {
    let Office {
        store, index, signer, ..
    } = office;
    let from = index.position().await.map_err(OpenError::Index)?;
    let behind = behind(store, signer, from).await?.ok_or(OpenError::Astray)?;
    if behind.last().is_some_and(|last| last.epoch >= epoch) {
        return Err(OpenError::Deposed);
    }
    behind.apply_settled(store, signer, index, from, None).await?;
    let counts = index.position().await.map_err(OpenError::Index)?;
    let before = counts.map_or(Digest::ZERO, |position| position.digest);
    let rest = behind.read_rest(store, signer, before).await?;
    // Seen is not yet durable: the one who wrote it may have stopped half-way.
    if rest.is_empty()
        && let Some(position) = counts
    {
        write_again(store, position).await?;
    }
    for seen in &rest {
        let key = ObjectKey::Log(seen.position.place).to_string();
        store
            .put(&key, seen.bytes.clone())
            .await
            .map_err(OpenError::Bucket)?;
    }
    let after = rest.last().map(|seen| seen.position).or(counts);
    let (mut term, step) = Term::open(epoch, after, signer).map_err(OpenError::Log)?;
    let (state, _) = watch::channel(State::Leading);
    let opening = office
        .drive(&mut term, step, &state)
        .await
        .map_err(|_| OpenError::Deposed)?;
    for seen in &rest {
        office.show(&seen.records, seen.position, &state).await;
    }
    if let Some(opening) = opening {
        office.show(&opening.records, opening.position, &state).await;
    }
    office.caches.refresh(index).await?;
    Ok(term)
}

async fn write_again(store: &SharedStore, position: Position) -> Result<(), OpenError> {
    let key = ObjectKey::Log(position.place).to_string();
    let bytes = store.get(&key).await.map_err(OpenError::Bucket)?;
    if Digest::of(&bytes) != position.digest {
        return Err(OpenError::Log(LogError {
            object: key,
            fault: LogFault::Chain,
        }));
    }
    store.put(&key, bytes).await.map_err(OpenError::Bucket)
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

/// The index that is made from the log alone, until it takes the other's place.
const FROM_LOG: &str = "from-log.sqlite";

/// Brings the index at `path` to the log without taking office: from where it is, or from a checkpoint; `from_log`: from
/// nothing, in a file beside it, with the log alone. One that is cut off goes on where it was.
pub(super) async fn rebuild(
    store: SharedStore,
    signer: &LogSigner,
    path: &Path,
    from_log: bool,
) -> Result<Rebuilt, OpenError> {
    check_format(&store, false).await?;
    if from_log {
        let file = path.with_file_name(FROM_LOG);
        let index = Index::open(&file).await.map_err(OpenError::Index)?;
        catch_up(&store, signer, index).await?.close().await;
        Index::adopt(&file, path).await.map_err(OpenError::Index)?;
    }
    let mut index = Index::open(path).await.map_err(OpenError::Index)?;
    if !from_log && index.position().await.map_err(OpenError::Index)?.is_none() {
        index.close().await;
        load(&store, signer, path).await?;
        index = Index::open(path).await.map_err(OpenError::Index)?;
    }
    let index = catch_up(&store, signer, index).await?;
    let position = index.position().await.map_err(OpenError::Index)?;
    let caches = index.caches().await.map_err(OpenError::Index)?.len();
    index.close().await;
    Ok(Rebuilt { position, caches })
}
