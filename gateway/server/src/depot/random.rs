//! The depot's random numbers, all from the seed that `main` gave.

use std::sync::{Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// A generator that tasks share.
pub(super) struct Random(Mutex<StdRng>);

impl Random {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        Self(Mutex::new(StdRng::from_seed(seed)))
    }

    /// Fresh random bytes.
    pub(super) fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .fill_bytes(&mut bytes);
        bytes
    }

    /// A number from 0.5 to 1.5, to spread retries.
    pub(super) fn jitter(&self) -> f64 {
        0.5 + f64::from(u32::from_le_bytes(self.bytes())) / f64::from(u32::MAX)
    }
}
