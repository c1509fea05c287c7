//! `GET /{cache}/{hash}.narinfo`: what Nix must know of a path, signed.

use axum::extract::Path;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use hayloft_nixcache::{CacheName, StorePathHash};

use super::visibility;
use crate::auth::Caller;
use crate::error::Refusal;

pub(super) async fn get(
    caller: Caller,
    Path((name, file)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let (name, hash) = parse(&name, &file).ok_or(Refusal::NotFound)?;
    let access = caller.nix(&name).await?;
    let narinfo = access
        .depot
        .narinfo(&access.cache, &hash)
        .await?
        .ok_or(Refusal::NoSuchObject)?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/x-nix-narinfo"));
    visibility::mark(&access.cache, &mut headers);
    Ok((headers, narinfo).into_response())
}

fn parse(name: &str, file: &str) -> Option<(CacheName, StorePathHash)> {
    let hash = file.strip_suffix(".narinfo")?;
    Some((name.parse().ok()?, hash.parse().ok()?))
}
