//! What appears in the store. Nix holds `<path>.lock` while it makes a path and removes it once the path is registered; that
//! removal is the sign.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hayloft_nixcache::StorePath;
use notify::event::EventKind;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::{Notify, mpsc};

/// Paths that may wait to be looked at; what comes beyond is found by looking through the store.
const QUEUE: usize = 65_536;
/// How much earlier than the last quiet moment the look through the store begins.
const MARGIN: Duration = Duration::from_secs(60);

/// Why the store cannot be watched.
#[derive(Debug, thiserror::Error)]
pub(super) enum WatchError {
    /// The system does not let us.
    #[error("cannot watch {store}; if it exists, the limit fs.inotify.max_user_watches may be reached")]
    Watch {
        /// The store's folder.
        store: PathBuf,
        /// What the system says.
        source: notify::Error,
    },
}

/// Something that happened.
#[derive(Debug)]
pub(super) enum Seen {
    /// A path appeared, or its build failed.
    Path(StorePath),
    /// Events were lost; these are the paths that are new since the last quiet moment.
    Overflow(Vec<StorePath>),
    /// The watch ended.
    Gone,
}

/// Says that events were lost, also to somebody who waits for them.
#[derive(Default)]
struct Lost {
    some: AtomicBool,
    wake: Notify,
}

impl Lost {
    fn set(&self) {
        self.some.store(true, Ordering::Release);
        self.wake.notify_one();
    }
}

/// The store's events, from the moment of [`Events::watch`] on.
pub(super) struct Events {
    store: PathBuf,
    paths: mpsc::Receiver<PathBuf>,
    lost: Arc<Lost>,
    /// Everything that appeared before this has been seen.
    quiet_at: SystemTime,
    /// A monotone clock beside it, so that no other clock is needed.
    since: tokio::time::Instant,
    _watcher: RecommendedWatcher,
}

impl Events {
    /// Begins to watch. `now` is the time.
    ///
    /// # Errors
    /// The system does not let us.
    pub(super) fn watch(store: &Path, now: SystemTime) -> Result<Events, WatchError> {
        let (send, paths) = mpsc::channel(QUEUE);
        let lost = Arc::new(Lost::default());
        let told = Arc::clone(&lost);
        let failed = |source| WatchError::Watch {
            store: store.to_owned(),
            source,
        };
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else {
                told.set();
                return;
            };
            if event.need_rescan() {
                told.set();
            }
            if !matches!(event.kind, EventKind::Remove(_)) {
                return;
            }
            for path in event.paths {
                if is_lock(&path) && matches!(send.try_send(path), Err(mpsc::error::TrySendError::Full(_))) {
                    told.set();
                }
            }
        })
        .map_err(failed)?;
        watcher
            .watch(store, RecursiveMode::NonRecursive)
            .map_err(failed)?;
        let since = tokio::time::Instant::now();
        Ok(Events {
            store: store.to_owned(),
            paths,
            lost,
            quiet_at: now,
            since,
            _watcher: watcher,
        })
    }

    /// Waits for the next event. May be dropped and called again without losing one.
    pub(super) async fn next(&mut self) -> Seen {
        loop {
            if self.lost.some.swap(false, Ordering::AcqRel) {
                let after = self.quiet_at.checked_sub(MARGIN).unwrap_or(UNIX_EPOCH);
                while self.paths.try_recv().is_ok() {}
                return Seen::Overflow(appeared_after(&self.store, after).unwrap_or_default());
            }
            if self.paths.is_empty() {
                self.quiet_at += self.since.elapsed();
                self.since = tokio::time::Instant::now();
            }
            let path = tokio::select! {
                path = self.paths.recv() => path,
                () = self.lost.wake.notified() => continue,
            };
            let Some(path) = path else { return Seen::Gone };
            if let Some(path) = locked_path(&path) {
                return Seen::Path(path);
            }
        }
    }
}

/// Whether this is the lock of a path that is worth pushing: derivations are not, nor are sources, which everybody fetches
/// from where they come from.
fn is_lock(path: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.strip_suffix(".lock"));
    name.is_some_and(|name| !name.ends_with(".drv") && !name.ends_with("-source"))
}

fn locked_path(lock: &Path) -> Option<StorePath> {
    lock.to_str()?.strip_suffix(".lock")?.parse().ok()
}

/// The store's paths that were made or changed after a moment; Nix sets their modification time, but not that of their inode.
fn appeared_after(store: &Path, moment: SystemTime) -> io::Result<Vec<StorePath>> {
    let seconds = moment
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    let mut found = Vec::new();
    for entry in fs::read_dir(store)? {
        let entry = entry?;
        let path = entry.path();
        let Some(parsed) = path.to_str().and_then(|text| text.parse::<StorePath>().ok()) else {
            continue;
        };
        let name = parsed.name();
        if [".lock", ".drv", ".chroot"].iter().any(|end| name.ends_with(end)) || name == "source" {
            continue;
        }
        // A path that vanished in between is none.
        if entry.metadata().is_ok_and(|facts| facts.ctime() >= seconds) {
            found.push(parsed);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "0123456789abcdfghijklmnpqrsvwxyz";

    #[test]
    fn locks_of_derivations_and_sources_are_passed_over() {
        for (name, wanted) in [
            ("hello.lock", true),
            ("hello.drv.lock", false),
            ("hello", false),
            ("nixpkgs-source.lock", false),
            ("lock", false),
        ] {
            let path = PathBuf::from(format!("/nix/store/{HASH}-{name}"));
            assert_eq!(is_lock(&path), wanted, "{name}");
        }
        let lock = PathBuf::from(format!("/nix/store/{HASH}-hello.lock"));
        assert_eq!(locked_path(&lock).expect("is one").name(), "hello");
    }

    #[tokio::test]
    async fn a_removed_lock_tells_of_its_path() {
        let store = tempfile::tempdir().expect("makes a folder");
        let at = store.path().canonicalize().expect("is there");
        let mut events = Events::watch(&at, UNIX_EPOCH).expect("watches");
        for name in ["a.drv", "b"] {
            let lock = at.join(format!("{HASH}-{name}.lock"));
            fs::write(&lock, "").expect("writes");
            fs::remove_file(&lock).expect("removes");
        }
        let seen = tokio::time::timeout(Duration::from_secs(20), events.next())
            .await
            .expect("is seen");
        assert!(
            matches!(seen, Seen::Path(ref path) if path.name() == "b"),
            "{seen:?}"
        );
    }

    #[tokio::test]
    async fn lost_events_are_made_up_for_by_a_look_through_the_store() {
        let store = tempfile::tempdir().expect("makes a folder");
        let at = store.path().canonicalize().expect("is there");
        let mut events = Events::watch(&at, UNIX_EPOCH).expect("watches");
        for name in ["built", "built.lock", "x.drv"] {
            fs::write(at.join(format!("{HASH}-{name}")), "").expect("writes");
        }
        events.lost.set();
        let Seen::Overflow(found) = events.next().await else {
            panic!("no overflow")
        };
        assert_eq!(found.iter().map(StorePath::name).collect::<Vec<_>>(), ["built"]);
        let later = UNIX_EPOCH + Duration::from_secs(u64::from(u32::MAX));
        assert_eq!(appeared_after(&at, later).expect("reads"), []);
    }
}
