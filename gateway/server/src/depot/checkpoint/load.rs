//! Reading: the newest checkpoint that can be used becomes the index of a gateway that has none.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use hayloft_index::Index;
use hayloft_store::checkpoint::{CheckpointHead, CheckpointPart};
use hayloft_store::cluster_key::LogSigner;
use hayloft_store::key::{LogPlace, ObjectKey, Position};
use hayloft_store::object::{ObjectError, SharedStore};
use tokio::io::AsyncWriteExt as _;

use super::super::error::{OpenError, sentence};
use super::{FILE, places};

/// Parts that are read ahead.
const AHEAD: usize = 6;

/// Why a checkpoint is not used; then an older one is, or the log from its beginning.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    /// The bucket does not give it.
    #[error("it cannot be had from the bucket")]
    Bucket(#[source] ObjectError),
    /// Its description cannot be used.
    #[error(transparent)]
    Head(#[from] hayloft_store::checkpoint::CheckpointError),
    /// It belongs elsewhere.
    #[error("it stands elsewhere than it says")]
    Place,
    /// A part is not what was written.
    #[error("part {number} is damaged")]
    Part {
        /// Which.
        number: u32,
    },
    /// It cannot be written here.
    #[error("{} cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It cannot take the index's place.
    #[error("it cannot take the index's place")]
    Adopt(#[source] hayloft_index::IndexError),
}

/// Puts the newest checkpoint in the place of the index at `path`, which must be closed. Gives its position; none: there
/// is none that can be used.
///
/// # Errors
/// When the bucket does not answer.
pub(in crate::depot) async fn load(
    store: &SharedStore,
    signer: &LogSigner,
    path: &Path,
) -> Result<Option<Position>, OpenError> {
    let places = places(store).await.map_err(OpenError::Bucket)?;
    for place in places.into_iter().rev() {
        match load_one(store, signer, path, place).await {
            Ok(Some(position)) => return Ok(Some(position)),
            Ok(None) => {
                tracing::info!(%place, "a checkpoint was written by a version that is neither this nor the one before, and is not used");
            }
            Err(LoadError::Bucket(error @ ObjectError::Unavailable { .. })) => {
                return Err(OpenError::Bucket(error));
            }
            Err(error) => tracing::warn!(%place, error = sentence(&error), "a checkpoint is not used"),
        }
    }
    Ok(None)
}

async fn load_one(
    store: &SharedStore,
    signer: &LogSigner,
    path: &Path,
    place: LogPlace,
) -> Result<Option<Position>, LoadError> {
    let begin = tokio::time::Instant::now();
    let head = store
        .get(&ObjectKey::Checkpoint(place).to_string())
        .await
        .map_err(LoadError::Bucket)?;
    let head = CheckpointHead::decode(&head, signer)?;
    if head.position.place != place {
        return Err(LoadError::Place);
    }
    // One of the version before is migrated when it is opened.
    if !hayloft_index::can_open(head.schema) {
        return Ok(None);
    }
    let file = path.with_file_name(FILE);
    let write = |source| LoadError::Write {
        path: file.clone(),
        source,
    };
    let _ = tokio::fs::remove_file(&file).await;
    let mut out = tokio::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&file)
        .await
        .map_err(write)?;
    let numbered = (0_u32..).zip(head.parts.iter().copied());
    let mut parts =
        stream::iter(numbered.map(|(number, part)| read(store, place, number, part))).buffered(AHEAD);
    let mut size = 0;
    while let Some(part) = parts.try_next().await? {
        size += part.len() as u64;
        out.write_all(&part).await.map_err(write)?;
    }
    // What a power cut left half-written must not be taken for an index.
    out.sync_all().await.map_err(write)?;
    drop(out);
    if size != head.size {
        return Err(LoadError::Place);
    }
    Index::adopt(&file, path).await.map_err(LoadError::Adopt)?;
    tracing::info!(
        position = %place,
        size,
        took_ms = begin.elapsed().as_millis(),
        "began with a checkpoint of the index"
    );
    Ok(Some(head.position))
}

async fn read(
    store: &SharedStore,
    place: LogPlace,
    number: u32,
    part: CheckpointPart,
) -> Result<Vec<u8>, LoadError> {
    let key = ObjectKey::CheckpointPart(place, number).to_string();
    let stored: Bytes = store.get(&key).await.map_err(LoadError::Bucket)?;
    let unpacked = tokio::task::spawn_blocking(move || part.unpack(&stored));
    unpacked.await.ok().flatten().ok_or(LoadError::Part { number })
}
