//! Which endpoint to ask: nearest first, and not again for a while those that just failed.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

const FIRST_REST: Duration = Duration::from_millis(500);
const LONGEST_REST: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, Default)]
struct Health {
    failures: u32,
    rests_until: Option<Instant>,
}

/// The health of endpoints, by their place in the configuration.
#[derive(Debug)]
pub struct Endpoints {
    health: Mutex<Vec<Health>>,
}

impl Endpoints {
    /// `count` endpoints, all thought well.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self {
            health: Mutex::new(vec![Health::default(); count]),
        }
    }

    /// The order to try them in now: the well ones as configured, then the resting ones, the longest rested
    /// first, so that something is tried when all are bad.
    #[must_use]
    pub fn order(&self, now: Instant) -> Vec<usize> {
        let health = self.lock();
        let mut order: Vec<usize> = (0..health.len()).collect();
        order.sort_by_key(|&i| health[i].rests_until.filter(|until| *until > now));
        order
    }

    /// An endpoint answered.
    pub fn succeeded(&self, index: usize) {
        if let Some(health) = self.lock().get_mut(index) {
            *health = Health::default();
        }
    }

    /// An endpoint failed: it rests, longer each time. `jitter` is from 0 to 1.
    pub fn failed(&self, index: usize, now: Instant, jitter: f64) {
        if let Some(health) = self.lock().get_mut(index) {
            let rest = FIRST_REST
                .saturating_mul(1 << health.failures.min(6))
                .min(LONGEST_REST);
            health.failures = health.failures.saturating_add(1);
            health.rests_until = Some(now + rest.mul_f64(jitter.clamp(0.0, 1.0).mul_add(0.5, 0.75)));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Health>> {
        self.health
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_endpoint_is_asked_last_until_it_has_rested() {
        let endpoints = Endpoints::new(3);
        let now = Instant::now();
        endpoints.failed(0, now, 0.5);
        assert_eq!(endpoints.order(now), [1, 2, 0]);
        assert_eq!(endpoints.order(now + Duration::from_secs(1)), [0, 1, 2]);
        endpoints.failed(0, now, 0.5);
        assert_eq!(endpoints.order(now + Duration::from_millis(900)), [1, 2, 0]);
        endpoints.succeeded(0);
        assert_eq!(endpoints.order(now), [0, 1, 2]);
    }

    #[test]
    fn when_all_are_bad_all_are_still_tried() {
        let endpoints = Endpoints::new(2);
        let now = Instant::now();
        for _ in 0..40 {
            endpoints.failed(0, now, 1.0);
        }
        endpoints.failed(1, now, 1.0);
        assert_eq!(endpoints.order(now), [1, 0]);
        assert_eq!(endpoints.order(now + LONGEST_REST * 2), [0, 1]);
    }
}
