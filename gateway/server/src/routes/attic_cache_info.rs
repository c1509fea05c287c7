//! `GET /{cache}/attic-cache-info`: the cache's configuration, at the URL that Nix substitutes from.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use hayloft_nixcache::api::CacheConfig;

use super::cache_config;
use crate::auth::Caller;
use crate::error::Refusal;
use crate::state::Gateway;

pub(super) async fn get(
    caller: Caller,
    State(gateway): State<Gateway>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json<CacheConfig>, Refusal> {
    let name = name.parse().map_err(|_| Refusal::NotFound)?;
    let base = gateway.base_url(&uri, &headers)?;
    cache_config::describe(&caller, &name, &base).await
}
