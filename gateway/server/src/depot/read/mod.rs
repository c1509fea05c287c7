//! Sending a NAR: manifest → windows of output → few large ranges, fetched ahead → every frame checked → bytes.
//!
//! Memory: a window is taken from a budget before it is fetched and given back when it is sent. While the budget
//! is ample windows are large and the next is fetched ahead; when many clients share it they get narrow ones.

mod fetch;
mod handing;
mod verified;
mod window;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use hayloft_index::Index;
use hayloft_nixcache::{CacheName, StorePathHash};
use hayloft_store::Digest;
use hayloft_store::manifest::Manifest;
use hayloft_store::object::SharedStore;
use hayloft_store::read::WINDOW;
use moka::future::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument as _, Span};

use self::fetch::Fetcher;
use self::handing::{Held, portions};
use self::verified::Verified;
use self::window::{Cut, Window};
use super::committer::Committer;
use super::disk_cache::DiskCache;
use super::error::ReadError;
use super::types::NarBody;
use crate::metrics::names;

/// Bytes of windows that all readers may hold together.
const BUDGET: u64 = 192 * 1024 * 1024;
/// With less than this left of it, windows are narrow and nothing is fetched ahead.
const AMPLE: u64 = 96 * 1024 * 1024;
/// A narrow window.
const NARROW: u64 = 1024 * 1024;
/// The budget's unit.
const UNIT: u64 = 1024;
/// How long a reader waits for its turn.
const TURN: Duration = Duration::from_secs(30);

/// Names a window: the same manifest and cut always give the same bytes.
type Key = (Digest, usize, usize);

/// What readers share.
pub(super) struct Reader {
    fetcher: Fetcher,
    index: Index,
    budget: Arc<Semaphore>,
    /// Verified windows. Also sees to it that clients who want the same one at once fetch it once.
    memory: Cache<Key, Verified>,
    /// NARs of more than this many bytes would push everything else out of the memory.
    memorable: u64,
}

/// A NAR that is being sent.
struct Sending {
    reader: Arc<Reader>,
    etag: Digest,
    manifest: Arc<Manifest>,
    cut: Cut,
    /// Fetched ahead, if there was room.
    ahead: Option<(Window, AbortOnDropHandle<Result<Held, ReadError>>)>,
    /// The request, for traces: most of this happens after its answer began.
    request: Span,
}

impl Reader {
    pub(super) fn new(
        index: Index,
        store: SharedStore,
        committer: Committer,
        memory: u64,
        disk: Option<DiskCache>,
    ) -> Arc<Self> {
        let cache = Cache::builder()
            .max_capacity(memory)
            .weigher(|_: &Key, window: &Verified| u32::try_from(window.held() + 128).unwrap_or(u32::MAX))
            .build();
        Arc::new(Self {
            fetcher: Fetcher::new(index.clone(), store, committer, disk),
            index,
            budget: Arc::new(Semaphore::new(
                usize::try_from(BUDGET / UNIT).unwrap_or(usize::MAX),
            )),
            memory: cache,
            memorable: memory / 4,
        })
    }

