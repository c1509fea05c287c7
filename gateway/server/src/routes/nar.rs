//! `GET /{cache}/nar/{hash}.nar`: the NAR itself, as zstd frames. With ranges, so that Nix can resume.

use std::ops::Range;

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hayloft_nixcache::{CacheName, StorePathHash};

use super::visibility;
use crate::auth::Caller;
use crate::depot::PathEntry;
use crate::error::Refusal;

pub(super) async fn get(
    caller: Caller,
    method: Method,
    Path((name, file)): Path<(String, String)>,
    request: HeaderMap,
) -> Result<Response, Refusal> {
    let (name, hash) = parse(&name, &file).ok_or(Refusal::NotFound)?;
    let access = caller.nix(&name).await?;
    let entry = access
        .depot
        .path(&name, &hash)
        .await?
        .ok_or(Refusal::NoSuchObject)?;

    let mut headers = HeaderMap::new();
    visibility::mark(&access.cache, &mut headers);
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-nix-nar"),
    );
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::ETAG, value(&quoted(&entry.etag))?);
    if method == Method::HEAD {
        // Ranges are for GET only (RFC 9110 §14.2), and nothing need be opened to say how long the body is.
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(entry.file_size));
        return Ok(headers.into_response());
    }
    let (status, body) = match asked_range(&request, &quoted(&entry.etag), entry.file_size) {
        Asked::All => (StatusCode::OK, access.depot.nar(&entry).await?),
        Asked::Nothing => return Ok(unsatisfiable(&entry, headers)),
        Asked::Part(range) => {
            let body = access.depot.nar_range(&entry, Some(range.clone())).await?;
            if body.etag == entry.etag {
                let text = format!("bytes {}-{}/{}", range.start, range.end - 1, body.total);
                headers.insert(header::CONTENT_RANGE, value(&text)?);
                (StatusCode::PARTIAL_CONTENT, body)
            } else {
                // The path was damaged and pushed again since it was looked up: its bytes are others now.
                (StatusCode::OK, access.depot.nar(&entry).await?)
            }
        }
    };
    headers.insert(header::ETAG, value(&quoted(&body.etag))?);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.length));
    Ok((status, headers, Body::from_stream(body.stream)).into_response())
}

fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

fn parse(name: &str, file: &str) -> Option<(CacheName, StorePathHash)> {
    let hash = file
        .strip_suffix(".nar")
        .or_else(|| file.strip_suffix(".nar.zst"))?;
    Some((name.parse().ok()?, hash.parse().ok()?))
}

fn value(text: &str) -> Result<HeaderValue, Refusal> {
    HeaderValue::from_str(text).map_err(Refusal::internal)
}

fn unsatisfiable(entry: &PathEntry, mut headers: HeaderMap) -> Response {
    if let Ok(range) = HeaderValue::from_str(&format!("bytes */{}", entry.file_size)) {
        headers.insert(header::CONTENT_RANGE, range);
    }
    (StatusCode::RANGE_NOT_SATISFIABLE, headers).into_response()
}

/// What a request wants of a body.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    All,
    Part(Range<u64>),
    /// A range that lies beyond the end.
    Nothing,
}

/// One range of bytes (RFC 9110 §14). Several at once, other units and a stale `If-Range` get everything, as allowed.
fn asked_range(request: &HeaderMap, etag: &str, length: u64) -> Asked {
    if request.get(header::IF_RANGE).is_some_and(|wanted| wanted != etag) {
        return Asked::All;
    }
    let Some(text) = request.get(header::RANGE).and_then(|range| range.to_str().ok()) else {
        return Asked::All;
    };
    let Some((first, last)) = text
        .strip_prefix("bytes=")
        .and_then(|spec| spec.trim().split_once('-'))
    else {
        return Asked::All;
    };
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(length),
        (Ok(first), Err(_)) if last.is_empty() => first..length,
        (Err(_), Ok(suffix)) if first.is_empty() => length.saturating_sub(suffix)..length,
        _ => return Asked::All,
    };
    if range.start < range.end {
        Asked::Part(range)
    } else {
        Asked::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(range: &'static str, if_range: Option<&'static str>) -> Asked {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_static(range));
        if let Some(if_range) = if_range {
            headers.insert(header::IF_RANGE, HeaderValue::from_static(if_range));
        }
        asked_range(&headers, "\"tag\"", 100)
    }

    #[test]
    fn one_range_in_any_of_its_forms_is_understood() {
        assert_eq!(asked("bytes=0-9", None), Asked::Part(0..10));
        assert_eq!(asked("bytes=90-", None), Asked::Part(90..100));
        assert_eq!(asked("bytes=-10", None), Asked::Part(90..100));
        assert_eq!(asked("bytes=-1000", None), Asked::Part(0..100));
        assert_eq!(asked("bytes=50-1000", None), Asked::Part(50..100));
    }

    #[test]
    fn a_range_beyond_the_end_is_not_satisfiable() {
        assert_eq!(asked("bytes=100-", None), Asked::Nothing);
        assert_eq!(asked("bytes=200-300", None), Asked::Nothing);
        assert_eq!(asked("bytes=-0", None), Asked::Nothing);
    }

    #[test]
    fn what_is_no_single_range_gets_everything() {
        for text in [
            "bytes=0-1,4-5",
            "lines=0-1",
            "bytes=5-2",
            "bytes=a-b",
            "bytes=-",
            "bytes",
        ] {
            assert_eq!(asked(text, None), Asked::All, "{text}");
        }
    }

    #[test]
    fn a_range_of_another_version_gets_everything() {
        assert_eq!(asked("bytes=0-9", Some("\"tag\"")), Asked::Part(0..10));
        assert_eq!(asked("bytes=0-9", Some("\"other\"")), Asked::All);
    }
}
