//! `POST /_api/v1/get-missing-paths`: which of these paths a client would have to push.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use hayloft_nixcache::api::{GetMissingPathsRequest, GetMissingPathsResponse};

use super::extract::json;
use crate::auth::Caller;
use crate::error::Refusal;
use crate::state::Gateway;

/// The longest body from a caller with a token, in bytes: some 470,000 hashes. Attic's client sends a whole closure at once.
const MAX_BODY: usize = 16 * 1024 * 1024;
/// The longest body from anybody else; who asks without a token is refused anyway, but must be told how.
const MAX_BODY_OF_STRANGERS: usize = 256 * 1024;

pub(super) async fn post(
    caller: Caller,
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<GetMissingPathsResponse>, Refusal> {
    let caller = caller.honest()?;
    let limit = if caller.is_known() {
        MAX_BODY
    } else {
        MAX_BODY_OF_STRANGERS
    };
    let GetMissingPathsRequest {
        cache,
        store_path_hashes,
    } = json(&gateway, &headers, body, limit).await?;
    let access = caller
        .api(&cache)
        .await?
        .require(|permissions| permissions.push)?;
    let missing_paths = access.depot.missing(&cache, &store_path_hashes).await?;
    Ok(Json(GetMissingPathsResponse { missing_paths }))
}
