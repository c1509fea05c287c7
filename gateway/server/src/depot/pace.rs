//! Holds what is done to so many bytes a second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A rate that tasks share.
pub(crate) struct Pace {
    /// Bytes a second.
    rate: AtomicU64,
    /// When what was taken so far is paid for.
    paid: Mutex<Option<Instant>>,
}

impl Pace {
    /// At most so many bytes a second; 0: no bound.
    pub(crate) const fn new(rate: u64) -> Self {
        Self {
            rate: AtomicU64::new(rate),
            paid: Mutex::new(None),
        }
    }

    /// From now on so many bytes a second; 0: no bound.
    pub(crate) fn set(&self, rate: u64) {
        self.rate.store(rate, Ordering::Relaxed);
    }

    /// Whether there is no bound.
    pub(crate) fn is_free(&self) -> bool {
        self.rate.load(Ordering::Relaxed) == 0
    }

    /// Takes so many bytes, and waits until what was taken before is paid for.
    pub(crate) async fn take(&self, bytes: u64) {
        let rate = self.rate.load(Ordering::Relaxed);
        if rate == 0 {
            return;
        }
        let wait_until = {
            let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let from = paid.filter(|paid| *paid > now).unwrap_or(now);
            let micros = bytes.saturating_mul(1_000_000) / rate;
            *paid = Some(from + Duration::from_micros(micros));
            from
        };
        tokio::time::sleep_until(wait_until).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn so_many_bytes_take_their_time() {
        let pace = Pace::new(1000);
        let start = Instant::now();
        for _ in 0..5 {
            pace.take(500).await;
        }
        assert_eq!(start.elapsed(), Duration::from_secs(2));
        let free = Pace::new(0);
        free.take(u64::MAX).await;
        assert_eq!(start.elapsed(), Duration::from_secs(2));
    }
}
