//! The headers that mark answers of a public cache, for those that put a proxy in front.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use hayloft_nixcache::api::{CELLER_VISIBILITY_HEADER, VISIBILITY_HEADER};

use crate::depot::Cache;

/// Marks an answer when `cache` is public, and never otherwise.
pub(super) fn mark(cache: &Cache, headers: &mut HeaderMap) {
    if cache.is_public {
        let public = HeaderValue::from_static("public");
        headers.insert(HeaderName::from_static(VISIBILITY_HEADER), public.clone());
        headers.insert(HeaderName::from_static(CELLER_VISIBILITY_HEADER), public);
    }
}
