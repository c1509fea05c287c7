//! A gateway that follows attic's contract as far as a client can see it, is strict where attic is not, and misbehaves when told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use futures::StreamExt as _;
use hayloft_nixcache::api::{GetMissingPathsRequest, GetMissingPathsResponse};
use hayloft_nixcache::{NarHash, StorePath, StorePathHash, UploadInfo};
use serde_json::json;

/// What is done with one upload instead of taking it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Play {
    /// Read it and answer with this status.
    Answer(StatusCode),
    /// Read a little of it and close the connection.
    Break,
    /// Point elsewhere.
    Redirect,
    /// Take it, later.
    Slow(Duration),
}

#[derive(Default)]
struct Seen {
    steer_to: Option<String>,
    token: Option<String>,
    plays: BTreeMap<String, Vec<Play>>,
    uploads: usize,
    tries: BTreeMap<String, usize>,
    stored: BTreeMap<String, NarHash>,
    order: Vec<String>,
    preambles: Vec<String>,
    questions: Vec<usize>,
    authorizations: BTreeSet<String>,
    known: BTreeSet<StorePathHash>,
}

#[derive(Clone)]
pub(super) struct FakeGateway {
    pub(super) url: String,
    seen: Arc<Mutex<Seen>>,
}

impl FakeGateway {
    pub(super) async fn start() -> FakeGateway {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let url = format!("http://{}/", listener.local_addr().expect("is bound"));
        let gateway = FakeGateway {
            url,
            seen: Arc::default(),
        };
        let router = Router::new()
            .route("/_api/v1/cache-config/{cache}", get(cache_config))
            .route("/_api/v1/get-missing-paths", post(missing))
            .route("/_api/v1/upload-path", put(upload))
            .with_state(gateway.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        gateway
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("is not poisoned")
    }

    pub(super) fn play(&self, name: &str, plays: &[Play]) {
        self.seen()
            .plays
            .insert(name.to_owned(), plays.iter().rev().copied().collect());
    }

    pub(super) fn steer_to(&self, url: &str) {
        self.seen().steer_to = Some(url.to_owned());
    }

    /// Takes uploads with this token alone.
    pub(super) fn take_only(&self, token: &str) {
        self.seen().token = Some(format!("Bearer {token}"));
    }

    /// Names and hashes of the paths that were taken.
    pub(super) fn stored(&self) -> BTreeMap<String, NarHash> {
        self.seen().stored.clone()
    }

    pub(super) fn order(&self) -> Vec<String> {
        self.seen().order.clone()
    }

    pub(super) fn uploads(&self) -> usize {
        self.seen().uploads
    }

    pub(super) fn tries(&self, name: &str) -> usize {
        self.seen().tries.get(name).copied().unwrap_or(0)
    }

    pub(super) fn preambles(&self) -> Vec<String> {
        self.seen().preambles.clone()
    }

    pub(super) fn questions(&self) -> Vec<usize> {
        self.seen().questions.clone()
    }

    pub(super) fn authorizations(&self) -> Vec<String> {
        self.seen().authorizations.iter().cloned().collect()
    }

    fn note_authorization(&self, headers: &HeaderMap) {
        let value = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("none");
        self.seen().authorizations.insert(value.to_owned());
    }
}

fn error(status: StatusCode, name: &str, message: &str) -> Response {
    let body = Json(json!({ "code": status.as_u16(), "error": name, "message": message }));
    let mut response = (status, body).into_response();
    if matches!(
        status,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
    ) {
        response.headers_mut().insert(header::RETRY_AFTER, 0.into());
    }
    response
}

async fn cache_config(
    State(gateway): State<FakeGateway>,
    Path(cache): Path<String>,
    headers: HeaderMap,
) -> Response {
    gateway.note_authorization(&headers);
    if cache != "main" {
        return error(StatusCode::NOT_FOUND, "NoSuchCache", "there is no such cache");
    }
    let endpoint = gateway
        .seen()
        .steer_to
        .clone()
        .unwrap_or_else(|| gateway.url.clone());
    Json(json!({
        "substituter_endpoint": format!("{endpoint}main"),
        "api_endpoint": endpoint,
        "is_public": true,
        "priority": 30,
        "upstream_cache_key_names": ["cache.nixos.org-1"],
        "retention_period": "Global",
        "of_a_newer_server": 1,
    }))
    .into_response()
}

async fn missing(
    State(gateway): State<FakeGateway>,
    headers: HeaderMap,
    Json(question): Json<GetMissingPathsRequest>,
) -> Response {
    gateway.note_authorization(&headers);
    let mut seen = gateway.seen();
    seen.questions.push(question.store_path_hashes.len());
    let missing = question
        .store_path_hashes
        .into_iter()
        .filter(|hash| !seen.known.contains(hash))
        .collect();
    Json(GetMissingPathsResponse {
        missing_paths: missing,
    })
    .into_response()
}

async fn upload(State(gateway): State<FakeGateway>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    gateway.note_authorization(&parts.headers);
    assert!(
        !parts.headers.contains_key(header::CONTENT_LENGTH),
        "the length of a NAR is not announced"
    );
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let (info, body): (UploadInfo, Body) = match (
        header("x-attic-nar-info"),
        header("x-attic-nar-info-preamble-size"),
    ) {
        (Some(info), None) => {
            assert!(
                info.len() < 4096,
                "an info of {} bytes is in the header",
                info.len()
            );
            (serde_json::from_str(info).expect("is an info"), body)
        }
        (None, Some(size)) => {
            let size: usize = size.parse().expect("is a size");
            let (info, body) = split(body, size).await;
            let info: UploadInfo = serde_json::from_slice(&info).expect("is an info");
            gateway.seen().preambles.push(info.store_path.name().to_owned());
            (info, body)
        }
        other => panic!("one of the two headers, not {other:?}"),
    };
    let name = info.store_path.name().to_owned();
    let sent = parts
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    if gateway
        .seen()
        .token
        .as_deref()
        .is_some_and(|token| sent != Some(token))
    {
        let _ = to_bytes(body, usize::MAX).await;
        return error(StatusCode::UNAUTHORIZED, "Unauthorized", "the token expired");
    }
    let play = {
        let mut seen = gateway.seen();
        seen.uploads += 1;
        *seen.tries.entry(name.clone()).or_default() += 1;
        seen.plays.get_mut(&name).and_then(Vec::pop)
    };
    match play {
        Some(Play::Answer(status)) => {
            let _ = to_bytes(body, usize::MAX).await;
            let name = match status {
                StatusCode::UNAUTHORIZED => "Unauthorized",
                StatusCode::FORBIDDEN => "AccessError",
                _ => "RequestError",
            };
            return error(status, name, "played here");
        }
        Some(Play::Redirect) => {
            let _ = to_bytes(body, usize::MAX).await;
            return (
                StatusCode::TEMPORARY_REDIRECT,
                [(header::LOCATION, "https://elsewhere.example/")],
            )
                .into_response();
        }
        Some(Play::Break) => {
            let mut body = body.into_data_stream();
            let _ = body.next().await;
            // A body that fails makes the server drop the connection before an answer is whole.
            let broken = futures::stream::iter([Err::<Bytes, _>(std::io::Error::other("broken"))]);
            let mut response = Response::new(Body::from_stream(broken));
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            return response;
        }
        Some(Play::Slow(wait)) => tokio::time::sleep(wait).await,
        None => {}
    }
    let Ok(nar) = to_bytes(body, usize::MAX).await else {
        return error(StatusCode::BAD_REQUEST, "RequestError", "the body ends early");
    };
    if NarHash::of(&nar) != info.nar_hash || u64::try_from(nar.len()) != Ok(info.nar_size) {
        return error(StatusCode::BAD_REQUEST, "RequestError", "Bad NAR Hash or Size");
    }
    let dir = info.store_path.store_dir().parse().expect("is a store directory");
    let info = info.validate(&dir).expect("is valid");
    let mut seen = gateway.seen();
    for reference in info
        .references
        .iter()
        .filter(|name| *name != info.store_path.base_name())
    {
        let path = StorePath::new(&dir, reference).expect("is a base name");
        let upstream = reference.ends_with("-libc") && !seen.tries.contains_key("libc");
        assert!(
            upstream || seen.known.contains(&path.hash()),
            "{name} came before {reference}"
        );
    }
    seen.known.insert(info.store_path_hash);
    seen.stored.insert(name.clone(), info.nar_hash);
    seen.order.push(name);
    Json(json!({ "kind": "Uploaded", "file_size": nar.len() / 2, "frac_deduplicated": 0.25 })).into_response()
}

async fn split(body: Body, size: usize) -> (Vec<u8>, Body) {
    let mut stream = body.into_data_stream();
    let mut head = Vec::new();
    while head.len() < size {
        head.extend_from_slice(&stream.next().await.expect("has more").expect("is whole"));
    }
    let rest = Bytes::from(head.split_off(size));
    (
        head,
        Body::from_stream(futures::stream::iter([Ok(rest)]).chain(stream)),
    )
}
