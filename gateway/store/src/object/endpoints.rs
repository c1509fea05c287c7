//! Which endpoint to ask: nearest first, and those that failed last, until a probe says that they answer again.

use std::sync::Mutex;
use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// The health of endpoints, by their place in the configuration.
#[derive(Debug)]
pub struct Endpoints {
    failed: Mutex<Vec<bool>>,
}

impl Endpoints {
    /// `count` endpoints, all thought well.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self {
            failed: Mutex::new(vec![false; count]),
        }
    }

    /// The order to try them in now: the well ones as configured, then the failed ones, so that something is
    /// tried when all have failed.
    #[must_use]
    pub fn order(&self) -> Vec<usize> {
        let failed = self.lock();
        let mut order: Vec<usize> = (0..failed.len()).collect();
        order.sort_by_key(|&i| failed[i]);
        order
    }

    /// An endpoint answered.
    pub fn succeeded(&self, index: usize) {
        if let Some(failed) = self.lock().get_mut(index) {
            *failed = false;
        }
    }

    /// An endpoint failed. Says whether it was well before, so that one probe is begun for it.
    #[must_use]
    pub fn failed(&self, index: usize) -> bool {
        self.lock()
            .get_mut(index)
            .is_some_and(|failed| !std::mem::replace(failed, true))
    }

    /// Whether an endpoint is thought well.
    #[must_use]
    pub fn is_well(&self, index: usize) -> bool {
        self.lock().get(index).is_some_and(|failed| !failed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<bool>> {
        self.failed
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// How long to wait before the `n`th probe of a failed endpoint. `jitter` is from 0 to 1.
#[must_use]
pub fn pause(n: u32, jitter: f64) -> Duration {
    let pause = FIRST_PAUSE.saturating_mul(1 << n.min(8)).min(LONGEST_PAUSE);
    pause.mul_f64(jitter.clamp(0.0, 1.0).mul_add(0.5, 0.75))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_endpoint_is_asked_last_until_it_answers() {
        let endpoints = Endpoints::new(3);
        assert!(endpoints.failed(0));
        assert_eq!(endpoints.order(), [1, 2, 0]);
        assert!(!endpoints.is_well(0));
        endpoints.succeeded(0);
        assert_eq!(endpoints.order(), [0, 1, 2]);
    }

    #[test]
    fn one_probe_is_begun_for_a_failed_endpoint() {
        let endpoints = Endpoints::new(1);
        assert!(endpoints.failed(0));
        assert!(!endpoints.failed(0));
        assert_eq!(endpoints.order(), [0]);
        endpoints.succeeded(0);
        assert!(endpoints.failed(0));
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        assert!(pause(0, 0.5) < Duration::from_secs(1));
        assert!(pause(100, 1.0) <= LONGEST_PAUSE * 2);
    }
}
