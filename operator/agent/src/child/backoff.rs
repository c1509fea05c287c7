//! How long a unit that died waits before it is started again.

use std::time::Duration;

use rand::RngExt;

/// The first wait.
const FIRST: Duration = Duration::from_millis(500);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(30);
/// A unit that ran this long was healthy: its next death counts as its first.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// Exponential back-off with jitter: 0.5 s, 1 s, 2 s … 30 s, each shortened by up to a quarter so that units which died
/// together do not come back together.
#[derive(Debug, Default, Clone)]
pub struct Backoff {
    deaths: u32,
}

impl Backoff {
    /// The wait after a death, when the unit had run for `ran`.
    pub fn after_death(&mut self, ran: Duration, random: &mut impl rand::Rng) -> Duration {
        if ran >= HEALTHY_AFTER {
            self.deaths = 0;
        }
        let wait = FIRST
            .saturating_mul(1_u32.checked_shl(self.deaths).unwrap_or(u32::MAX))
            .min(LONGEST);
        self.deaths = self.deaths.saturating_add(1).min(31);
        wait.mul_f64(random.random_range(0.75..=1.0))
    }

    /// Forgets all deaths, for example because the unit is now another one.
    pub fn reset(&mut self) {
        self.deaths = 0;
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn waits_double_up_to_half_a_minute() {
        let mut random = rand::rngs::StdRng::seed_from_u64(1);
        let mut backoff = Backoff::default();
        let full = [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000];
        for expected in full {
            let wait = backoff.after_death(Duration::ZERO, &mut random);
            assert!(
                wait <= Duration::from_millis(expected),
                "{wait:?} > {expected} ms"
            );
            assert!(
                wait >= Duration::from_millis(expected * 3 / 4),
                "{wait:?} is too short for {expected} ms"
            );
        }
    }

    #[test]
    fn a_minute_of_health_starts_over() {
        let mut random = rand::rngs::StdRng::seed_from_u64(2);
        let mut backoff = Backoff::default();
        for _ in 0..100 {
            backoff.after_death(Duration::ZERO, &mut random);
        }
        assert!(backoff.after_death(Duration::from_secs(61), &mut random) <= FIRST);
    }
}
