//! One cache, and the pushes to it: ask the store, ask the cache, upload what is missing in order.

use std::collections::BTreeSet;
use std::error::Error;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use futures::TryStreamExt as _;
use hayloft_nixcache::api::UploadResult;
use hayloft_nixcache::{CacheName, StorePath, StorePathHash};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::nix::dump::{Dump, DumpError};
use super::nix::{LocalStore, PathInfo, StoreError};
use super::plan;
use super::progress::{Meter, Progress};
use super::schedule::Schedule;
use super::summary::{Summary, deduplicated};
use crate::client::gateway::{Gateway, GatewayError};
use crate::client::token::Token;

/// Paths in a row that ran out of tries before the push ends: the gateway is gone, and each further path would wait as long.
const GONE_AFTER: usize = 3;
/// Between two lines that say how far it is.
const TICK: Duration = Duration::from_secs(10);

/// Why nothing could be pushed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PushError {
    /// The gateway did not answer, or said no.
    #[error(transparent)]
    Gateway(GatewayError),
    /// The local store did not answer, or has no such path.
    #[error(transparent)]
    Store(StoreError),
    /// The cache is for another store directory.
    #[error("the cache {cache} is for the store {theirs}, and this path lies in {ours}")]
    OtherStore {
        /// The cache.
        cache: CacheName,
        /// Its store directory.
        theirs: String,
        /// The local one.
        ours: String,
    },
}

/// Why one path could not be pushed.
#[derive(Debug, thiserror::Error)]
enum PathError {
    #[error(transparent)]
    Gateway(GatewayError),
    #[error(transparent)]
    Dump(DumpError),
}

/// A cache to push to.
pub(crate) struct Session {
    gateway: Gateway,
    cache: CacheName,
    upstream: Vec<String>,
    store: LocalStore,
    jobs: NonZeroUsize,
    closure: bool,
}

/// How to push.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choices {
    /// Uploads at the same time.
    pub(crate) jobs: NonZeroUsize,
    /// Whether what the paths refer to is pushed too.
    pub(crate) closure: bool,
    /// Whether paths go up that upstream keys signed.
    pub(crate) ignore_upstream: bool,
}

impl Session {
    /// Asks the gateway for the cache's configuration and goes on where that says. `store` gets the cache's store directory.
    ///
    /// # Errors
    /// The gateway cannot be reached, or there is no such cache for us.
    pub(crate) async fn open(
        gateway: Gateway,
        cache: CacheName,
        mut store: LocalStore,
        choices: Choices,
    ) -> Result<Session, PushError> {
        let config = gateway.cache_config(&cache).await.map_err(PushError::Gateway)?;
        let gateway = gateway.steered(&config).map_err(PushError::Gateway)?;
        if let Some(dir) = config.store_dir {
            store.store_dir = dir;
        }
        let upstream = if choices.ignore_upstream {
            Vec::new()
        } else {
            config.upstream_cache_key_names.unwrap_or_default()
        };
        let Choices {
            jobs,
            closure,
            ignore_upstream: _,
        } = choices;
        Ok(Session {
            gateway,
            cache,
            upstream,
            store,
            jobs,
            closure,
        })
    }

    /// Goes on with another token; one that cannot be sent is passed over.
    pub(crate) fn renew(&mut self, token: &Token) {
        let _ = self.gateway.renew(token);
    }

    /// The local store.
    pub(crate) fn store(&self) -> &LocalStore {
        &self.store
    }

    /// The cache's name.
    pub(crate) fn cache(&self) -> &CacheName {
        &self.cache
    }

    /// Pushes paths. Paths that fail are in the summary; the rest goes on.
    ///
    /// # Errors
    /// Nothing was pushed: the store or the gateway did not say what there is to do.
    pub(crate) async fn push(
        &self,
        roots: &BTreeSet<StorePath>,
        progress: &Progress,
    ) -> Result<Summary, PushError> {
        let began = Instant::now();
        if let Some(other) = roots
            .iter()
            .find(|path| path.store_dir() != self.store.store_dir.as_str())
        {
            return Err(PushError::OtherStore {
                cache: self.cache.clone(),
                theirs: self.store.store_dir.to_string(),
                ours: other.store_dir().to_owned(),
            });
        }
        let asking = progress.working("asking Nix what there is");
        let known = self
            .store
            .known(roots, self.closure)
            .await
            .map_err(PushError::Store)?;
        drop(asking);
        if !known.with_signatures && !self.upstream.is_empty() {
            progress.note("this Nix does not tell who signed a path; nothing is skipped because an upstream cache has it");
        }
        let (wanted, upstream) = plan::without_upstream(known.infos, &self.upstream);
        let hashes: Vec<StorePathHash> = wanted.iter().map(|info| info.path.hash()).collect();
        let asking = progress.working("asking the cache what it lacks");
        let missing = self
            .gateway
            .missing(&self.cache, &hashes)
            .await
            .map_err(PushError::Gateway)?;
        drop(asking);
        let uploads = plan::only_missing(wanted, &missing);
        let mut summary = Summary {
            upstream,
            present: hashes.len() - uploads.len(),
            ..Summary::default()
        };
        if !uploads.is_empty() {
            let progress = progress.begin(&uploads);
            self.upload_all(uploads, &progress, &mut summary).await;
            progress.end();
        }
        summary.took = began.elapsed();
        Ok(summary)
    }

