//! The metadata of an upload: in a header, or in front of the NAR.

use axum::http::HeaderMap;
use bytes::Bytes;
use hayloft_nixcache::UploadInfo;
use hayloft_nixcache::api::{
    CELLER_NAR_INFO_HEADER, CELLER_NAR_INFO_PREAMBLE_HEADER, MAX_NAR_INFO, NAR_INFO_HEADER,
    NAR_INFO_PREAMBLE_HEADER,
};

use super::body::Pieces;
use crate::error::Refusal;

/// Reads the metadata. The preamble wins when both are announced; `body` is at the NAR's first byte afterwards.
pub(super) async fn read(headers: &HeaderMap, body: &mut Pieces) -> Result<UploadInfo, Refusal> {
    let find = |names: [&str; 2]| names.into_iter().find_map(|name| headers.get(name));
    let preamble = find([NAR_INFO_PREAMBLE_HEADER, CELLER_NAR_INFO_PREAMBLE_HEADER]);
    let json = if let Some(size) = preamble {
        let size = size
            .to_str()
            .ok()
            .and_then(|size| size.trim().parse::<usize>().ok());
        let size = size.ok_or_else(|| {
            Refusal::Request(format!("{NAR_INFO_PREAMBLE_HEADER} must be a number of bytes"))
        })?;
        if size > MAX_NAR_INFO {
            return Err(Refusal::Request(format!(
                "Upload info is too large: it may have at most {MAX_NAR_INFO} bytes"
            )));
        }
        body.take(size).await?
    } else if let Some(json) = find([NAR_INFO_HEADER, CELLER_NAR_INFO_HEADER]) {
        Bytes::copy_from_slice(json.as_bytes())
    } else {
        return Err(Refusal::Request("X-Attic-Nar-Info must be set".to_owned()));
    };
    serde_json::from_slice(&json)
        .map_err(|error| Refusal::Request(format!("the upload info is not as it must be: {error}")))
}
