//! Taking a NAR: everything is checked before anything of the path is visible.
//!
//! Body → portions → (blocking) hash, structure, cut → look up → (blocking) compress → runs → packs → record.
//! Memory does not grow with the NAR: what an upload holds for as long as it runs is taken from a budget in bytes before the
//! first byte is read, and portions that are worked on are counted over all uploads, which take turns.

mod body;
mod cutter;
mod frames;
mod pass;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt as _, Stream, StreamExt as _};
use hayloft_index::{Index, StoredPath};
use hayloft_nixcache::{NarHash, StorePathHash, UploadInfo};
use hayloft_store::Digest;
use hayloft_store::commit::Refusal;
use hayloft_store::log::record::{PathRecord, Record};
use hayloft_store::object::SharedStore;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use self::body::{Body, PORTION};
use self::cutter::{Cutter, Part};
use self::frames::{Assembled, Assembly, Ready, prepare};
use self::pass::{Turn, drain, read};
use super::caches::Caches;
use super::committer::{CommitError, Committer};
use super::dying::may_die;
use super::error::{BoxError, UploadError};
use super::packer::{Packer, Ticket};
use super::save;
use super::types::{Clock, Uploaded};
use crate::metrics::{Running, names, stage};

/// Bytes that all uploads under way may hold together, packs not counted.
const BUDGET: usize = 128 * 1024 * 1024;
/// What the largest upload holds while it waits for its turn: a portion, the chunker's window, a run.
const LARGEST: u64 = 8 * PORTION as u64;
/// What the smallest holds.
const SMALLEST: u64 = 128 * 1024;
/// Portions of all uploads that are worked on at the same time.
const TURNS: usize = 8;
/// The budget's unit.
const UNIT: u64 = 1024;
/// Portions of one upload that are compressed at the same time.
const AT_ONCE: usize = 2;
/// How long an upload waits for its share of the budget: less than the time for which clients bear that nothing moves.
const WAIT: Duration = Duration::from_secs(240);
/// How long packs and the record may take to be stored.
const STORED: Duration = Duration::from_secs(90);
/// How often an upload saves frames of packs that were given up meanwhile.
const SAVED: u32 = 3;
/// How long a refused push waits for that to be noted.
const NOTE: Duration = Duration::from_secs(5);
/// A path that was pushed less than this long ago, in milliseconds, need not be noted as pushed again.
const FRESH_MS: i64 = 24 * 3600 * 1000;

/// What uploads work with.
pub(super) struct Ingest {
    pub(super) index: Index,
    pub(super) caches: Arc<Caches>,
    pub(super) packer: Arc<Packer>,
    pub(super) committer: Committer,
    pub(super) clock: Clock,
    store: SharedStore,
    budget: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

impl Ingest {
    pub(super) fn new(
        index: Index,
        caches: Arc<Caches>,
        packer: Arc<Packer>,
        committer: Committer,
        clock: Clock,
        store: SharedStore,
    ) -> Self {
        let budget = Arc::new(Semaphore::new(BUDGET / 1024));
        Self {
            index,
            caches,
            packer,
            committer,
            clock,
            store,
            budget,
            turns: Arc::new(Semaphore::new(TURNS)),
        }
    }

    /// Takes a NAR.
    pub(super) async fn upload<B>(
        &self,
        info: UploadInfo,
        created_by: Option<String>,
        stream: B,
    ) -> Result<Uploaded, UploadError>
    where
        B: Stream<Item = Result<Bytes, BoxError>> + Send + Unpin + 'static,
    {
        let _running = Running::new(names::UPLOADS);
        let mut body = Body::new(stream, info.nar_size);
        let known = match self.look(&info).await {
            Ok(known) => known,
            Err(error) => {
                drain(&mut body).await;
                return Err(error);
            }
        };
        let share = info.nar_size.saturating_mul(3).clamp(SMALLEST, LARGEST) / UNIT;
        let share = u32::try_from(share).unwrap_or(u32::MAX);
        let granted = tokio::time::timeout(WAIT, Arc::clone(&self.budget).acquire_many_owned(share)).await;
        let Ok(Ok(_share)) = granted else {
            return Err(UploadError::Unavailable(
                "too many uploads at once; try again".to_owned(),
            ));
        };
        match known {
            // It is all here. The body is still read and hashed: who cannot show it may not claim it.
            Some(known) => {
                metrics::counter!(names::DEDUPLICATED_BYTES).increment(info.nar_size);
                self.again(info, known, created_by, body).await
            }
            None => self.store(info, created_by, body).await,
        }
    }

