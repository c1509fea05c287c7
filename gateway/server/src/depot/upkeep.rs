//! What the depot does by itself, and what people ask it to do: collecting, noting uses, pins and limits.

use std::sync::Arc;
use std::time::Duration;

use hayloft_index::{IndexError, Merged, Pin};
use hayloft_nixcache::{CacheName, StorePathHash};
use hayloft_store::log::record::Record;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::collect::{CollectError, CollectReport, Listener};
use super::error::DepotError;
use super::fsck::{FsckListener, FsckOptions, FsckReport};
use super::scrub::ScrubError;
use super::{Depot, uses};

/// How often it is looked how many digests are young.
const LOOK_AT_DIGESTS: Duration = Duration::from_secs(30);
/// So many are merged while nothing is pushed: with fewer, each would change a page of its own.
const MANY_DIGESTS: u64 = 1_000_000;
/// So many are merged in any case: the small table shall fit into memory.
const VERY_MANY_DIGESTS: u64 = 4_000_000;
/// Pushes go on between two steps of merging.
const BETWEEN_MERGES: Duration = Duration::from_millis(20);
/// The most paths that one pin names.
const PINNED: usize = 100_000;
/// The longest name of a pin.
const PIN_NAME: usize = 200;

impl Depot {
    /// Starts what is done in the background until the depot is closed.
    pub fn start_upkeep(&self) {
        tokio::spawn(self.clone().learn());
        tokio::spawn(self.clone().merge_digests());
        tokio::spawn(self.clone().note_uses());
        tokio::spawn(self.clone().collect_by_and_by());
        let (scrubber, stop) = (self.inner.scrubber.clone(), self.inner.stop.clone());
        let clock = Arc::clone(&self.inner.clock);
        tokio::spawn(scrubber.run(self.inner.upkeep.scrub, clock, stop));
    }

    /// Reads all hashes into memory: until then, every question goes to the file.
    async fn learn(self) {
        match self.inner.index.learn().await {
            Ok(paths) => tracing::debug!(paths, "the hashes of all paths are in memory"),
            Err(error) => tracing::warn!(error = %error, "the hashes of all paths could not be read"),
        }
        match self.inner.index.learn_digests().await {
            Ok(digests) => tracing::debug!(digests, "the filter of the index's digests is in memory"),
            Err(error) => {
                tracing::warn!(error = %error, "the filter of the index's digests could not be made");
            }
        }
    }

    /// Merges young digests into the index's large table: many of them while nothing is pushed, very many in any case.
    async fn merge_digests(self) {
        let mut before = 0;
        loop {
            tokio::select! {
                () = self.inner.stop.cancelled() => return,
                () = sleep(LOOK_AT_DIGESTS) => {}
            }
            let young = match self.inner.index.young_digests().await {
                Ok(young) => young,
                Err(error) => {
                    tracing::warn!(%error, "the index's young digests could not be counted");
                    continue;
                }
            };
            let due = young >= VERY_MANY_DIGESTS || (young >= MANY_DIGESTS && young == before);
            before = young;
            if due && let Err(error) = self.merge_all_digests().await {
                tracing::warn!(%error, "the index's young digests could not be merged");
            }
        }
    }

    /// In steps, with room for others between them.
    async fn merge_all_digests(&self) -> Result<(), IndexError> {
        let index = &self.inner.index;
        while !self.inner.stop.is_cancelled() {
            match index.merge_digests().await? {
                Merged::Some(_) => sleep(BETWEEN_MERGES).await,
                Merged::All => return Ok(()),
                Merged::NotLearnt => {
                    let digests = index.learn_digests().await?;
                    tracing::debug!(digests, "the filter of the index's digests is in memory");
                }
            }
        }
        Ok(())
    }

    /// Collects once; of `dry_run`, only looks. One collection is under way at a time.
    ///
    /// # Errors
    /// When it did not come to its end; the next one goes on.
    pub async fn collect(
        &self,
        dry_run: bool,
        stop: &CancellationToken,
        listener: &Listener,
    ) -> Result<CollectReport, CollectError> {
        if !dry_run {
            self.inner
                .uses
                .note(&self.inner.index, &self.inner.committer)
                .await;
        }
        Box::pin(self.inner.collector.run(dry_run, stop, listener)).await
    }

    /// Checks the index against the bucket, and what else `options` ask for.
    ///
    /// # Errors
    /// When it did not come to its end. What was noted stays noted.
    pub async fn fsck(
        &self,
        options: FsckOptions,
        stop: &CancellationToken,
        listener: &FsckListener,
    ) -> Result<FsckReport, ScrubError> {
        Box::pin(self.inner.scrubber.check(options, stop, listener)).await
    }

