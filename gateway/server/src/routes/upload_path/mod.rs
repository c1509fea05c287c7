//! `PUT /_api/v1/upload-path`: takes an uncompressed NAR. When it answers 200, the path is durable and visible.

mod body;
mod info;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use hayloft_nixcache::api::{UploadKind, UploadResult};

use crate::auth::Caller;
use crate::depot::Uploaded;
use crate::error::{Refusal, chain};
use crate::state::Gateway;

pub(super) async fn put(
    caller: Caller,
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<UploadResult>, Refusal> {
    let caller = caller.honest()?;
    let mut body = body::Pieces::new(body);
    let info = info::read(&headers, &mut body).await?;
    let access = caller
        .api(&info.cache)
        .await?
        .require(|permissions| permissions.push)?;
    let store_dir = access.cache.store_dir.parse().map_err(Refusal::internal)?;
    let info = info
        .validate(&store_dir)
        .map_err(|error| Refusal::Request(chain(&error)))?;
    let _turn = gateway.upload_turn().await?;
    let Uploaded {
        deduplicated,
        file_size,
        frac_deduplicated,
    } = access.depot.upload(info, caller.subject(), body).await?;
    Ok(Json(UploadResult {
        kind: if deduplicated {
            UploadKind::Deduplicated
        } else {
            UploadKind::Uploaded
        },
        file_size: Some(file_size),
        frac_deduplicated: Some(frac_deduplicated),
    }))
}
