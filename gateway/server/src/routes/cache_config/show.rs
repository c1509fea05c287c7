//! `GET`: what clients must know of a cache. Attic's client asks this before it pushes.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use hayloft_nixcache::CacheName;
use hayloft_nixcache::api::{CacheConfig, Retention};
use url::Url;

use super::super::extract::ApiCache;
use crate::auth::Caller;
use crate::depot::Cache;
use crate::error::Refusal;
use crate::state::Gateway;

pub(in super::super) async fn get(
    caller: Caller,
    State(gateway): State<Gateway>,
    ApiCache(name): ApiCache,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json<CacheConfig>, Refusal> {
    let base = gateway.base_url(&uri, &headers)?;
    describe(&caller, &name, &base).await
}

pub(in super::super) async fn describe(
    caller: &Caller,
    name: &CacheName,
    base: &Url,
) -> Result<Json<CacheConfig>, Refusal> {
    let access = caller.api(name).await?.require(|permissions| permissions.pull)?;
    let Cache {
        name,
        keypair: _,
        public_key,
        is_public,
        store_dir,
        priority,
        upstream_cache_key_names,
        retention,
        created_at: _,
    } = access.cache;
    Ok(Json(CacheConfig {
        substituter_endpoint: Some(format!("{base}{name}")),
        api_endpoint: Some(base.to_string()),
        public_key: Some(public_key),
        is_public: Some(is_public),
        store_dir: Some(store_dir.parse().map_err(Refusal::internal)?),
        priority: Some(priority),
        upstream_cache_key_names: Some(upstream_cache_key_names),
        retention_period: Some(retention.map_or(Retention::Global, Retention::Period)),
    }))
}
