//! Metrics of requests, and the span that all stages of one belong to.

use std::time::Instant;

use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;

use crate::metrics::{names, stage_of_request};

/// Runs a request to the beginning of its answer.
pub(super) async fn request(request: Request<Body>, next: Next) -> Response {
    let begin = Instant::now();
    let endpoint = endpoint(request.uri().path());
    let response = match endpoint {
        Some(endpoint) => stage_of_request(endpoint, next.run(request)).await,
        None => next.run(request).await,
    };
    let class = match response.status().as_u16() {
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    };
    metrics::counter!(names::REQUESTS, "status" => class).increment(1);
    if let Some(endpoint) = endpoint {
        metrics::histogram!(names::REQUEST_SECONDS, "endpoint" => endpoint).record(begin.elapsed());
        if endpoint == "narinfo" {
            let answer = match response.status() {
                StatusCode::OK => Some("found"),
                StatusCode::NOT_FOUND => Some("missing"),
                _ => None,
            };
            if let Some(answer) = answer {
                metrics::counter!(names::NARINFOS, "answer" => answer).increment(1);
            }
        }
    }
    response
}

/// The endpoints that are worth a distribution of their own.
fn endpoint(path: &str) -> Option<&'static str> {
    if path.ends_with(".narinfo") {
        Some("narinfo")
    } else if path.ends_with(".nar") || path.ends_with(".nar.zst") {
        Some("nar")
    } else if path == "/_api/v1/upload-path" {
        Some("upload-path")
    } else if path == "/_api/v1/get-missing-paths" {
        Some("get-missing-paths")
    } else {
        None
    }
}
