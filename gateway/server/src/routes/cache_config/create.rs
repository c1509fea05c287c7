//! `POST`: makes a cache.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use hayloft_nixcache::api::{CreateCache, KeypairConfig};

use super::super::extract::{ApiCache, json};
use super::{MAX_BODY, check_upstream_keys};
use crate::auth::Caller;
use crate::depot::NewCache;
use crate::error::Refusal;
use crate::state::Gateway;

pub(in super::super) async fn create(
    caller: Caller,
    State(gateway): State<Gateway>,
    ApiCache(name): ApiCache,
    headers: HeaderMap,
    body: Body,
) -> Result<(), Refusal> {
    let depot = caller.creator(&name)?;
    let CreateCache {
        keypair,
        is_public,
        store_dir,
        priority,
        upstream_cache_key_names,
    } = json(&gateway, &headers, body, MAX_BODY).await?;
    check_upstream_keys(&upstream_cache_key_names)?;
    depot
        .create_cache(NewCache {
            name,
            keypair: match keypair {
                KeypairConfig::Generate => None,
                KeypairConfig::Keypair(pair) => Some(pair),
            },
            is_public,
            store_dir: store_dir.to_string(),
            priority,
            upstream_cache_key_names,
            retention: None,
        })
        .await?;
    Ok(())
}