    /// Keeps paths, with all that they refer to, under a name. A pin of that name is replaced.
    ///
    /// # Errors
    /// [`DepotError::NoSuchCache`], [`DepotError::Invalid`] when a path is not there or the name is not one, or when
    /// nothing can be written.
    pub async fn pin(
        &self,
        cache: &CacheName,
        name: &str,
        paths: &[StorePathHash],
        until: Option<jiff::Timestamp>,
    ) -> Result<(), DepotError> {
        if name.is_empty() || name.len() > PIN_NAME || name.chars().any(char::is_control) {
            return Err(DepotError::Invalid(format!(
                "a pin's name has 1 to {PIN_NAME} bytes and no control characters"
            )));
        }
        if paths.is_empty() || paths.len() > PINNED {
            return Err(DepotError::Invalid(format!("a pin names 1 to {PINNED} paths")));
        }
        if self.cache(cache).await?.is_none() {
            return Err(DepotError::NoSuchCache(cache.clone()));
        }
        let missing = self.missing(cache, paths).await?;
        if let Some(first) = missing.first() {
            return Err(DepotError::Invalid(format!(
                "{} of the {} paths are not in cache {cache}, {first} among them: push them first",
                missing.len(),
                paths.len()
            )));
        }
        let mut paths = paths.to_vec();
        paths.sort_unstable();
        paths.dedup();
        self.change(Record::Pinned {
            cache: cache.clone(),
            name: name.to_owned(),
            paths,
            until: until.map(jiff::Timestamp::as_millisecond),
        })
        .await
    }

    /// Takes a pin away. Whether it was there.
    ///
    /// # Errors
    /// [`DepotError::NoSuchCache`], or when nothing can be written.
    pub async fn unpin(&self, cache: &CacheName, name: &str) -> Result<bool, DepotError> {
        let there = self.pins(cache).await?.iter().any(|pin| pin.name == name);
        if there {
            let record = Record::Unpinned {
                cache: cache.clone(),
                name: name.to_owned(),
            };
            self.change(record).await?;
        }
        Ok(there)
    }

    /// The pins of a cache, by name, also those whose time is over.
    ///
    /// # Errors
    /// [`DepotError::NoSuchCache`], or when the index fails.
    pub async fn pins(&self, cache: &CacheName) -> Result<Vec<Pin>, DepotError> {
        if self.cache(cache).await?.is_none() {
            return Err(DepotError::NoSuchCache(cache.clone()));
        }
        self.inner.index.pins(cache).await.map_err(DepotError::Index)
    }

    /// Sets how many bytes a cache may hold; none: any number.
    ///
    /// # Errors
    /// [`DepotError::NoSuchCache`], or when nothing can be written.
    pub async fn limit(&self, cache: &CacheName, max_bytes: Option<u64>) -> Result<(), DepotError> {
        let known = self
            .inner
            .index
            .limit_of(cache)
            .await
            .map_err(DepotError::Index)?;
        if known == max_bytes && self.cache(cache).await?.is_some() {
            return Ok(());
        }
        self.change(Record::CacheLimited {
            name: cache.clone(),
            max_bytes,
        })
        .await
    }

    async fn note_uses(self) {
        loop {
            let pause = uses::EVERY.mul_f64(self.inner.random.jitter());
            if self.pause(pause).await {
                return;
            }
            self.inner
                .uses
                .note(&self.inner.index, &self.inner.committer)
                .await;
        }
    }

    async fn collect_by_and_by(self) {
        let listener: Listener = Arc::new(|stage| tracing::debug!("collecting: {stage}"));
        if let Err(error) = self.inner.collector.note_age().await {
            tracing::debug!(error = %error, "the age of packs was not noted");
        }
        loop {
            let every = self.inner.collector.settings.every;
            if self.pause(every.mul_f64(self.inner.random.jitter())).await {
                return;
            }
            match self.collect(false, &self.inner.stop, &listener).await {
                Ok(report) => tracing::info!(
                    paths = report
                        .caches
                        .iter()
                        .map(|cache| cache.expired.count + cache.over_limit.count)
                        .sum::<u64>(),
                    packs = report.packs.dead.count + report.packs.compacted.count,
                    deleted = report.packs.deleted.count,
                    "collected"
                ),
                Err(CollectError::NotLeading) => {}
                Err(error) => tracing::warn!("collecting did not come to its end: {error}"),
            }
        }
    }

    /// Waits. True: the depot is closed.
    async fn pause(&self, pause: Duration) -> bool {
        tokio::select! {
            () = self.inner.stop.cancelled() => true,
            () = sleep(pause) => false,
        }
    }
}
