//! Paths that could not be pushed and are tried again, later and later, but not for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hayloft_nixcache::StorePath;
use tokio::time::Instant;

/// The first wait; each further one doubles.
const FIRST: Duration = Duration::from_secs(30);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(1800);
/// Tries before a path is given up: with the waits above, about half a day.
const TRIES: u32 = 30;
/// Paths that wait at the same time.
const MOST: usize = 20_000;

/// What waits for another try.
#[derive(Debug, Default)]
pub(super) struct Retries(BTreeMap<StorePath, Waiting>);

#[derive(Debug, Clone, Copy)]
struct Waiting {
    tried: u32,
    /// When it is tried again; nothing while it is being tried.
    due: Option<Instant>,
}

impl Retries {
    /// Notes paths that failed; returns how many are given up.
    pub(super) fn put_off(&mut self, paths: BTreeSet<StorePath>, now: Instant) -> usize {
        let mut given_up = 0;
        for path in paths {
            let tried = self.0.get(&path).map_or(0, |waiting| waiting.tried) + 1;
            if tried >= TRIES || (self.0.len() >= MOST && !self.0.contains_key(&path)) {
                self.0.remove(&path);
                given_up += 1;
                continue;
            }
            let wait = FIRST
                .saturating_mul(1_u32.checked_shl(tried - 1).unwrap_or(u32::MAX))
                .min(LONGEST);
            self.0.insert(
                path,
                Waiting {
                    tried,
                    due: Some(now + wait),
                },
            );
        }
        given_up
    }

    /// Notes paths that are in the cache now.
    pub(super) fn succeeded(&mut self, paths: &BTreeSet<StorePath>) {
        self.0.retain(|path, _| !paths.contains(path));
    }

    /// When the next try is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.values().filter_map(|waiting| waiting.due).min()
    }

    /// Those whose time has come. How often they were tried is remembered.
    pub(super) fn take_due(&mut self, now: Instant) -> BTreeSet<StorePath> {
        // What was taken before and never came back was dropped on purpose.
        self.0.retain(|_, waiting| waiting.due.is_some());
        let mut taken = BTreeSet::new();
        for (path, waiting) in &mut self.0 {
            if waiting.due.is_some_and(|due| due <= now) {
                waiting.due = None;
                taken.insert(path.clone());
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> BTreeSet<StorePath> {
        std::iter::once(
            format!("/nix/store/{}-x", "1".repeat(32))
                .parse()
                .expect("is a path"),
        )
        .collect()
    }

    #[tokio::test]
    async fn waits_grow_and_end() {
        let mut now = Instant::now();
        let mut retries = Retries::default();
        let mut waits = Vec::new();
        while retries.put_off(one(), now) == 0 {
            let due = retries.due().expect("is due some time");
            waits.push(due - now);
            assert!(retries.take_due(now).is_empty(), "not before its time");
            now = due;
            assert_eq!(retries.take_due(now), one());
        }
        assert_eq!(waits[..3], [FIRST, FIRST * 2, FIRST * 4]);
        assert_eq!(waits.last(), Some(&LONGEST));
        assert_eq!(waits.len(), 29);
        assert_eq!(retries.due(), None);
    }

    #[tokio::test]
    async fn success_is_forgotten() {
        let now = Instant::now();
        let mut retries = Retries::default();
        retries.put_off(one(), now);
        retries.succeeded(&one());
        assert_eq!(retries.due(), None);
    }
}
