//! Counts what is under way.

/// One more in a gauge, as long as it lives.
pub(crate) struct Running(&'static str);

impl Running {
    /// Counts one more.
    pub(crate) fn new(gauge: &'static str) -> Self {
        metrics::gauge!(gauge).increment(1.0);
        Self(gauge)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        metrics::gauge!(self.0).decrement(1.0);
    }
}
