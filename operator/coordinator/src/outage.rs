//! How long nobody reached a quorum while all Garages restarted with new secrets, measured from outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use hayloft_garage::admin::Client;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How often every member is asked. The question costs it next to nothing: it needs no token.
const EVERY: Duration = Duration::from_millis(50);
/// One that does not answer by then is not there.
const WITHIN: Duration = Duration::from_millis(500);
/// All follow and reach a quorum for so long: whoever restarted did so before the first look.
const CALM: Duration = Duration::from_secs(3);
/// Whatever has not come back by then is told of by the conditions.
const AT_LONGEST: Duration = Duration::from_secs(120);

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Measured {
    /// Milliseconds for which no member reached a write quorum of every partition.
    pub(crate) down_ms: u64,
    /// Milliseconds until all members that were told had restarted and reached a quorum again; `None`: not all did in
    /// time.
    pub(crate) all_ms: Option<u64>,
}

impl Measured {
    /// As a sentence.
    pub(crate) fn words(self) -> String {
        let seconds =
            |ms: u64| SignedDuration::from_millis(i64::try_from(ms).unwrap_or(i64::MAX)).as_secs_f64();
        let down = seconds(self.down_ms);
        match self.all_ms {
            Some(all) => format!(
                "all members had restarted with the new secrets {:.1} s after they were told; for {down:.1} s of that no member \
                 reached a quorum",
                seconds(all)
            ),
            None => format!(
                "no member reached a quorum for {down:.1} s while they restarted with the new secrets, and not all are back"
            ),
        }
    }
}

/// How a measurement ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All were seen to go, or it took too long.
    Measured(Measured),
    /// All are there with the new secrets, and someone restarted before anybody looked.
    Missed,
}

/// What one look ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looked {
    /// Someone is still to go, or to come back.
    On,
    /// All have been away and are back.
    Back,
    /// All are there, for long enough to know that nobody has yet to go.
    Calm,
}

/// Looks at who reaches a quorum, put together. Pure.
#[derive(Debug, Default)]
struct Tally {
    /// Since when all follow and reach a quorum.
    calm: Option<Duration>,
    /// Members that were seen without one: only then their answer is that of the new process.
    went: Vec<bool>,
    last: Duration,
    down: Duration,
}

impl Tally {
    /// Takes in one look, so long after the switch; `follow`: every member has written down that the new secrets are in
    /// use.
    fn look(&mut self, at: Duration, reach: &[bool], follow: bool) -> Looked {
        self.went.resize(reach.len(), false);
        for (went, reaches) in self.went.iter_mut().zip(reach) {
            *went |= !reaches;
        }
        if !reach.iter().any(|reaches| *reaches) {
            // It was so since some moment after the look before: that is counted in full.
            self.down += at.saturating_sub(self.last);
        }
        self.last = at;
        if !reach.iter().all(|reaches| *reaches) {
            self.calm = None;
            return Looked::On;
        }
        if self.went.iter().all(|went| *went) {
            return Looked::Back;
        }
        if !follow {
            return Looked::On;
        }
        let calm = *self.calm.get_or_insert(at);
        if at.saturating_sub(calm) < CALM {
            Looked::On
        } else {
            Looked::Calm
        }
    }
}

/// A measurement that goes on beside the rounds.
#[derive(Debug)]
pub(crate) struct Outage {
    task: JoinHandle<Outcome>,
    follow: Arc<AtomicBool>,
}

impl Outage {
    /// Begins to look, before members are told.
    pub(crate) fn watch(members: Vec<Client>) -> Self {
        let follow = Arc::new(AtomicBool::new(false));
        Self {
            task: tokio::spawn(watch(members, Arc::clone(&follow))),
            follow,
        }
    }

    /// Every member says that it has written down the new secrets as those in use: a restart is under way or over.
    pub(crate) fn all_follow(&self) {
        self.follow.store(true, Ordering::Relaxed);
    }

    /// How it ended, once all are back or it took too long.
    pub(crate) async fn ended(&mut self) -> Option<Outcome> {
        if !self.task.is_finished() {
            return None;
        }
        (&mut self.task).await.ok()
    }
}

impl Drop for Outage {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(members: Vec<Client>, follow: Arc<AtomicBool>) -> Outcome {
    let began = Instant::now();
    let mut tally = Tally::default();
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    loop {
        every.tick().await;
        let asked = members.iter().map(|member| async move {
            tokio::time::timeout(WITHIN, member.reaches_quorum()).await == Ok(true)
        });
        let reach = join_all(asked).await;
        let at = began.elapsed();
        tracing::trace!(?reach, after = ?at, "who reaches a quorum");
        let all_ms = match tally.look(at, &reach, follow.load(Ordering::Relaxed)) {
            Looked::Calm => return Outcome::Missed,
            Looked::Back => Some(millis(at)),
            Looked::On if at > AT_LONGEST => None,
            Looked::On => continue,
        };
        return Outcome::Measured(Measured {
            down_ms: millis(tally.down),
            all_ms,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(follow: bool, looks: &[(u64, &[bool])]) -> (Tally, Vec<Looked>) {
        let mut tally = Tally::default();
        let ends = looks
            .iter()
            .map(|(at, reach)| tally.look(Duration::from_millis(*at), reach, follow))
            .collect();
        (tally, ends)
    }

    /// What ended it; all before went on.
    fn ended_by(ends: &[Looked]) -> Looked {
        let (last, before) = ends.split_last().unwrap();
        assert!(before.iter().all(|looked| *looked == Looked::On), "{before:?}");
        *last
    }

    #[test]
    fn the_time_in_which_nobody_reaches_a_quorum_counts_and_no_other() {
        let (tally, ends) = looks(
            true,
            &[
                (0, &[true, true, true]),
                (50, &[false, true, true]),
                (100, &[false, false, false]),
                (150, &[false, false, false]),
                (900, &[false, true, false]),
                (950, &[true, true, true]),
            ],
        );
        assert_eq!(tally.down, Duration::from_millis(100));
        assert_eq!(ended_by(&ends), Looked::Back);
    }

    #[test]
    fn a_process_that_was_not_restarted_yet_is_not_taken_for_one_that_is_back() {
        let (_, ends) = looks(
            false,
            &[
                (0, &[true, true]),
                (50, &[false, true]),
                (100, &[true, true]),
                (60_000, &[true, true]),
            ],
        );
        assert_eq!(ends, [Looked::On; 4]);
    }

    #[test]
    fn a_restart_that_was_over_before_the_first_look_is_not_waited_for() {
        let (_, ends) = looks(
            true,
            &[
                (0, &[true, true]),
                (2_000, &[false, true]),
                (2_050, &[true, true]),
                (5_000, &[true, true]),
                (5_050, &[true, true]),
            ],
        );
        assert_eq!(ended_by(&ends), Looked::Calm);
    }

    #[tokio::test(start_paused = true)]
    async fn members_that_never_come_back_do_not_keep_it_for_ever() {
        let address = hayloft_api::agent::AdminAddress::Unix("/nowhere/admin.sock".into());
        let nobody = Client::new(&address, hayloft_api::Secret::new("0")).unwrap();
        let Outcome::Measured(measured) = watch(vec![nobody], Arc::default()).await else {
            panic!("nobody was seen");
        };
        assert_eq!(measured.all_ms, None);
        assert!(measured.down_ms >= 120_000, "{measured:?}");
        assert!(measured.words().contains("not all are back"));
    }
}
