//! The depot: one facade over bucket, log and index. Endpoints see nothing below it.

mod backoff;
mod caches;
mod candidate;
mod checkpoint;
mod claim;
mod collect;
mod committer;
mod disk_cache;
mod dying;
mod error;
mod fleet;
mod follow;
mod forward;
mod fsck;
mod health;
mod ingest;
mod narinfos;
mod office;
mod opening;
mod pace;
mod packer;
mod random;
mod read;
mod role;
mod save;
mod scrub;
mod succession;
#[cfg(test)]
mod tests;
mod types;
mod upkeep;
mod uses;

pub use collect::{
    Amount, Bytes as ByteCount, CacheReport, CollectError, CollectReport, CollectSettings, Listener,
    PackReport, Stage,
};
pub use error::{BoxError, DepotError, OpenError, ReadError, UploadError};
pub use fleet::{Fleet, LinkFiles, LinkTls, Naming, PeerConfig, Rule, TlsError};
pub use fsck::{FsckListener, FsckOptions, FsckReport};
pub use scrub::{ScrubError, ScrubSettings};
pub use succession::Rebuilt;
pub use types::{
    Cache, CachePatch, Clock, DepotConfig, Effects, NarBody, NewCache, NewKey, PathEntry, Upkeep, Uploaded,
};

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use hayloft_index::{Index, StoredPath};
use hayloft_nixcache::{CacheName, StorePathHash, UploadInfo};
use hayloft_store::cluster_key::ClusterKey;
use hayloft_store::commit::Refusal;
use hayloft_store::log::record::Record;
use hayloft_store::object::SharedStore;
use hayloft_store::object::s3::S3Store;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use self::caches::Caches;
use self::checkpoint::Writer;
use self::collect::Collector;
use self::committer::{CommitError, Committer, State};
use self::disk_cache::DiskCache;
use self::health::Health;
use self::ingest::Ingest;
use self::narinfos::Narinfos;
use self::opening::{Opened, Opening};
pub(crate) use self::pace::Pace;
use self::packer::Packer;
use self::random::Random;
use self::read::Reader;
use self::scrub::Scrubber;
use self::uses::Uses;

const INDEX_FILE: &str = "index.sqlite";
/// The folder of frames on disk.
const FRAMES: &str = "frames";
/// How long closing waits for what is in flight.
const CLOSING: Duration = Duration::from_secs(6);
/// How long closing waits until it is noted what was asked for.
const NOTING: Duration = Duration::from_secs(1);
/// How long a change of a cache may take.
const CHANGE: Duration = Duration::from_secs(60);

struct Inner {
    index: Index,
    caches: Arc<Caches>,
    committer: Committer,
    ingest: Ingest,
    reader: Arc<Reader>,
    narinfos: Narinfos,
    uses: Arc<Uses>,
    collector: Collector,
    scrubber: Scrubber,
    upkeep: Upkeep,
    health: Health,
    fleet: Option<Fleet>,
    random: Arc<Random>,
    clock: Clock,
    stop: CancellationToken,
    checkpoints: Writer,
    committing: Mutex<Option<JoinHandle<()>>>,
    _packing: AbortOnDropHandle<()>,
}

/// All that the gateway stores. Cheap to clone.
#[derive(Clone)]
pub struct Depot {
    inner: Arc<Inner>,
}

impl Depot {
    /// Opens bucket, log and index, takes a new epoch and replays; ready to serve when it returns.
    ///
    /// # Errors
    /// When the bucket does not answer or cannot be followed, or another gateway took over meanwhile.
    pub async fn open(config: DepotConfig, effects: Effects) -> Result<Self, OpenError> {
        let store: SharedStore = Arc::new(S3Store::following(config.s3.clone()));
        Self::open_among(
            store,
            &config.state_dir,
            &config.key,
            config.memory,
            config.upkeep,
            None,
            effects,
        )
        .await
    }

    /// Opens the depot of one of several gateways on a bucket: as the committer when it is named that, else as a follower.
    /// Ready to serve when it returns.
    ///
    /// # Errors
    /// When the bucket does not answer or cannot be followed.
    pub async fn open_in_fleet(
        config: DepotConfig,
        fleet: Fleet,
        effects: Effects,
    ) -> Result<Self, OpenError> {
        let store: SharedStore = Arc::new(S3Store::following(config.s3.clone()));
        let DepotConfig {
            state_dir,
            key,
            memory,
            upkeep,
            ..
        } = config;
        Self::open_among(store, &state_dir, &key, memory, upkeep, Some(fleet), effects).await
    }

