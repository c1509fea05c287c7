//! Pauses between tries: longer each time, with jitter, up to a bound.

use std::time::Duration;

use super::random::Random;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(5);

/// Counts tries.
#[derive(Default)]
pub(super) struct Backoff {
    tries: u32,
}

impl Backoff {
    /// Waits before the next try.
    pub(super) async fn pause(&mut self, random: &Random) {
        let pause = FIRST.saturating_mul(1 << self.tries.min(8)).min(LONGEST);
        self.tries = self.tries.saturating_add(1);
        tokio::time::sleep(pause.mul_f64(random.jitter())).await;
    }
}