    /// Begins to send a path's NAR. When it returns, the first window is verified: all of a NAR up to
    /// [`WINDOW`] bytes.
    pub(super) async fn nar(
        self: &Arc<Self>,
        cache: &CacheName,
        hash: &StorePathHash,
        range: Option<Range<u64>>,
    ) -> Result<NarBody, ReadError> {
        let unavailable = |error: &hayloft_index::IndexError| {
            ReadError::Unavailable(format!(
                "the index does not answer: {}",
                super::error::sentence(error)
            ))
        };
        let body = self
            .index
            .manifest(cache, hash)
            .await
            .map_err(|e| unavailable(&e))?;
        let body = body.ok_or(ReadError::Gone)?;
        let etag = Digest::of(&body);
        let manifest = Arc::new(Manifest::decode(&body).map_err(|error| {
            tracing::error!(error = %error, %cache, %hash, "a manifest in the index cannot be read");
            ReadError::Unavailable("the index holds a manifest that cannot be read".to_owned())
        })?);
        drop(body);
        let total = manifest.sent();
        let range = range.unwrap_or(0..total);
        if range.end > total || range.start > range.end {
            return Err(ReadError::Range { length: total });
        }
        let length = range.end - range.start;
        let cut = Cut::new(&manifest, range);
        let mut sending = Sending {
            reader: Arc::clone(self),
            etag,
            manifest,
            cut,
            ahead: None,
            request: Span::current(),
        };
        let first = sending.next().await?;
        let rest = stream::try_unfold(sending, |mut sending| async move {
            let held = sending.next().await?;
            Ok(held.map(|held| (held, sending)))
        });
        let windows = stream::iter(first.map(Ok)).chain(rest);
        let stream: BoxStream<'static, Result<Bytes, ReadError>> = windows.map(portions).flatten().boxed();
        Ok(NarBody {
            length,
            total,
            etag: etag.to_hex(),
            stream,
        })
    }

    /// Fetches a window, or finds it in memory.
    async fn window(
        &self,
        etag: Digest,
        manifest: &Arc<Manifest>,
        window: &Window,
        share: OwnedSemaphorePermit,
    ) -> Result<Held, ReadError> {
        let entries = window.entries.clone();
        let fetch = self.fetcher.fetch(manifest, entries.clone());
        let whole = if manifest.sent() <= self.memorable {
            let key = (etag, entries.start, entries.end);
            let entry = self.memory.entry(key).or_try_insert_with(fetch).await;
            let entry = entry.map_err(|error| (*error).clone())?;
            let found = if entry.is_fresh() { "bucket" } else { "memory" };
            metrics::counter!(names::WINDOWS, "found" => found).increment(1);
            entry.into_value()
        } else {
            metrics::counter!(names::WINDOWS, "found" => "bucket").increment(1);
            fetch.await?
        };
        Ok(Held::new(whole.slice(window.wanted.clone()), share))
    }
}

impl Sending {
    /// The next window's bytes, verified; none at the end.
    async fn next(&mut self) -> Result<Option<Held>, ReadError> {
        let held = match self.ahead.take() {
            Some((_, task)) => match task.await {
                Ok(held) => held?,
                Err(_) => return Err(ReadError::Unavailable("the gateway is stopping".to_owned())),
            },
            None => {
                let limit = if self.ample() { WINDOW } else { NARROW };
                let Some(window) = self.cut.next(&self.manifest, limit) else {
                    return Ok(None);
                };
                let share = Arc::clone(&self.reader.budget).acquire_many_owned(share(&window));
                let Ok(Ok(share)) = tokio::time::timeout(TURN, share).await else {
                    return Err(ReadError::Unavailable(
                        "too many downloads at once; try again".to_owned(),
                    ));
                };
                self.reader
                    .window(self.etag, &self.manifest, &window, share)
                    .instrument(self.request.clone())
                    .await?
            }
        };
        self.fetch_ahead();
        Ok(Some(held))
    }

    fn ample(&self) -> bool {
        self.reader.budget.available_permits() as u64 * UNIT >= AMPLE
    }

    fn fetch_ahead(&mut self) {
        if !self.ample() {
            return;
        }
        let before = self.cut.clone();
        let Some(window) = self.cut.next(&self.manifest, WINDOW) else {
            return;
        };
        let Ok(share) = Arc::clone(&self.reader.budget).try_acquire_many_owned(share(&window)) else {
            self.cut = before;
            return;
        };
        let (reader, manifest, etag) = (Arc::clone(&self.reader), Arc::clone(&self.manifest), self.etag);
        let wanted = window.clone();
        let fetching = async move { reader.window(etag, &manifest, &wanted, share).await };
        let task = tokio::spawn(fetching.instrument(self.request.clone()));
        self.ahead = Some((window, AbortOnDropHandle::new(task)));
    }
}

fn share(window: &Window) -> u32 {
    u32::try_from(window.bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}
