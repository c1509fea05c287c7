//! `hayloft push --watch-store`: pushes what gets built, until it is told to end. No path, however bad, ends it.

mod batch;
mod events;
mod retries;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use hayloft_nixcache::{CacheName, StorePath};
use tokio::time::Instant;

use self::batch::Batch;
use self::events::{Events, Seen};
use self::retries::Retries;
use super::nix::{LocalStore, StoreError};
use super::progress::Progress;
use super::session::{Choices, PushError, Session, chain};
use crate::client::gateway::Gateway;
use crate::client::token::Token;
use crate::signals::Interrupts;

/// The wait after the gateway could not be asked for the cache's configuration.
const REOPEN: Duration = Duration::from_secs(30);

/// What a watch needs.
pub(super) struct Watch<'a> {
    /// The gateway to push to.
    pub(super) gateway: Gateway,
    /// The cache to push to.
    pub(super) cache: CacheName,
    /// The store to watch.
    pub(super) store: LocalStore,
    /// How to push.
    pub(super) choices: Choices,
    /// The time now.
    pub(super) began: SystemTime,
    /// Looks for the token again: a watch may outlive the one it began with.
    pub(super) token: &'a (dyn Fn() -> Option<Token> + Sync),
}

/// Watches the store and pushes.
///
/// # Errors
/// The store cannot be watched, or the first question to the gateway is refused for good.
pub(super) async fn run(
    watch: Watch<'_>,
    progress: &Progress,
    interrupts: &mut Interrupts,
) -> anyhow::Result<()> {
    let Watch {
        gateway,
        cache,
        store,
        choices,
        began,
        token,
    } = watch;
    let mut events = Events::watch(Path::new(store.store_dir.as_str()), began)?;
    let mut session = tokio::select! {
        session = open(gateway, cache, store, choices, progress) => session?,
        () = interrupts.next() => return Ok(()),
    };
    progress.note(&format!(
        "watching {}; what gets built is pushed to {}",
        session.store().store_dir,
        session.cache()
    ));
    let mut batch = Batch::default();
    let mut retries = Retries::default();
    loop {
        let wake = [batch.due(), retries.due()].into_iter().flatten().min();
        tokio::select! {
            () = interrupts.next() => return Ok(()),
            seen = events.next() => match seen {
                Seen::Path(path) => batch.add(path, Instant::now()),
                Seen::Overflow(found) => {
                    progress.note("more was built at once than could be followed; looking through the store");
                    for path in found {
                        batch.add(path, Instant::now());
                    }
                }
                Seen::Gone => anyhow::bail!("the store {} cannot be watched any more", session.store().store_dir),
            },
            () = sleep_until(wake) => {
                let now = Instant::now();
                let mut paths = retries.take_due(now);
                if batch.due().is_some_and(|due| due <= now) {
                    paths.append(&mut batch.take());
                }
                if let Some(token) = token() {
                    session.renew(&token);
                }
                tokio::select! {
                    () = push(&session, paths, &mut retries, progress) => {}
                    () = interrupts.next() => return Ok(()),
                }
            }
        }
    }
}

/// Opens the session; a gateway that is away is waited for, as a machine may boot before its network is up.
async fn open(
    gateway: Gateway,
    cache: CacheName,
    store: LocalStore,
    choices: Choices,
    progress: &Progress,
) -> Result<Session, PushError> {
    loop {
        match Session::open(gateway.clone(), cache.clone(), store.clone(), choices).await {
            Err(PushError::Gateway(error)) if error.is_transient() => {
                progress.complain(&format!("{}; trying again", chain(&error)));
                tokio::time::sleep(REOPEN).await;
            }
            other => return other,
        }
    }
}

async fn push(session: &Session, mut paths: BTreeSet<StorePath>, retries: &mut Retries, progress: &Progress) {
    // A build that failed removes its lock as well; its outputs are not valid and nobody wants them.
    match session.store().invalid(&paths).await {
        Ok(invalid) => paths.retain(|path| !invalid.contains(path)),
        Err(error) => return put_off(retries, paths, &chain(&error), progress),
    }
    while !paths.is_empty() {
        match session.push(&paths, progress).await {
            Ok(summary) => {
                if summary.pushed > 0 {
                    progress.note(&summary.line(session.cache().as_str()));
                }
                if let Some(complaint) = summary.complaint() {
                    progress.complain(&complaint);
                }
                if summary.is_whole() {
                    retries.succeeded(&paths);
                } else {
                    paths.retain(|path| !summary.hopeless.contains(path));
                    retries.put_off(paths, Instant::now());
                }
                return;
            }
            // One path that was collected in between must not hold up the others.
            Err(PushError::Store(StoreError::NotValid { path }))
                if paths.iter().any(|known| known.as_str() == path) =>
            {
                paths.retain(|known| known.as_str() != path);
            }
            Err(error) => return put_off(retries, paths, &chain(&error), progress),
        }
    }
}

fn put_off(retries: &mut Retries, paths: BTreeSet<StorePath>, why: &str, progress: &Progress) {
    let count = paths.len();
    let dropped = retries.put_off(paths, Instant::now());
    progress.complain(&format!(
        "{why}; trying {} of {count} paths again later",
        count - dropped.min(count)
    ));
}

async fn sleep_until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}