    /// As [`Depot::open`], on any bucket.
    #[cfg(test)]
    pub(crate) async fn open_on(
        store: SharedStore,
        state_dir: &Path,
        key: &ClusterKey,
        memory: u64,
        upkeep: Upkeep,
        effects: Effects,
    ) -> Result<Self, OpenError> {
        Self::open_among(store, state_dir, key, memory, upkeep, None, effects).await
    }

    /// As [`Depot::open_in_fleet`], on any bucket; without a fleet it is alone.
    pub(crate) async fn open_among(
        store: SharedStore,
        state_dir: &Path,
        key: &ClusterKey,
        memory: u64,
        upkeep: Upkeep,
        fleet: Option<Fleet>,
        effects: Effects,
    ) -> Result<Self, OpenError> {
        let Effects { clock, seed } = effects;
        let random = Arc::new(Random::new(seed));
        let signer = key.log_signer().map_err(OpenError::Key)?;
        let caches = Arc::new(Caches::new(key.sealer().map_err(OpenError::Key)?));
        succession::make_state_dir(state_dir).await?;
        let stop = CancellationToken::new();
        let opening = Opening {
            store: Arc::clone(&store),
            state_dir,
            signer: Arc::new(signer),
            caches: Arc::clone(&caches),
            random: Arc::clone(&random),
            fleet: fleet.clone(),
            stop: stop.clone(),
        };
        let Opened {
            index,
            committer,
            task,
            checkpoints,
        } = Box::pin(opening.open()).await?;
        let packer = Packer::new(Arc::clone(&store), committer.clone(), Arc::clone(&random));
        let packing = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&packer).run()));
        let ingest = Ingest::new(
            index.clone(),
            Arc::clone(&caches),
            packer,
            committer.clone(),
            Arc::clone(&clock),
            Arc::clone(&store),
        );
        let disk = disk_cache(state_dir, upkeep.disk).await;
        let reader = Reader::new(index.clone(), Arc::clone(&store), committer.clone(), memory, disk);
        let uses = Arc::new(Uses::new(Arc::clone(&clock)));
        let collector = Collector {
            index: index.clone(),
            store: Arc::clone(&store),
            committer: committer.clone(),
            uses: Arc::clone(&uses),
            random: Arc::clone(&random),
            clock: Arc::clone(&clock),
            settings: upkeep.collect,
            pace: Pace::new(upkeep.collect.max_rate),
            under_way: Mutex::default(),
        };
        let scrubber = Scrubber {
            index: index.clone(),
            store: Arc::clone(&store),
            committer: committer.clone(),
        };
        let inner = Inner {
            index,
            caches,
            health: Health::new(store, committer.clone()),
            fleet,
            committer,
            ingest,
            reader,
            narinfos: Narinfos::new(),
            uses,
            collector,
            scrubber,
            upkeep,
            random,
            clock,
            stop,
            committing: Mutex::new(Some(task)),
            checkpoints,
            _packing: packing,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Orders what is still queued, stops the committer and closes the index. Uploads that have not ended fail.
    pub async fn close(&self) {
        let noted = self.inner.uses.note(&self.inner.index, &self.inner.committer);
        // What is not noted is what was asked for in the last minutes: it counts as asked for a little earlier.
        let _ = tokio::time::timeout(NOTING, noted).await;
        self.inner.stop.cancel();
        if let Some(committing) = self.inner.committing.lock().await.take() {
            let abort = committing.abort_handle();
            if tokio::time::timeout(CLOSING, committing).await.is_err() {
                // What is in flight was not acknowledged; the next start counts it or not.
                abort.abort();
            }
        }
        self.inner.index.close().await;
    }

    /// Writes a checkpoint of the index to the bucket, so that a gateway without one need not apply the whole log. The
    /// committer does so by itself now and then.
    ///
    /// # Errors
    /// When the bucket does not take it, or there is no room for a snapshot in the state folder.
    pub async fn write_checkpoint(&self) -> Result<(), BoxError> {
        self.inner.checkpoints.write().await?;
        Ok(())
    }

    /// Whether it can serve and take uploads: not deposed, and the bucket answered lately.
    pub async fn healthy(&self) -> bool {
        self.inner.health.well().await
    }

    /// Whether the log holds something that this gateway cannot follow. It serves what it has.
    pub fn is_stuck(&self) -> bool {
        self.inner.committer.state() == State::Stuck
    }

    /// The other gateways that cannot be reached by the link. Takes up to a second when there are some.
    pub async fn lost_links(&self) -> Vec<String> {
        match &self.inner.fleet {
            Some(fleet) => fleet.lost().await,
            None => Vec::new(),
        }
    }

    /// Whether another gateway took over writing to the bucket. From then on nothing is written here.
    pub fn is_deposed(&self) -> bool {
        self.inner.committer.state() == State::Deposed
    }

    /// Waits until another gateway takes over writing to the bucket, which is noticed at once by a gateway that writes
    /// and within half a minute by an idle one.
    pub async fn deposed(&self) {
        self.inner.committer.deposed().await;
    }

    /// The cache of that name.
    ///
    /// # Errors
    /// None today; the index may fail one day.
    pub async fn cache(&self, name: &CacheName) -> Result<Option<Cache>, DepotError> {
        Ok(self.inner.caches.all().get(name).cloned())
    }

    /// All caches, by name.
    ///
    /// # Errors
    /// None today; the index may fail one day.
    pub async fn caches(&self) -> Result<Vec<Cache>, DepotError> {
        Ok(self.inner.caches.all().values().cloned().collect())
    }

    /// Makes a cache.
    ///
    /// # Errors
    /// [`DepotError::CacheExists`], or when nothing can be written.
    pub async fn create_cache(&self, new: NewCache) -> Result<(), DepotError> {
        let record = self
            .inner
            .caches
            .create(new, (self.inner.clock)(), &self.inner.random)?;
        self.change(Record::CacheCreated(record)).await
    }

    /// Changes a cache.
    ///
    /// # Errors
    /// [`DepotError::NoSuchCache`], or when nothing can be written.
    pub async fn configure_cache(&self, name: &CacheName, patch: CachePatch) -> Result<(), DepotError> {
        let caches = self.inner.caches.all();
        let cache = caches
            .get(name)
            .ok_or_else(|| DepotError::NoSuchCache(name.clone()))?;
        let record = self.inner.caches.configure(cache, patch, &self.inner.random)?;
        self.change(Record::CacheConfigured(record)).await
    }

    /// Removes a cache with all its paths.
    ///
    /// # Errors
    /// [`DepotError::NoSuchCache`], or when nothing can be written.
    pub async fn destroy_cache(&self, name: &CacheName) -> Result<(), DepotError> {
        self.change(Record::CacheDestroyed(name.clone())).await
    }

    /// A path of a cache; none when it is not there or is known to be damaged.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn path(
        &self,
        cache: &CacheName,
        hash: &StorePathHash,
    ) -> Result<Option<PathEntry>, DepotError> {
        let found = self.stored(cache, hash).await?;
        Ok(found.map(|path| PathEntry::new(cache.clone(), *hash, &path)))
    }

    /// The narinfo of a path, signed with the cache's key of now; none when it is not there or is known to be damaged.
    ///
    /// # Errors
    /// When the index fails, or the key cannot sign.
    pub async fn narinfo(&self, cache: &Cache, hash: &StorePathHash) -> Result<Option<Bytes>, DepotError> {
        let Some(path) = self.stored(&cache.name, hash).await? else {
            return Ok(None);
        };
        let narinfo = self.inner.narinfos.of(cache, hash, path);
        narinfo
            .map(Some)
            .map_err(|error| DepotError::Unavailable(error.to_string()))
    }

    async fn stored(
        &self,
        cache: &CacheName,
        hash: &StorePathHash,
    ) -> Result<Option<Arc<StoredPath>>, DepotError> {
        let found = self.inner.index.whole_path(cache, hash).await;
        let found = found.map_err(DepotError::Index)?;
        if found.is_some() {
            self.inner.uses.used(cache, [hash]);
        }
        Ok(found)
    }

    /// Those of `hashes` that the cache does not hold, each once, in their order.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn missing(
        &self,
        cache: &CacheName,
        hashes: &[StorePathHash],
    ) -> Result<Vec<StorePathHash>, DepotError> {
        let mut seen: HashSet<StorePathHash> = self
            .inner
            .index
            .present(cache, hashes)
            .await
            .map_err(DepotError::Index)?;
        // Whoever is told that a path is here counts on it.
        self.inner.uses.used(cache, &seen);
        Ok(hashes.iter().copied().filter(|hash| seen.insert(*hash)).collect())
    }

    /// Takes a NAR. When it returns `Ok`, the path is durable and visible. `info` must have been validated.
    ///
    /// # Errors
    /// When the NAR is not what was announced, or cannot be stored; then nothing of the path is visible.
    pub async fn upload<B>(
        &self,
        info: UploadInfo,
        created_by: Option<String>,
        body: B,
    ) -> Result<Uploaded, UploadError>
    where
        B: Stream<Item = Result<Bytes, BoxError>> + Send + Unpin + 'static,
    {
        let (cache, hash) = (info.cache.clone(), info.store_path.hash());
        let uploaded = Box::pin(self.inner.ingest.upload(info, created_by, body)).await;
        // What is new is as good as asked for; what was there already was not noted as pushed again.
        if matches!(&uploaded, Ok(uploaded) if uploaded.deduplicated) {
            self.inner.uses.used(&cache, [&hash]);
        }
        uploaded
    }

    /// The NAR of a path, compressed by zstd. Up to 8 MiB are verified before it returns, and everything before
    /// it is sent.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] and [`ReadError::Gone`] when it is not there, [`ReadError::Unavailable`] when it
    /// may be there later.
    pub async fn nar(&self, entry: &PathEntry) -> Result<NarBody, ReadError> {
        self.nar_range(entry, None).await
    }

    /// A range of the compressed bytes of a path's NAR; all of it without `range`. Offsets mean the body whose
    /// entity tag the answer carries.
    ///
    /// # Errors
    /// As [`Depot::nar`], and [`ReadError::Range`].
    pub async fn nar_range(
        &self,
        entry: &PathEntry,
        range: Option<Range<u64>>,
    ) -> Result<NarBody, ReadError> {
        Box::pin(self.inner.reader.nar(&entry.cache, &entry.hash, range)).await
    }

    async fn change(&self, record: Record) -> Result<(), DepotError> {
        let committed = tokio::time::timeout(CHANGE, self.inner.committer.commit(vec![record])).await;
        match committed {
            Ok(Ok(())) => Ok(()),
            Ok(Err(CommitError::Refused(Refusal::CacheExists(name)))) => Err(DepotError::CacheExists(name)),
            Ok(Err(CommitError::Refused(Refusal::NoSuchCache(name)))) => Err(DepotError::NoSuchCache(name)),
            Ok(Err(CommitError::Refused(refusal))) => Err(DepotError::Invalid(refusal.to_string())),
            Ok(Err(CommitError::Index(error))) => Err(DepotError::Index(error)),
            Ok(Err(CommitError::Said(reason))) => Err(DepotError::Invalid(reason)),
            Ok(Err(
                error @ (CommitError::Deposed
                | CommitError::Vacant
                | CommitError::Struggling
                | CommitError::Stopped
                | CommitError::NotReadable),
            )) => Err(DepotError::Unavailable(error.to_string())),
            Err(_) => Err(DepotError::Unavailable(
                "the bucket did not take the change in time; it may still come true".to_owned(),
            )),
        }
    }
}

