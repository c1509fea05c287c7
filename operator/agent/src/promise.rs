//! Whom this host follows: a promise with an end, and the highest term that was ever promised.
//!
//! A coordinator acts only while a majority of agents hold a promise to it, so two of them never act at once. The end is
//! counted by a clock that does not jump; the term outlives a restart, because it fences what a deposed coordinator sends late.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hayloft_api::Generation;
use hayloft_api::agent::HostDesired;
use hayloft_api::question::{PromiseReport, Refusal};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::files;

/// The longest promise: a coordinator that dies must not hold a cluster for longer.
pub const LONGEST: Duration = Duration::from_secs(120);

/// The highest term that was promised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Term {
    epoch: u64,
    instance: String,
    seconds: u32,
}

/// What was promised, and until when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Promise {
    term: Option<Term>,
    until: Option<Instant>,
}

impl Promise {
    /// What is written down when this is, for [`Promise::restored`].
    fn text(&self) -> Vec<u8> {
        serde_json::to_vec(&self.term).unwrap_or_default()
    }

    /// After a restart: how long the promise had still to run is not known, so it runs anew, in full, unless its holder is
    /// known to be gone (`running` is false).
    fn restored(text: &[u8], now: Instant, running: bool) -> Option<Self> {
        let term: Option<Term> = serde_json::from_slice(text).ok()?;
        let until = term
            .as_ref()
            .filter(|term| running && term.seconds > 0)
            .map(|term| now + length(term.seconds));
        Some(Self { term, until })
    }

    /// Who has it, while it runs.
    fn holder(&self, now: Instant) -> Option<(&Term, Instant)> {
        let until = self.until.filter(|until| *until > now)?;
        Some((self.term.as_ref()?, until))
    }

    /// Promises to follow only this coordinator until `seconds` after `now`, or makes that promise longer.
    ///
    /// # Errors
    /// When another's promise runs, or a higher epoch was promised, or this epoch to another instance.
    pub fn ask(&self, now: Instant, epoch: u64, instance: &str, seconds: u32) -> Result<Self, Refusal> {
        if let Some((term, until)) = self.holder(now)
            && (term.instance != instance || term.epoch > epoch)
        {
            return Err(Refusal::Held {
                epoch: term.epoch,
                instance: term.instance.clone(),
                seconds_left: whole_seconds(until - now),
            });
        }
        self.is_over(epoch, instance)?;
        let seconds = seconds.min(whole_seconds(LONGEST));
        Ok(Self {
            term: Some(Term {
                epoch,
                instance: instance.to_owned(),
                seconds,
            }),
            until: Some(now + length(seconds)),
        })
    }

    /// Ends the promise when it is this coordinator's. Its term stays the highest.
    #[must_use]
    pub fn release(&self, epoch: u64, instance: &str) -> Self {
        match &self.term {
            Some(term) if term.epoch == epoch && term.instance == instance => Self {
                term: Some(Term {
                    seconds: 0,
                    ..term.clone()
                }),
                until: None,
            },
            _ => self.clone(),
        }
    }

    /// Whether a desired state of this generation may be followed.
    ///
    /// # Errors
    /// When a promise to another coordinator runs, or its term is over.
    pub fn admits(&self, now: Instant, offered: &Generation) -> Result<(), Refusal> {
        if let Some((term, until)) = self.holder(now)
            && (term.epoch, &term.instance) != (offered.epoch, &offered.instance)
        {
            return Err(Refusal::Held {
                epoch: term.epoch,
                instance: term.instance.clone(),
                seconds_left: whole_seconds(until - now),
            });
        }
        self.is_over(offered.epoch, &offered.instance)
    }

    /// Never below a term that a desired state was followed of: the ledger may know of a later one than was promised.
    #[must_use]
    pub fn at_least(self, followed: Option<&HostDesired>) -> Self {
        let Some(Generation { epoch, instance, .. }) = followed.map(|desired| &desired.generation) else {
            return self;
        };
        if self.term.as_ref().is_some_and(|term| term.epoch >= *epoch) {
            return self;
        }
        Self {
            term: Some(Term {
                epoch: *epoch,
                instance: instance.clone(),
                seconds: 0,
            }),
            until: None,
        }
    }

    fn is_over(&self, epoch: u64, instance: &str) -> Result<(), Refusal> {
        match &self.term {
            Some(term) if term.epoch > epoch || (term.epoch == epoch && term.instance != instance) => {
                Err(Refusal::OldTerm {
                    asked: epoch,
                    promised: term.epoch,
                    instance: term.instance.clone(),
                })
            }
            _ => Ok(()),
        }
    }

    /// How long it still runs, rounded down: who counts on it must not count on more.
    #[must_use]
    pub fn seconds_left(&self, now: Instant) -> u32 {
        let left = self.holder(now).map_or(Duration::ZERO, |(_, until)| until - now);
        u32::try_from(left.as_secs()).unwrap_or(u32::MAX)
    }

    /// As a report tells it.
    #[must_use]
    pub fn report(&self, now: Instant) -> Option<PromiseReport> {
        let term = self.term.as_ref()?;
        Some(PromiseReport {
            epoch: term.epoch,
            instance: term.instance.clone(),
            runs: self.holder(now).is_some(),
        })
    }
}

fn length(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into()).min(LONGEST)
}