    /// Checks what can be checked before the body; gives the path when it is there, whole.
    async fn look(&self, info: &UploadInfo) -> Result<Option<StoredPath>, UploadError> {
        let caches = self.caches.all();
        let cache = caches
            .get(&info.cache)
            .ok_or_else(|| UploadError::NoSuchCache(info.cache.clone()))?;
        if cache.store_dir != info.store_path.store_dir() {
            return Err(UploadError::StoreDir {
                cache: info.cache.clone(),
                expected: cache.store_dir.clone(),
                given: info.store_path.as_str().to_owned(),
            });
        }
        let hash = info.store_path.hash();
        let Some(known) = self
            .index
            .path(&info.cache, &hash)
            .await
            .map_err(UploadError::Index)?
        else {
            return Ok(None);
        };
        if known.nar_hash != info.nar_hash {
            self.note_conflict(info, *known.nar_hash.as_bytes()).await;
            return Err(UploadError::OtherNarHash {
                known: known.nar_hash,
                given: info.nar_hash,
            });
        }
        Ok(Some(known).filter(|known| !known.damaged && !known.removed && known.path == info.store_path))
    }

    async fn again<B>(
        &self,
        info: UploadInfo,
        known: StoredPath,
        created_by: Option<String>,
        body: Body<B>,
    ) -> Result<Uploaded, UploadError>
    where
        B: Stream<Item = Result<Bytes, BoxError>> + Send + Unpin + 'static,
    {
        read(Cutter::hash_only(), &info, &self.turns, body, |_, _| async {
            Ok(())
        })
        .await?;
        let same = known.references == info.references
            && known.deriver == info.deriver
            && known.ca == info.ca
            && known.sigs == info.sigs;
        // Pushed again, it is as good as new: it is not collected for its age, not even by a collection that has just
        // found it old.
        let old = (self.clock)().as_millisecond().saturating_sub(known.created_at) > FRESH_MS;
        if !same || old {
            let manifest = self.index.manifest(&info.cache, &info.store_path.hash()).await;
            let manifest = manifest.map_err(UploadError::Index)?;
            let Some(manifest) = manifest else {
                return Err(UploadError::Unavailable(
                    "the path was removed meanwhile; try again".to_owned(),
                ));
            };
            self.commit(&info, created_by, manifest).await?;
        }
        Ok(Uploaded {
            deduplicated: true,
            file_size: known.file_size,
            frac_deduplicated: 1.0,
        })
    }

    async fn store<B>(
        &self,
        info: UploadInfo,
        created_by: Option<String>,
        body: Body<B>,
    ) -> Result<Uploaded, UploadError>
    where
        B: Stream<Item = Result<Bytes, BoxError>> + Send + Unpin + 'static,
    {
        let writer = self.packer.writer();
        let own = info.store_path.hash();
        let references: Vec<StorePathHash> = info
            .references
            .iter()
            .filter_map(|name| StorePathHash::from_bytes(name.as_bytes().get(..32)?).ok())
            .collect();
        let hashes = std::iter::once(&own)
            .chain(&references)
            .map(StorePathHash::as_bytes);
        let cutter = Cutter::new(hashes)
            .map_err(|error| UploadError::Unavailable(format!("the NAR cannot be cut: {error}")))?;
        // Portions that were cut wait here for their turn to be looked up and compressed, two at a time.
        let (cut, parts) = mpsc::channel::<(Vec<Part>, Turn)>(1);
        let prepared = {
            let (index, packer) = (self.index.clone(), Arc::clone(&self.packer));
            let (ready, prepared) = mpsc::channel::<(Result<Vec<Ready>, UploadError>, Turn)>(1);
            let task = async move {
                let mut portions = ReceiverStream::new(parts)
                    .map(|(parts, turn)| prepare(&index, &packer, parts).map(|ready| (ready, turn)))
                    .buffered(AT_ONCE);
                while let Some(portion) = portions.next().await {
                    if ready.send(portion).await.is_err() {
                        return;
                    }
                }
            };
            (
                AbortOnDropHandle::new(tokio::spawn(task.in_current_span())),
                prepared,
            )
        };
        let (_task, mut prepared) = prepared;
        let mut assembly = Assembly::new(Arc::clone(&self.packer));
        let reading = read(cutter, &info, &self.turns, body, move |parts, turn| {
            let cut = cut.clone();
            async move {
                // Nobody receives any more only when the other side failed; it says why.
                let _ = cut.send((parts, turn)).await;
                Ok(())
            }
        });
        let packing = async {
            while let Some((portion, _turn)) = prepared.recv().await {
                assembly.add(portion?).await?;
            }
            Ok(assembly)
        };
        let ((), assembly) = tokio::try_join!(reading, packing)?;
        let Assembled {
            manifest,
            tickets,
            new_bytes,
        } = assembly.finish().await?;
        drop(writer);
        self.stored(tickets).await?;
        let file_size = manifest.sent();
        let manifest = manifest
            .encode()
            .map_err(|error| UploadError::Unavailable(error.to_string()))?;
        self.commit(&info, created_by, manifest).await?;
        let fraction = |part: u64| {
            if info.nar_size == 0 {
                0.0
            } else {
                ratio(part, info.nar_size)
            }
        };
        Ok(Uploaded {
            deduplicated: new_bytes == 0,
            file_size,
            frac_deduplicated: 1.0 - fraction(new_bytes.min(info.nar_size)),
        })
    }

