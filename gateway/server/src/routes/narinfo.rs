//! `GET /{cache}/{hash}.narinfo`: what Nix must know of a path, signed.

use axum::extract::Path;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use hayloft_nixcache::{CacheName, Compression, KeyError, NarInfo, StorePathHash};

use super::visibility;
use crate::auth::Caller;
use crate::depot::{Cache, PathEntry};
use crate::error::Refusal;

pub(super) async fn get(
    caller: Caller,
    Path((name, file)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let (name, hash) = parse(&name, &file).ok_or(Refusal::NotFound)?;
    let access = caller.nix(&name).await?;
    let entry = access
        .depot
        .path(&name, &hash)
        .await?
        .ok_or(Refusal::NoSuchObject)?;
    let narinfo = signed(&access.cache, entry).map_err(Refusal::internal)?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/x-nix-narinfo"));
    visibility::mark(&access.cache, &mut headers);
    Ok((headers, narinfo.to_string()).into_response())
}

fn parse(name: &str, file: &str) -> Option<(CacheName, StorePathHash)> {
    let hash = file.strip_suffix(".narinfo")?;
    Some((name.parse().ok()?, hash.parse().ok()?))
}

/// The narinfo of a path, with one signature by the cache's key of now.
fn signed(cache: &Cache, entry: PathEntry) -> Result<NarInfo, KeyError> {
    let mut narinfo = NarInfo {
        url: format!("nar/{}.nar", entry.hash),
        compression: Compression::Zstd,
        // What is signed and checked is the NAR itself; hashing the compressed bytes, too, would gain nothing.
        file_hash: None,
        file_size: Some(entry.file_size),
        store_path: entry.store_path,
        nar_hash: entry.nar_hash,
        nar_size: entry.nar_size,
        references: entry.references,
        deriver: entry.deriver,
        ca: entry.ca,
        signatures: Vec::new(),
    };
    narinfo.signatures = vec![cache.keypair.sign(&narinfo.fingerprint())?];
    Ok(narinfo)
}
