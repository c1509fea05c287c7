//! The depot: one facade over bucket, log and index. Endpoints see nothing below it.

mod error;
mod types;

pub use error::{BoxError, DepotError, OpenError, ReadError, UploadError};
pub use types::{
    Cache, CachePatch, Clock, DepotConfig, Effects, NarBody, NewCache, NewKey, PathEntry, Uploaded,
};

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use hayloft_nixcache::{CacheName, StorePathHash, UploadInfo};

struct Inner {}

/// All that the gateway stores. Cheap to clone.
#[derive(Clone)]
pub struct Depot {
    inner: Arc<Inner>,
}

fn soon() -> String {
    "the depot is being built".to_owned()
}

impl Depot {
    /// Opens bucket, log and index, takes a new epoch and replays; ready to serve when it returns.
    pub async fn open(config: DepotConfig, effects: Effects) -> Result<Self, OpenError> {
        let _ = (config, effects);
        Ok(Self { inner: Arc::new(Inner {}) })
    }

    /// Flushes what is open and stops the committer.
    pub async fn close(&self) {
        let _ = &self.inner;
    }

    /// Whether it can serve and take uploads: not deposed, and the bucket answered lately.
    pub async fn healthy(&self) -> bool {
        true
    }

    /// The cache of that name.
    pub async fn cache(&self, name: &CacheName) -> Result<Option<Cache>, DepotError> {
        let _ = name;
        Err(DepotError::Unavailable(soon()))
    }

    /// All caches, by name.
    pub async fn caches(&self) -> Result<Vec<Cache>, DepotError> {
        Err(DepotError::Unavailable(soon()))
    }

    /// Makes a cache.
    pub async fn create_cache(&self, new: NewCache) -> Result<(), DepotError> {
        let _ = new;
        Err(DepotError::Unavailable(soon()))
    }

    /// Changes a cache.
    pub async fn configure_cache(&self, name: &CacheName, patch: CachePatch) -> Result<(), DepotError> {
        let _ = (name, patch);
        Err(DepotError::Unavailable(soon()))
    }

    /// Removes a cache with all its paths.
    pub async fn destroy_cache(&self, name: &CacheName) -> Result<(), DepotError> {
        let _ = name;
        Err(DepotError::Unavailable(soon()))
    }

    /// A path of a cache; none when it is not there or is known to be damaged.
    pub async fn path(
        &self,
        cache: &CacheName,
        hash: &StorePathHash,
    ) -> Result<Option<PathEntry>, DepotError> {
        let _ = (cache, hash);
        Err(DepotError::Unavailable(soon()))
    }

    /// Those of `hashes` that the cache does not hold, each once.
    pub async fn missing(
        &self,
        cache: &CacheName,
        hashes: &[StorePathHash],
    ) -> Result<Vec<StorePathHash>, DepotError> {
        let _ = (cache, hashes);
        Err(DepotError::Unavailable(soon()))
    }

    /// Takes a NAR. When it returns `Ok`, the path is durable and visible.
    pub async fn upload<B>(
        &self,
        info: UploadInfo,
        created_by: Option<String>,
        body: B,
    ) -> Result<Uploaded, UploadError>
    where
        B: Stream<Item = Result<Bytes, BoxError>> + Send + Unpin + 'static,
    {
        let _ = (info, created_by, body);
        Err(UploadError::Unavailable(soon()))
    }

    /// The NAR of a path, compressed by zstd.
    pub async fn nar(&self, entry: &PathEntry) -> Result<NarBody, ReadError> {
        self.nar_range(entry, None).await
    }

    /// A range of the compressed bytes of a path's NAR; all of it without `range`.
    pub async fn nar_range(&self, entry: &PathEntry, range: Option<Range<u64>>) -> Result<NarBody, ReadError> {
        let _ = (entry, range);
        Err(ReadError::Unavailable(soon()))
    }
}
