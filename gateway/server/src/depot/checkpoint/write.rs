//! Writing: a snapshot of the index, part by part, its description last. Then what is older than the one before goes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::FuturesOrdered;
use hayloft_index::{Index, SCHEMA};
use hayloft_store::checkpoint::{CheckpointHead, CheckpointPart, PART};
use hayloft_store::cluster_key::LogSigner;
use hayloft_store::key::{LogPlace, ObjectKey, Position};
use hayloft_store::object::{ObjectError, SharedStore, list_all};
use tokio::io::AsyncReadExt as _;
use tokio::sync::Mutex;

use super::super::dying::may_die;
use super::super::error::{BoxError, sentence};
use super::super::random::Random;
use super::{FILE, places};

/// How often is looked whether it is time for a checkpoint; half to one and a half of this.
const LOOK: Duration = Duration::from_secs(60);
/// Log objects that a gateway without an index should have to apply at most, while the index is small.
const LEAST: u64 = 1_000;
/// And at most, however large the index is.
const MOST: u64 = 20_000;
/// For so many stored bytes of the last checkpoint the log may grow by one object more.
const BYTES: u64 = 256 * 1024;
/// Parts that are compressed and PUT at the same time.
const AT_ONCE: usize = 2;
/// Checkpoints that stay.
const KEPT: usize = 2;

