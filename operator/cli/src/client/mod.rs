//! What `hayloft push` and `hayloft use` share: where the gateway is and with which token, and how it is spoken to.

pub(crate) mod backoff;
pub(crate) mod gateway;
pub(crate) mod settings;
pub(crate) mod token;

use crate::context::Context;

/// A seed for the jitter of waits.
pub(crate) fn seed(context: &mut Context) -> u64 {
    context
        .seed()
        .iter()
        .take(8)
        .fold(0, |seed, byte| (seed << 8) | u64::from(*byte))
}
