//! Fetches the entries of a window, and checks every frame against the hash that the manifest names.
//!
//! What is missing or wrong becomes a damage record, so that the path counts as missing and the next push heals
//! it; what merely does not answer never does.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use hayloft_index::Index;
use hayloft_store::key::{ObjectKey, PackName};
use hayloft_store::log::record::{DamageRecord, Record};
use hayloft_store::manifest::{Entry, Manifest};
use hayloft_store::object::{ObjectError, SharedStore};
use hayloft_store::read::{Fetch, LONGEST, Wanted, plan};
use hayloft_store::{Digest, frame};
use tokio::sync::Semaphore;
use tracing::Span;

use super::verified::{Assembly, Buffer, Slice, Verified};
use crate::depot::committer::Committer;
use crate::depot::disk_cache::DiskCache;
use crate::depot::error::{ReadError, sentence};
use crate::metrics::{names, stage, stage_sync};

/// Ranges of one window in flight.
const AT_ONCE: usize = 4;
/// Bytes of ranges in flight, over all readers.
const IN_FLIGHT: usize = 64 * 1024 * 1024;
/// How long the log may take to note damage before the reader is answered anyway.
const NOTE: Duration = Duration::from_secs(10);

/// Fetches windows.
pub(super) struct Fetcher {
    index: Index,
    store: SharedStore,
    committer: Committer,
    in_flight: Arc<Semaphore>,
    disk: Option<DiskCache>,
}

/// What a range turned out to hold.
enum Outcome {
    /// The frames by their index in the window.
    Frames(Vec<(usize, Slice)>),
    /// The pack is gone, or is none any more.
    PackLost(PackName),
    /// Frames are not what they were.
    FramesLost(PackName, Vec<Digest>),
}

impl Fetcher {
    pub(super) fn new(
        index: Index,
        store: SharedStore,
        committer: Committer,
        disk: Option<DiskCache>,
    ) -> Self {
        Self {
            index,
            store,
            committer,
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT)),
            disk,
        }
    }

    /// The bytes that stand for these entries, every one verified.
    pub(super) async fn fetch(
        &self,
        manifest: &Arc<Manifest>,
        range: Range<usize>,
    ) -> Result<Verified, ReadError> {
        let entries = manifest.entries().get(range).unwrap_or_default();
        let digests: Vec<Option<Digest>> = entries
            .iter()
            .map(|entry| match entry {
                Entry::Frame { frame, .. } => Some(*frame),
                Entry::Literal(_) => None,
            })
            .collect();
        let mut have: HashMap<usize, Slice> = match &self.disk {
            Some(disk) => {
                let found = stage("disk", disk.get(&digests)).await;
                found
                    .into_iter()
                    .map(|(index, bytes)| (index, Slice::whole(bytes)))
                    .collect()
            }
            None => HashMap::new(),
        };
        let mut damage = DamageRecord::default();
        // A pack may vanish because its frames were moved: then they are looked up once more.
        for again in [false, true] {
            damage = DamageRecord::default();
            let wanted = stage("plan", self.locate(&digests, &have)).await?;
            let mut fetches = stream::iter(plan(wanted))
                .map(|fetch| self.read(fetch, &digests, again))
                .buffer_unordered(AT_ONCE);
            while let Some(outcome) = fetches.next().await {
                match outcome? {
                    Outcome::Frames(frames) => {
                        if let Some(disk) = &self.disk {
                            for (index, frame) in &frames {
                                if let Some(digest) = digests.get(*index).copied().flatten() {
                                    disk.keep(digest, &frame.copied());
                                }
                            }
                        }
                        have.extend(frames);
                    }
                    Outcome::PackLost(pack) => damage.packs.push(pack),
                    Outcome::FramesLost(pack, frames) => {
                        damage
                            .frames
                            .extend(frames.into_iter().map(|frame| (pack, frame)));
                    }
                }
            }
            if damage == DamageRecord::default() {
                break;
            }
        }
        if damage != DamageRecord::default() {
            let found = damage.packs.len() + damage.frames.len();
            metrics::counter!(names::DAMAGE).increment(found as u64);
            self.note(damage).await;
            return Err(ReadError::Damaged);
        }
        assemble(entries, &have)
    }

    /// Where the frames lie that are still needed.
    async fn locate(
        &self,
        digests: &[Option<Digest>],
        have: &HashMap<usize, Slice>,
    ) -> Result<Vec<Wanted>, ReadError> {
        let missing: Vec<(usize, Digest)> = digests
            .iter()
            .enumerate()
            .filter(|(index, _)| !have.contains_key(index))
            .filter_map(|(index, digest)| Some((index, (*digest)?)))
            .collect();
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<Digest> = missing.iter().map(|(_, digest)| *digest).collect();
        let places = self.index.places(&names).await.map_err(|error| {
            ReadError::Unavailable(format!("the index does not answer: {}", sentence(&error)))
        })?;
        missing
            .into_iter()
            .map(|(index, digest)| {
                // A frame that no pack holds is damage that was noted before.
                let place = places.get(&digest).ok_or(ReadError::Damaged)?;
                Ok(Wanted {
                    index,
                    pack: place.pack,
                    offset: place.offset,
                    stored: place.stored,
                })
            })
            .collect()
    }

    /// Reads one range and checks the frames in it. `sure`: this is the second look at something that is wrong.
    async fn read(&self, fetch: Fetch, digests: &[Option<Digest>], sure: bool) -> Result<Outcome, ReadError> {
        let Fetch { pack, range, frames } = fetch;
        let length = range.end.saturating_sub(range.start);
        let share = u32::try_from(length.min(LONGEST)).unwrap_or(u32::MAX);
        let _share = self.in_flight.acquire_many(share).await.map_err(|_| stopping())?;
        let key = ObjectKey::Pack(pack).to_string();
        let bytes = match stage("fetch", self.store.get_range(&key, range.clone())).await {
            Ok(bytes) => bytes,
            Err(ObjectError::NotFound { .. }) => {
                if sure {
                    tracing::error!(%pack, "a pack is missing from the bucket");
                }
                return Ok(Outcome::PackLost(pack));
            }
            Err(error) => return Err(ReadError::Unavailable(sentence(&error))),
        };
        let expected: Vec<(Wanted, Option<Digest>)> = frames
            .into_iter()
            .map(|f| (f, digests.get(f.index).copied().flatten()))
            .collect();
        let useful: u64 = expected.iter().map(|(frame, _)| u64::from(frame.stored)).sum();
        metrics::counter!(names::FETCHED_BYTES).increment(bytes.len() as u64);
        metrics::counter!(names::GAP_BYTES).increment((bytes.len() as u64).saturating_sub(useful));
        let span = Span::current();
        let outcome = tokio::task::spawn_blocking(move || {
            stage_sync("check", &span, || {
                let buffer = Buffer::new(bytes.clone(), usize::try_from(useful).unwrap_or(usize::MAX));
                check(pack, &buffer, &bytes, range.start, expected)
            })
        })
        .await;
        let outcome = outcome.map_err(|_| stopping())?;
        if sure && let Outcome::FramesLost(pack, frames) = &outcome {
            tracing::error!(%pack, frames = frames.len(), "frames in a pack are not what was stored");
        }
        Ok(outcome)
    }

    /// Notes damage in the log.
    async fn note(&self, damage: DamageRecord) {
        let noted = tokio::time::timeout(NOTE, self.committer.commit(vec![Record::Damaged(damage)])).await;
        match noted {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(error = %error, "damage could not be noted"),
            Err(_) => tracing::error!("damage could not be noted in time"),
        }
    }
}