/// Why a checkpoint was not written.
#[derive(Debug, thiserror::Error)]
pub(in crate::depot) enum WriteError {
    /// The bucket does not take it.
    #[error("the bucket does not take a checkpoint")]
    Bucket(#[source] ObjectError),
    /// The index gives no snapshot.
    #[error("the index gives no snapshot")]
    Index(#[source] hayloft_index::IndexError),
    /// The snapshot cannot be read.
    #[error("the snapshot {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A part cannot be made.
    #[error("a part of a checkpoint cannot be made")]
    Part(#[source] BoxError),
    /// There is no room for a snapshot beside the index.
    #[error("a snapshot of the index needs {needed} bytes in the state folder, and {free} are free")]
    Room {
        /// Bytes it needs.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
}

/// Writes checkpoints. Cheap to clone.
#[derive(Clone)]
pub(in crate::depot) struct Writer {
    pub(in crate::depot) store: SharedStore,
    pub(in crate::depot) index: Index,
    pub(in crate::depot) signer: Arc<LogSigner>,
    pub(in crate::depot) random: Arc<Random>,
    pub(in crate::depot) state_dir: PathBuf,
    /// One at a time.
    pub(in crate::depot) under_way: Arc<Mutex<()>>,
}

/// What was there already.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    place: Option<LogPlace>,
    stored: u64,
}

/// Writes a checkpoint whenever the log has grown by much, for ever.
pub(in crate::depot) async fn keep_writing(writer: Writer) {
    loop {
        tokio::time::sleep(look().mul_f64(writer.random.jitter())).await;
        match writer.is_time().await {
            Ok(false) => {}
            Ok(true) => {
                if let Err(error) = writer.write().await {
                    tracing::warn!(error = sentence(&error), "no checkpoint was written");
                }
            }
            Err(error) => tracing::debug!(error = sentence(&error), "could not look at the checkpoints"),
        }
    }
}

/// How often is looked; tests may be in a hurry.
fn look() -> Duration {
    fail::fail_point!("checkpoint.hurry", |_| Duration::from_millis(200));
    LOOK
}

/// [`LEAST`]; tests may be in a hurry.
fn least() -> u64 {
    fail::fail_point!("checkpoint.hurry", |_| 1);
    LEAST
}

impl Writer {
    /// Whether the log has grown by so much that a new gateway had better have a checkpoint.
    async fn is_time(&self) -> Result<bool, WriteError> {
        let last = self.last().await?;
        let due = (last.stored / BYTES).clamp(least(), MOST);
        let after = last.place.map(|place| ObjectKey::Log(place).to_string());
        // Counted page by page, and no further than it matters.
        let (mut count, mut from) = (0, after);
        loop {
            let page = self
                .store
                .list(ObjectKey::LOGS, from.as_deref())
                .await
                .map_err(WriteError::Bucket)?;
            count += page.keys.len() as u64;
            if count >= due {
                return Ok(true);
            }
            match page.keys.last() {
                Some(key) if page.more => from = Some(key.clone()),
                _ => return Ok(false),
            }
        }
    }

    async fn last(&self) -> Result<Last, WriteError> {
        let Some(place) = places(&self.store).await.map_err(WriteError::Bucket)?.pop() else {
            return Ok(Last::default());
        };
        let key = ObjectKey::Checkpoint(place).to_string();
        let stored = match self.store.get(&key).await {
            Ok(bytes) => CheckpointHead::decode(&bytes, &self.signer)
                .map(|head| head.parts.iter().map(|part| u64::from(part.stored)).sum())
                .unwrap_or_default(),
            Err(ObjectError::NotFound { .. }) => 0,
            Err(error) => return Err(WriteError::Bucket(error)),
        };
        Ok(Last {
            place: Some(place),
            stored,
        })
    }

    /// Writes a checkpoint of the index as it is now. Gives its position; none: the index is empty.
    ///
    /// # Errors
    /// When it cannot be made or stored; then what was written of it is removed by the next.
    pub(in crate::depot) async fn write(&self) -> Result<Option<Position>, WriteError> {
        let _one = self.under_way.lock().await;
        let path = self.state_dir.join(FILE);
        self.room().await?;
        let written = self.write_from(&path).await;
        let _ = tokio::fs::remove_file(&path).await;
        written
    }

    async fn write_from(&self, path: &Path) -> Result<Option<Position>, WriteError> {
        let read = |source| WriteError::Read {
            path: path.to_owned(),
            source,
        };
        let begin = tokio::time::Instant::now();
        let Some(position) = self.index.snapshot(path).await.map_err(WriteError::Index)? else {
            return Ok(None);
        };
        may_die!("checkpoint.snapshot");
        let file = tokio::fs::File::open(path).await.map_err(read)?;
        let size = file.metadata().await.map_err(read)?.len();
        let mut file = file;
        let mut parts = Vec::new();
        let mut puts = FuturesOrdered::new();
        for number in 0.. {
            let mut bytes = Vec::with_capacity(PART);
            let mut part = (&mut file).take(PART as u64);
            part.read_to_end(&mut bytes).await.map_err(read)?;
            if bytes.is_empty() {
                break;
            }
            if puts.len() == AT_ONCE
                && let Some(put) = puts.next().await
            {
                parts.push(put?);
            }
            puts.push_back(self.put(ObjectKey::CheckpointPart(position.place, number), bytes));
        }
        while let Some(put) = puts.next().await {
            parts.push(put?);
        }
        may_die!("checkpoint.parts-stored");
        let stored: u64 = parts.iter().map(|part| u64::from(part.stored)).sum();
        let head = CheckpointHead {
            position,
            schema: SCHEMA,
            size,
            parts,
        };
        let head = head
            .encode(&self.signer)
            .map_err(|error| WriteError::Part(Box::new(error)))?;
        let key = ObjectKey::Checkpoint(position.place).to_string();
        self.store
            .put(&key, Bytes::from(head))
            .await
            .map_err(WriteError::Bucket)?;
        may_die!("checkpoint.described");
        tracing::info!(
            position = %position.place,
            size,
            stored,
            took_ms = begin.elapsed().as_millis(),
            "wrote a checkpoint of the index"
        );
        self.prune(position.place).await.map_err(WriteError::Bucket)?;
        Ok(Some(position))
    }

    async fn put(&self, key: ObjectKey, bytes: Vec<u8>) -> Result<CheckpointPart, WriteError> {
        let (part, packed) = tokio::task::spawn_blocking(move || CheckpointPart::pack(&bytes))
            .await
            .map_err(|error| WriteError::Part(Box::new(error)))?
            .map_err(|error| WriteError::Part(Box::new(error)))?;
        self.store
            .put(&key.to_string(), Bytes::from(packed))
            .await
            .map_err(WriteError::Bucket)?;
        Ok(part)
    }

    /// Removes all but the newest checkpoints, and parts of such as were never described.
    async fn prune(&self, own: LogPlace) -> Result<(), ObjectError> {
        let mut kept = places(&self.store).await?;
        let old = kept.drain(..kept.len().saturating_sub(KEPT)).collect::<Vec<_>>();
        for place in old {
            // Whoever reads it by its description now takes another when a part is gone.
            self.store
                .delete(&ObjectKey::Checkpoint(place).to_string())
                .await?;
        }
        let kept: BTreeSet<LogPlace> = kept.into_iter().collect();
        let keys = list_all(self.store.as_ref(), ObjectKey::CHECKPOINT_PARTS, None).await?;
        for key in keys {
            match ObjectKey::parse(&key) {
                // A later one than this may be under way, by a later committer.
                Some(ObjectKey::CheckpointPart(place, _)) if place < own && !kept.contains(&place) => {
                    self.store.delete(&key).await?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn room(&self) -> Result<(), WriteError> {
        let file = self.state_dir.join(super::super::INDEX_FILE);
        let index = tokio::fs::metadata(&file).await.map_or(0, |file| file.len());
        let needed = index + index / 4;
        let free = match rustix::fs::statvfs(&self.state_dir) {
            Ok(volume) => volume.f_bavail.saturating_mul(volume.f_frsize),
            // Then it is tried.
            Err(_) => u64::MAX,
        };
        if free < needed {
            return Err(WriteError::Room { needed, free });
        }
        Ok(())
    }
}
