//! `/_api/v1/cache-config/{cache}`: caches are made, shown, changed and destroyed here.

mod configure;
mod create;
mod destroy;
mod show;

use crate::error::Refusal;

pub(super) use configure::configure;
pub(super) use create::create;
pub(super) use destroy::destroy;
pub(super) use show::{describe, get};

/// The longest JSON of these endpoints, in bytes.
const MAX_BODY: usize = 2 * 1024 * 1024;
/// The most names of upstream keys that a cache has, and the longest of them.
const MAX_UPSTREAM_KEYS: usize = 64;
const MAX_KEY_NAME: usize = 256;

/// Checks names of upstream keys: clients compare them with the names in signatures.
fn check_upstream_keys(names: &[String]) -> Result<(), Refusal> {
    let good = |name: &String| {
        !name.is_empty()
            && name.len() <= MAX_KEY_NAME
            && !name.contains(|c: char| c == ':' || c.is_control() || c.is_whitespace())
    };
    if names.len() <= MAX_UPSTREAM_KEYS && names.iter().all(good) {
        return Ok(());
    }
    Err(Refusal::Request(format!(
        "upstream_cache_key_names must be at most {MAX_UPSTREAM_KEYS} names of keys, such as cache.nixos.org-1"
    )))
}
