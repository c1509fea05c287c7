//! The clock that `main` hands in.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

/// Tells the time of day. For dates in reports only: what must not jump is measured with tokio's clock.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// A clock that reads this.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// What it shows.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl From<Arc<dyn Fn() -> Timestamp + Send + Sync>> for Clock {
    fn from(clock: Arc<dyn Fn() -> Timestamp + Send + Sync>) -> Self {
        Self(clock)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Clock")
    }
}
