//! `GET /{cache}/nix-cache-info`: the first thing that Nix asks a cache for.

use axum::extract::Path;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};

use super::visibility;
use crate::auth::Caller;
use crate::error::Refusal;

pub(super) async fn get(caller: Caller, Path(name): Path<String>) -> Result<Response, Refusal> {
    let name = name.parse().map_err(|_| Refusal::NotFound)?;
    let cache = caller.nix(&name).await?.cache;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/x-nix-cache-info"));
    visibility::mark(&cache, &mut headers);
    let body = format!(
        "WantMassQuery: 1\nStoreDir: {}\nPriority: {}\n",
        cache.store_dir, cache.priority
    );
    Ok((headers, body).into_response())
}