/// Checks the frames in a range that was read.
fn check(
    pack: PackName,
    buffer: &Arc<Buffer>,
    bytes: &Bytes,
    start: u64,
    frames: Vec<(Wanted, Option<Digest>)>,
) -> Outcome {
    let mut good = Vec::with_capacity(frames.len());
    let mut lost = Vec::new();
    for (wanted, digest) in frames {
        let Some(digest) = digest else { continue };
        let from = usize::try_from(wanted.offset.saturating_sub(start)).unwrap_or(usize::MAX);
        let range = from..from.saturating_add(wanted.stored as usize);
        let frame = bytes.get(range.clone()).unwrap_or_default();
        if Digest::of(frame) == digest {
            good.push((wanted.index, buffer.slice(range)));
        } else {
            lost.push(digest);
        }
    }
    if lost.is_empty() {
        Outcome::Frames(good)
    } else {
        Outcome::FramesLost(pack, lost)
    }
}

/// Puts frames and literals together.
fn assemble(entries: &[Entry], have: &HashMap<usize, Slice>) -> Result<Verified, ReadError> {
    let length: u64 = entries.iter().map(Entry::sent).sum();
    let mut assembly = Assembly::default();
    let mut literal = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        match entry {
            Entry::Frame { .. } => {
                // All were fetched; a frame whose length differs from the manifest's has another hash.
                assembly.frame(have.get(&index).ok_or(ReadError::Damaged)?);
            }
            Entry::Literal(bytes) => {
                literal.clear();
                frame::literal(bytes, &mut literal);
                assembly.literal(&literal);
            }
        }
    }
    let verified = assembly.finish();
    if verified.len() as u64 == length {
        Ok(verified)
    } else {
        Err(ReadError::Damaged)
    }
}

fn stopping() -> ReadError {
    ReadError::Unavailable("the gateway is stopping".to_owned())
}