/// Rounded up: who waits so long finds it over.
fn whole_seconds(length: Duration) -> u32 {
    let up = length.as_secs() + u64::from(length.subsec_nanos() > 0);
    u32::try_from(up).unwrap_or(u32::MAX)
}

/// A promise that is on disk before anybody hears of it.
#[derive(Debug)]
pub(crate) struct KeptPromise {
    path: PathBuf,
    promise: Promise,
}

impl KeptPromise {
    /// Reads what was promised before. A file that cannot be read is as if nothing was: the ledger's own term fences still.
    pub(crate) fn open(
        dir: &Path,
        now: Instant,
        holder_may_live: bool,
        followed: Option<&HostDesired>,
    ) -> Self {
        let path = dir.join("promise.json");
        let read = std::fs::read(&path).ok();
        let promise = read
            .and_then(|text| Promise::restored(&text, now, holder_may_live))
            .unwrap_or_default();
        Self {
            path,
            promise: promise.at_least(followed),
        }
    }

    pub(crate) fn get(&self) -> &Promise {
        &self.promise
    }

    pub(crate) fn set(&mut self, promise: Promise) -> Result<(), files::WriteError> {
        let text = promise.text();
        if text != self.promise.text() {
            files::replace(&self.path, &text, 0o600)?;
        }
        self.promise = promise;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: u32 = 15;

    fn generation(epoch: u64, instance: &str) -> Generation {
        Generation {
            epoch,
            instance: instance.into(),
            n: 1,
        }
    }

    fn held_by_a() -> (Promise, Instant) {
        let start = Instant::now();
        (Promise::default().ask(start, 3, "a", LEASE).unwrap(), start)
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_refusal_names_the_holder_and_how_long_it_holds() {
        let (promise, start) = held_by_a();
        let refused = promise.ask(after(start, 5), 9, "b", LEASE).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the coordinator a of term 3 leads, for 10 more seconds at least"
        );
    }

    #[test]
    fn a_promise_ends_by_itself_and_not_sooner() {
        let (promise, start) = held_by_a();
        assert!(promise.ask(after(start, 14), 4, "b", LEASE).is_err());
        let other = promise.ask(after(start, 15), 4, "b", LEASE).unwrap();
        let refused = other.ask(after(start, 60), 3, "a", LEASE).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "term 3 is over: 4 was promised to the coordinator b"
        );
    }

    #[test]
    fn its_holder_makes_it_longer_also_in_a_later_term() {
        let (promise, start) = held_by_a();
        let longer = promise.ask(after(start, 10), 3, "a", LEASE).unwrap();
        assert!(longer.ask(after(start, 20), 4, "b", LEASE).is_err());
        let later = longer.ask(after(start, 11), 5, "a", LEASE).unwrap();
        assert!(later.ask(after(start, 12), 3, "a", LEASE).is_err());
    }

    #[test]
    fn no_promise_is_longer_than_two_minutes() {
        let start = Instant::now();
        let promise = Promise::default().ask(start, 1, "a", u32::MAX).unwrap();
        assert!(promise.ask(after(start, 119), 2, "b", LEASE).is_err());
        assert!(promise.ask(after(start, 120), 2, "b", LEASE).is_ok());
    }

    #[test]
    fn a_release_frees_at_once_and_only_by_the_holder() {
        let (promise, start) = held_by_a();
        assert_eq!(promise.release(9, "b"), promise);
        let free = promise.release(3, "a");
        assert!(
            free.ask(start, 3, "b", LEASE).is_err(),
            "a term has one coordinator for ever"
        );
        assert!(free.ask(start, 4, "b", LEASE).is_ok());
    }

    #[test]
    fn only_the_holder_is_followed_while_its_promise_runs() {
        let (promise, start) = held_by_a();
        assert!(promise.admits(start, &generation(3, "a")).is_ok());
        assert!(promise.admits(start, &generation(9, "b")).is_err());
        let late = after(start, 20);
        assert!(promise.admits(late, &generation(9, "b")).is_ok());
        assert!(promise.admits(late, &generation(3, "b")).is_err());
        assert!(promise.admits(late, &generation(2, "a")).is_err());
    }

    #[test]
    fn terms_outlive_a_restart_and_a_promise_runs_anew_unless_its_holder_died_too() {
        let dir = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let mut kept = KeptPromise::open(dir.path(), start, true, None);
        let promise = kept.get().ask(start, 3, "a", LEASE).unwrap();
        kept.set(promise).unwrap();
        let later = after(start, 100);
        let again = KeptPromise::open(dir.path(), later, true, None);
        assert!(again.get().ask(after(later, 14), 4, "b", LEASE).is_err());
        assert!(again.get().ask(after(later, 15), 4, "b", LEASE).is_ok());
        let alone = KeptPromise::open(dir.path(), later, false, None);
        assert!(alone.get().ask(later, 4, "b", LEASE).is_ok());
        assert!(alone.get().ask(later, 2, "b", LEASE).is_err());
    }

    #[test]
    fn what_the_ledger_follows_is_never_undercut() {
        let desired = HostDesired::nothing(generation(7, "x"), "h".parse().unwrap());
        let promise = Promise::default().at_least(Some(&desired));
        assert!(promise.ask(Instant::now(), 6, "b", LEASE).is_err());
        assert!(promise.ask(Instant::now(), 8, "b", LEASE).is_ok());
    }
}
