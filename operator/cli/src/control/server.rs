//! The side of `hayloft up`.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hayloft_api::Document;
use hayloft_api::status::Status;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::{HostAction, HostRequest, Older, Outcome, Refusal};
use crate::up::metrics::{self, Render};

/// A longer document is none.
const LONGEST_DOCUMENT: usize = 4 * 1024 * 1024;

/// What is asked of one who cannot do it.
const NOT_HERE: &str = "this coordinator does not do that: hosts join by token where `hayloft coordinator` runs, not at a `hayloft up`";

/// What somebody wants to be done.
pub(crate) enum Wanted {
    /// This document shall be followed; what becomes of it when it is an older one.
    Document(Box<Document>, Older),
    /// Something with hosts.
    Host(HostAction),
}

/// What somebody wants to be done, or to know the effect of.
pub(crate) struct Request {
    /// It.
    pub(crate) wanted: Wanted,
    /// Whether only to say what it would do.
    pub(crate) dry_run: bool,
    /// Where the answer goes: the outcome, or a sentence on why not.
    pub(crate) answer: oneshot::Sender<Result<Outcome, String>>,
}

#[derive(Clone)]
struct Shared {
    status: watch::Receiver<Option<Status>>,
    requests: mpsc::Sender<Request>,
    metrics: watch::Receiver<Option<Render>>,
}

/// A socket that is served until this is dropped.
pub(crate) struct Server {
    socket: PathBuf,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        let _ = fs::remove_file(&self.socket);
    }
}

/// Serves on `socket`, with `others` beside what every coordinator answers; gives the requests that it gets.
///
/// # Errors
/// When the socket cannot be made.
pub(crate) fn start(
    socket: &Path,
    status: watch::Receiver<Option<Status>>,
    metrics: watch::Receiver<Option<Render>>,
    others: Router,
) -> io::Result<(Server, mpsc::Receiver<Request>)> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o600))?;
    let (requests, inbox) = mpsc::channel(4);
    let router = Router::new()
        .route("/v1/status", get(show_status))
        .route("/v1/plan", post(plan))
        .route("/v1/apply", post(apply))
        .route("/v1/host", post(host))
        .route("/v1/metrics", get(show_metrics))
        .layer(DefaultBodyLimit::max(LONGEST_DOCUMENT))
        .with_state(Shared {
            status,
            requests,
            metrics,
        })
        .merge(others)
        .fallback(|| async { refuse(StatusCode::NOT_FOUND, NOT_HERE.to_owned()) });
    let task = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the control socket is no longer served");
        }
    });
    Ok((
        Server {
            socket: socket.to_owned(),
            task,
        },
        inbox,
    ))
}

async fn show_status(State(shared): State<Shared>) -> Response {
    let status = shared.status.borrow().clone();
    match status {
        Some(status) => Json(status).into_response(),
        None => only_just_started(),
    }
}

fn only_just_started() -> Response {
    refuse(
        StatusCode::SERVICE_UNAVAILABLE,
        "it has only just started; ask again in a moment".to_owned(),
    )
}

async fn show_metrics(State(shared): State<Shared>) -> Response {
    let render = shared.metrics.borrow().clone();
    match render {
        Some(render) => metrics::answer(render).await.into_response(),
        None => only_just_started(),
    }
}

async fn plan(State(shared): State<Shared>, body: String) -> Response {
    ask(shared, &body, None).await
}

#[derive(serde::Deserialize)]
struct ApplyQuery {
    #[serde(default)]
    older: Older,
}

async fn apply(
    State(shared): State<Shared>,
    Query(ApplyQuery { older }): Query<ApplyQuery>,
    body: String,
) -> Response {
    ask(shared, &body, Some(older)).await
}

/// With `older` the document is applied, else only looked at.
async fn ask(shared: Shared, body: &str, older: Option<Older>) -> Response {
    let document = match Document::from_yaml(body) {
        Ok(document) => document,
        Err(error) => {
            return refuse(
                StatusCode::BAD_REQUEST,
                format!("{:#}", anyhow::Error::from(error)),
            );
        }
    };
    let wanted = Wanted::Document(Box::new(document), older.unwrap_or_default());
    hand_on(shared, wanted, older.is_none()).await
}

async fn host(State(shared): State<Shared>, body: String) -> Response {
    let request: HostRequest = match serde_json::from_str(&body) {
        Ok(request) => request,
        Err(error) => {
            let text = format!("this `hayloft up` is of another version and does not know that: {error}");
            return refuse(StatusCode::BAD_REQUEST, text);
        }
    };
    hand_on(shared, Wanted::Host(request.action), request.dry_run).await
}

async fn hand_on(shared: Shared, wanted: Wanted, dry_run: bool) -> Response {
    let (answer, outcome) = oneshot::channel();
    let stopping = || refuse(StatusCode::SERVICE_UNAVAILABLE, "it is stopping".to_owned());
    if shared
        .requests
        .send(Request {
            wanted,
            dry_run,
            answer,
        })
        .await
        .is_err()
    {
        return stopping();
    }
    match outcome.await {
        Ok(Ok(outcome)) => Json(outcome).into_response(),
        Ok(Err(sentence)) => refuse(StatusCode::CONFLICT, sentence),
        Err(_) => stopping(),
    }
}

pub(crate) fn refuse(status: StatusCode, error: String) -> Response {
    (status, Json(Refusal { error })).into_response()
}