/// The frames on disk; none when none are to be kept, or the folder cannot be used: reads go to the bucket then.
async fn disk_cache(state_dir: &Path, size: u64) -> Option<DiskCache> {
    let folder = state_dir.join(FRAMES);
    if size == 0 {
        // What an earlier configuration kept.
        let _ = tokio::fs::remove_dir_all(&folder).await;
        return None;
    }
    match DiskCache::open(&folder, size).await {
        Ok(cache) => Some(cache),
        Err(error) => {
            tracing::warn!(%error, folder = %folder.display(), "no frames are kept on disk");
            None
        }
    }
}

/// Brings the index in the state folder to what the bucket holds, without taking office: for a look at a bucket, or a
/// test of a backup. It goes on from the index that is there, or from a checkpoint; `from_log`: from nothing, with the
/// log alone, and the index that is there stays until that is done. One that is cut off goes on where it was. A depot that opens does the same by itself when its index is missing or wrong.
///
/// # Errors
/// When the bucket does not answer or cannot be followed.
pub async fn rebuild(config: &DepotConfig, from_log: bool) -> Result<Rebuilt, OpenError> {
    let store: SharedStore = Arc::new(S3Store::following(config.s3.clone()));
    let signer = config.key.log_signer().map_err(OpenError::Key)?;
    succession::make_state_dir(&config.state_dir).await?;
    succession::rebuild(store, &signer, &config.state_dir.join(INDEX_FILE), from_log).await
}
