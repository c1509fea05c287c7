//! What endpoints take out of requests, with refusals in attic's form.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use hayloft_nixcache::CacheName;
use serde::de::DeserializeOwned;

use crate::error::Refusal;
use crate::state::Gateway;

/// How long a body may bring nothing before it is given up.
pub(super) const IDLE: Duration = Duration::from_secs(120);
/// What is read of a body without taking one of the turns for large ones, in bytes.
const SMALL: usize = 256 * 1024;

/// The cache's name in a URL of the API.
pub(super) struct ApiCache(pub(super) CacheName);

impl<S: Send + Sync> FromRequestParts<S> for ApiCache {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let Path(name) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(IntoResponse::into_response)?;
        name.parse()
            .map(Self)
            .map_err(|error| Refusal::Request(format!("Invalid URL: {error}")).into_response())
    }
}

/// Reads a JSON body of at most `limit` bytes.
pub(super) async fn json<T: DeserializeOwned + Send + 'static>(
    gateway: &Gateway,
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Result<T, Refusal> {
    if !is_json(headers) {
        return Err(Refusal::UnsupportedMediaType);
    }
    let mut stream = body.into_data_stream();
    let mut bytes = BytesMut::new();
    let mut turn = None;
    loop {
        let piece = tokio::time::timeout(IDLE, stream.next())
            .await
            .map_err(|_| Refusal::Request("the body stopped coming".to_owned()))?;
        let Some(piece) = piece else {
            break;
        };
        let piece: Bytes = piece.map_err(|error| Refusal::Request(format!("the body broke off: {error}")))?;
        if bytes.len() + piece.len() > limit {
            return Err(Refusal::TooLarge { limit });
        }
        bytes.extend_from_slice(&piece);
        if bytes.len() > SMALL && turn.is_none() {
            turn = Some(gateway.json_turns().acquire().await.map_err(Refusal::internal)?);
        }
    }
    if turn.is_none() {
        return parse(&bytes);
    }
    // Long enough to hold up other requests on this thread.
    tokio::task::spawn_blocking(move || parse(&bytes))
        .await
        .map_err(Refusal::internal)?
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Refusal::Unprocessable(error.to_string()),
        _ => Refusal::Request(error.to_string()),
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let mime = value
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    mime.eq_ignore_ascii_case("application/json")
        || (mime.len() > 5 && mime.to_ascii_lowercase().ends_with("+json"))
}
