//! How long to wait before the next try.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// The rule for all tries of one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    /// Tries in all, the first one included.
    pub(crate) tries: u32,
    /// The first wait; each further one doubles.
    pub(crate) base: Duration,
    /// The longest wait that is chosen here.
    pub(crate) cap: Duration,
    /// The longest wait that a `Retry-After` may ask for.
    pub(crate) asked_cap: Duration,
}

impl Policy {
    /// Bears a gateway that restarts or hands its office over, which takes some 15 s: the waits add up to between half a
    /// minute and a minute.
    pub(crate) const PATIENT: Policy = Policy {
        tries: 8,
        base: Duration::from_millis(500),
        cap: Duration::from_secs(30),
        asked_cap: Duration::from_secs(120),
    };

    /// For a question that a person waits for.
    pub(crate) const BRISK: Policy = Policy {
        tries: 4,
        base: Duration::from_millis(300),
        cap: Duration::from_secs(2),
        asked_cap: Duration::from_secs(5),
    };
}

/// The waits of one request, in order.
#[derive(Debug)]
pub(crate) struct Backoff {
    policy: Policy,
    tried: u32,
    rng: StdRng,
}

impl Backoff {
    /// Starts before the first try. Different seeds spread clients that failed together.
    pub(crate) fn new(policy: Policy, seed: u64) -> Backoff {
        Backoff {
            policy,
            tried: 0,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// Notes a failed try; the wait before the next one, or nothing when there were enough. `asked` is the server's
    /// `Retry-After`, kept as a floor.
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Option<Duration> {
        self.tried += 1;
        if self.tried >= self.policy.tries {
            return None;
        }
        let doubled = self
            .policy
            .base
            .saturating_mul(1_u32.checked_shl(self.tried - 1).unwrap_or(u32::MAX));
        let longest = doubled.min(self.policy.cap);
        let chosen = longest.mul_f64(self.rng.random_range(0.5..=1.0));
        Some(asked.map_or(chosen, |asked| chosen.max(asked.min(self.policy.asked_cap))))
    }

    /// Failed tries so far.
    pub(crate) fn tried(&self) -> u32 {
        self.tried
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_with_jitter_up_to_the_cap_and_then_end() {
        let mut backoff = Backoff::new(Policy::PATIENT, 7);
        let waits: Vec<Duration> = std::iter::from_fn(|| backoff.next(None)).collect();
        assert_eq!(waits.len(), 7);
        for (place, wait) in waits.iter().enumerate() {
            let full = Duration::from_millis(500 << place).min(Duration::from_secs(30));
            assert!(*wait >= full / 2 && *wait <= full, "wait {place} was {wait:?}");
        }
    }

    #[test]
    fn a_retry_after_is_a_floor_but_not_without_bound() {
        let mut backoff = Backoff::new(Policy::PATIENT, 7);
        assert_eq!(
            backoff.next(Some(Duration::from_secs(15))),
            Some(Duration::from_secs(15))
        );
        assert_eq!(
            backoff.next(Some(Duration::from_secs(86_400))),
            Some(Duration::from_secs(120))
        );
    }
}
