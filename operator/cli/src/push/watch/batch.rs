//! New paths are gathered for a moment, as builds come in bursts and share most of their closures.

use std::collections::BTreeSet;
use std::time::Duration;

use hayloft_nixcache::StorePath;
use tokio::time::Instant;

/// A batch goes when nothing new came for this long,
const IDLE: Duration = Duration::from_secs(2);
/// or when its first path is this old,
const OLDEST: Duration = Duration::from_secs(10);
/// or when it holds so many.
const FULL: usize = 1_000;

/// Paths that wait to be pushed together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    paths: BTreeSet<StorePath>,
    times: Option<(Instant, Instant)>,
}

impl Batch {
    /// Adds a path that appeared.
    pub(super) fn add(&mut self, path: StorePath, now: Instant) {
        self.paths.insert(path);
        let first = self.times.map_or(now, |(first, _)| first);
        self.times = Some((first, now));
    }

    /// When the batch goes; nothing while it is empty.
    pub(super) fn due(&self) -> Option<Instant> {
        let (first, last) = self.times?;
        if self.paths.len() >= FULL {
            Some(first)
        } else {
            Some((last + IDLE).min(first + OLDEST))
        }
    }

    /// Takes the paths out.
    pub(super) fn take(&mut self) -> BTreeSet<StorePath> {
        self.times = None;
        std::mem::take(&mut self.paths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(number: usize) -> StorePath {
        format!("/nix/store/{number:032}-x").parse().expect("is a path")
    }

    #[tokio::test]
    async fn a_batch_goes_after_a_quiet_moment_but_not_later_than_ten_seconds() {
        let start = Instant::now();
        let mut batch = Batch::default();
        assert_eq!(batch.due(), None);
        batch.add(path(1), start);
        assert_eq!(batch.due(), Some(start + IDLE));
        for second in 1..12 {
            batch.add(
                path(second),
                start + Duration::from_secs(second.try_into().expect("fits")),
            );
        }
        assert_eq!(batch.due(), Some(start + OLDEST));
        assert_eq!(batch.take().len(), 11);
        assert_eq!(batch.due(), None);
    }

    #[tokio::test]
    async fn a_full_batch_goes_at_once() {
        let now = Instant::now();
        let mut batch = Batch::default();
        for number in 0..FULL {
            batch.add(path(number), now);
        }
        assert_eq!(batch.due(), Some(now));
    }
}
