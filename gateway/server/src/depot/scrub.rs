//! Looking through what is stored: every pack is read and checked once in a while, so that damage is found while other
//! copies may heal it.

use std::time::Duration;

/// How what is stored is looked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubSettings {
    /// Everything is read once in this time, if the rate allows it.
    pub every: Duration,
    /// Bytes a second that are read; 0: any number.
    pub max_rate: u64,
}

impl Default for ScrubSettings {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(30 * 24 * 3600),
            max_rate: 10_000_000,
        }
    }
}