    async fn upload_all(&self, uploads: Vec<PathInfo>, progress: &Progress, summary: &mut Summary) {
        let mut schedule = Schedule::new(&uploads);
        let mut running: JoinSet<(usize, Meter, Result<UploadResult, PathError>)> = JoinSet::new();
        let mut settled = vec![false; uploads.len()];
        let mut gone = 0;
        let mut stop: Option<String> = None;
        let mut ticks = interval_at(Instant::now() + TICK, TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while running.len() < self.jobs.get() {
                let Some(place) = schedule.next() else { break };
                let meter = progress.path(&uploads[place]);
                let upload = upload_one(
                    self.gateway.clone(),
                    self.cache.clone(),
                    uploads[place].clone(),
                    meter.clone(),
                );
                running.spawn(async move { (place, meter, upload.await) });
            }
            let joined = tokio::select! {
                joined = running.join_next() => joined,
                _ = ticks.tick() => {
                    progress.tick();
                    continue;
                }
            };
            // Nothing runs, and nothing is ready: all that can be done is done.
            let Some(joined) = joined else { break };
            let Ok((place, meter, result)) = joined else {
                continue;
            };
            settled[place] = true;
            let info = &uploads[place];
            match result {
                Ok(result) => {
                    gone = 0;
                    schedule.done(place);
                    summary.count(info.nar_size, &result);
                    progress.path_done(info, &meter, &result);
                }
                Err(error) => {
                    let why = chain(&error);
                    progress.path_failed(info, &meter, &why);
                    summary.failed.push(info.path.clone());
                    for referrer in schedule.failed(place) {
                        settled[referrer] = true;
                        summary.held_back.push(uploads[referrer].path.clone());
                    }
                    match &error {
                        PathError::Dump(fault) => {
                            summary.hopeless.push(info.path.clone());
                            if matches!(fault, DumpError::Damaged) {
                                summary.damaged.push(info.path.clone());
                            }
                        }
                        PathError::Gateway(told) if told.concerns_all() => stop = Some(why),
                        PathError::Gateway(told) if told.is_transient() => {
                            gone += 1;
                            if gone >= GONE_AFTER {
                                stop = Some("the gateway is gone".to_owned());
                            }
                        }
                        PathError::Gateway(_) => {}
                    }
                }
            }
            if stop.is_some() {
                break;
            }
        }
        running.shutdown().await;
        // A task that panicked leaves its path unsettled, too.
        let untried: Vec<StorePath> = settled
            .iter()
            .zip(&uploads)
            .filter(|(settled, _)| !**settled)
            .map(|(_, info)| info.path.clone())
            .collect();
        if stop.is_some() || !untried.is_empty() {
            summary.stopped = Some((untried, stop.unwrap_or_else(|| "the push broke off".to_owned())));
        }
    }
}

impl Summary {
    fn count(&mut self, nar_size: u64, result: &UploadResult) {
        self.pushed += 1;
        self.pushed_bytes = self.pushed_bytes.saturating_add(nar_size);
        self.known_bytes = self
            .known_bytes
            .saturating_add(share_of(nar_size, deduplicated(result)));
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the share is between 0 and 1"
)]
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn share_of(bytes: u64, share: f64) -> u64 {
    (bytes as f64 * share) as u64
}

async fn upload_one(
    gateway: Gateway,
    cache: CacheName,
    info: PathInfo,
    meter: Meter,
) -> Result<UploadResult, PathError> {
    let sent = plan::upload_info(&cache, &info);
    let mut backoff = gateway.backoff();
    loop {
        meter.restart();
        let dump = Dump::start(PathBuf::from(info.path.as_str()), info.nar_hash, info.nar_size);
        let fault = dump.fault();
        let counter = meter.clone();
        let counted = dump.inspect_ok(move |piece| counter.add(piece.len()));
        let error = match gateway.upload(&sent, counted, &meter.moved).await {
            Ok(result) => return Ok(result),
            Err(error) => error,
        };
        if let Some(fault) = fault.take() {
            return Err(PathError::Dump(fault));
        }
        gateway
            .pause(info.path.name(), &mut backoff, error)
            .await
            .map_err(PathError::Gateway)?;
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
