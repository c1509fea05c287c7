//! What only `main` may ask the system for, handed on as values.

use std::ffi::OsString;
use std::fmt;

use crate::depot::Clock;

/// The outside world, as far as commands need it.
pub struct Outside {
    /// The clock.
    pub clock: Clock,
    /// 32 random bytes, fresh for this run.
    pub seed: [u8; 32],
    /// What the log shows, in the form of `RUST_LOG`.
    pub log_filter: Option<String>,
    /// The socket at which a service manager wants to be told that the gateway serves: `NOTIFY_SOCKET` of sd_notify(3).
    pub notify_socket: Option<OsString>,
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outside")
            .field("log_filter", &self.log_filter)
            .finish_non_exhaustive()
    }
}
