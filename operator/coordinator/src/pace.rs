//! How soon to look again.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// While something is being changed. Each question costs Garage tens of milliseconds of computing.
const BUSY: Duration = Duration::from_millis(250);
/// How much longer each further pause is, while the same things wait.
const PATIENCE: f64 = 1.25;
/// When all is as declared.
const IDLE: Duration = Duration::from_secs(4);
/// After the first failure; doubled by each further one.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// The longest wait after failures.
const LAST_RETRY: Duration = Duration::from_secs(15);

/// How a round went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Round {
    /// Steps were taken, or a change is under way.
    Busy,
    /// Nothing could be done now; something waits.
    Waiting,
    /// Nothing is to be done.
    Idle,
    /// Something went wrong.
    Failed,
}

/// Decides how long to pause after each round.
#[derive(Debug)]
pub(crate) struct Pace {
    rng: StdRng,
    failures: u32,
    waits: i32,
}

/// A pause before the next round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pause {
    /// How long.
    pub(crate) length: Duration,
    /// Whether news may end it.
    pub(crate) may_wake: bool,
}

impl Pace {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self {
            rng: StdRng::from_seed(seed),
            failures: 0,
            waits: 0,
        }
    }

    /// Something new waits: it may be over soon.
    pub(crate) fn restart_patience(&mut self) {
        self.waits = 0;
    }

    /// The pause after a round. After failures news do not end it, so that a member in trouble is left in peace.
    pub(crate) fn after(&mut self, round: Round) -> Pause {
        let length = match round {
            Round::Failed => {
                let doubled = FIRST_RETRY
                    .saturating_mul(1 << self.failures.min(8))
                    .min(LAST_RETRY);
                self.failures = self.failures.saturating_add(1);
                doubled.mul_f64(self.rng.random_range(0.75..1.0))
            }
            Round::Busy => BUSY,
            Round::Waiting => {
                let length = BUSY.mul_f64(PATIENCE.powi(self.waits.min(20))).min(IDLE);
                self.waits = self.waits.saturating_add(1);
                length
            }
            Round::Idle => IDLE,
        };
        if round != Round::Failed {
            self.failures = 0;
        }
        if round != Round::Waiting {
            self.waits = 0;
        }
        Pause {
            length,
            may_wake: round != Round::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_long_is_looked_at_less_often() {
        let mut pace = Pace::new([1; 32]);
        assert_eq!(pace.after(Round::Waiting).length, BUSY);
        let later: Vec<Duration> = (0..30).map(|_| pace.after(Round::Waiting).length).collect();
        assert_eq!(later.last(), Some(&IDLE));
        pace.restart_patience();
        assert_eq!(pace.after(Round::Waiting).length, BUSY);
    }

    #[test]
    fn failures_back_off_up_to_a_bound_and_a_good_round_ends_that() {
        let mut pace = Pace::new([1; 32]);
        let pauses: Vec<Duration> = (0..20).map(|_| pace.after(Round::Failed).length).collect();
        assert!(pauses[0] <= FIRST_RETRY);
        assert!(pauses[3] > pauses[0]);
        assert!(pauses.iter().all(|pause| *pause <= LAST_RETRY));
        assert!(pauses[19] >= LAST_RETRY.mul_f64(0.75));
        assert_eq!(
            pace.after(Round::Idle),
            Pause {
                length: IDLE,
                may_wake: true
            }
        );
        assert!(pace.after(Round::Failed).length <= FIRST_RETRY);
    }
}