    async fn commit(
        &self,
        info: &UploadInfo,
        created_by: Option<String>,
        manifest: Vec<u8>,
    ) -> Result<(), UploadError> {
        let record = Record::PathAdded(PathRecord {
            cache: info.cache.clone(),
            path: info.store_path.clone(),
            nar_hash: *info.nar_hash.as_bytes(),
            nar_size: info.nar_size,
            references: info.references.clone(),
            deriver: info.deriver.clone(),
            ca: info.ca.clone(),
            sigs: info.sigs.clone(),
            created_by,
            created_at: (self.clock)().as_millisecond(),
            manifest,
        });
        may_die!("push.before-commit");
        let mut saved = 0;
        loop {
            let committed = stage("commit", self.committer.commit(vec![record.clone()]));
            let committed = tokio::time::timeout(STORED, committed).await;
            return match committed.map_err(|_| slow())? {
                Ok(()) => {
                    may_die!("push.before-answer");
                    Ok(())
                }
                Err(CommitError::Refused(Refusal::NoSuchCache(name))) => Err(UploadError::NoSuchCache(name)),
                Err(CommitError::Refused(Refusal::OtherNarHash { known })) => {
                    self.note_conflict(info, known).await;
                    Err(UploadError::OtherNarHash {
                        known: NarHash::new(known),
                        given: info.nar_hash,
                    })
                }
                Err(CommitError::Refused(Refusal::FramesMissing(missing))) if saved < SAVED => {
                    saved += 1;
                    self.save(&missing).await?;
                    continue;
                }
                Err(CommitError::Refused(Refusal::FramesMissing(_))) => Err(gone()),
                Err(CommitError::Index(error)) => Err(UploadError::Index(error)),
                Err(error) => Err(UploadError::Unavailable(error.to_string())),
            };
        }
    }

    /// Stores frames again that lay in packs which were given up while the upload was under way.
    async fn save(&self, missing: &[Digest]) -> Result<(), UploadError> {
        let mut tickets: BTreeMap<u64, Ticket> = BTreeMap::new();
        for some in missing.chunks(save::PORTION) {
            let frames = save::frames(&self.index, &self.store, some).await;
            let frames = frames.map_err(UploadError::Unavailable)?.ok_or_else(gone)?;
            let ticket = self
                .packer
                .append(&frames)
                .await
                .map_err(UploadError::Unavailable)?;
            tickets.insert(ticket.id(), ticket);
        }
        tracing::info!(
            frames = missing.len(),
            "frames of packs that were given up meanwhile are stored again"
        );
        self.stored(tickets.into_values().collect()).await
    }

    /// Waits until packs are stored and their records queued.
    async fn stored(&self, tickets: Vec<Ticket>) -> Result<(), UploadError> {
        for ticket in &tickets {
            self.packer.want(ticket);
        }
        let stored = async {
            for ticket in tickets {
                ticket.stored().await.map_err(UploadError::Unavailable)?;
            }
            Ok(())
        };
        let stored = tokio::time::timeout(STORED, stored).await;
        stored.unwrap_or_else(|_| Err(slow()))
    }

    /// Notes in the log that the path came with another NAR hash, unless that is known. What cannot be noted is told to
    /// the client all the same.
    async fn note_conflict(&self, info: &UploadInfo, known: [u8; 32]) {
        let given = *info.nar_hash.as_bytes();
        let path = info.store_path.as_str();
        if !matches!(
            self.index.knows_conflict(&info.cache, path, &given).await,
            Ok(false)
        ) {
            return;
        }
        tracing::warn!(path, cache = %info.cache, "a push of another NAR under a known path was refused");
        let record = Record::NarHashConflict {
            cache: info.cache.clone(),
            path: info.store_path.clone(),
            known,
            given,
        };
        let noted = tokio::time::timeout(NOTE, self.committer.commit(vec![record])).await;
        if !matches!(noted, Ok(Ok(()))) {
            tracing::warn!(path, "the conflict could not be noted in the log");
        }
    }
}

fn gone() -> UploadError {
    UploadError::Unavailable("stored data that this NAR shares was lost meanwhile; try again".to_owned())
}

fn slow() -> UploadError {
    UploadError::Unavailable("the bucket did not take the data in time; try again".to_owned())
}

#[expect(clippy::cast_precision_loss, reason = "a fraction for people")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}
