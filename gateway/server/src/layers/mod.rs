//! What lies around every endpoint: a line in the log, panics caught, and bodies that are not read to their end.

mod linger;
mod watch;

use std::any::Any;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::{Level, debug, info, warn};

use crate::error::Refusal;

/// Puts the common layers around `endpoints`.
pub(crate) fn around(endpoints: Router) -> Router {
    endpoints
        .layer(middleware::map_request(async |request: Request| {
            linger::lingering(request)
        }))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(log))
}

#[expect(clippy::needless_pass_by_value, reason = "the layer gives it away")]
fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    Refusal::internal(format!("a handler panicked: {text}")).into_response()
}

/// One line per request: method, path, status, time. Never headers, which hold tokens, nor the query.
async fn log(request: Request<Body>, next: Next) -> Response {
    let begin = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let response = watch::request(request, next).await;
    let status = response.status().as_u16();
    let ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    if path == "/healthz" {
        // Asked every few seconds by whoever watches, who also sees the answer.
        debug!(%method, path, status, ms, "request");
    } else if response.status().is_server_error() {
        warn!(%method, path, status, ms, "request");
    } else if method.is_safe() || !tracing::enabled!(Level::INFO) {
        debug!(%method, path, status, ms, "request");
    } else {
        info!(%method, path, status, ms, "request");
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use hayloft_nixcache::api::ErrorBody;
    use tower::ServiceExt;

    #[tokio::test]
    async fn a_handler_that_panics_answers_500_and_says_nothing_of_why() {
        async fn broken() {
            panic!("the inner text");
        }
        let router = around(Router::new().route("/", get(broken)));
        let request = Request::get("/").body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let body = axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
        let body: ErrorBody = serde_json::from_slice(&body).unwrap();
        assert_eq!((body.code, &*body.error), (500, "InternalServerError"));
        assert!(!body.message.contains("inner"), "{}", body.message);
    }
}
