//! `/_api/v1/cache-config/{cache}`: caches are made, shown, changed and destroyed here.

mod configure;
mod create;
mod destroy;
mod show;

pub(super) use configure::configure;
pub(super) use create::create;
pub(super) use destroy::destroy;
pub(super) use show::{describe, get};

/// The longest JSON of these endpoints, in bytes.
const MAX_BODY: usize = 2 * 1024 * 1024;
