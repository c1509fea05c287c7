//! Garage's admin API of a host elsewhere, as a socket of this machine: each request becomes a question to the host's agent.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hayloft_api::Secret;
use hayloft_api::link::LONGEST_MESSAGE;
use hayloft_api::question::{Answer, Question, Refusal};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// A longer body would not fit a message, once it is written as a JSON string.
const LONGEST: usize = LONGEST_MESSAGE / 4;
/// Whoever asks Garage gives up sooner.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Where questions to the agent go.
pub(super) type Questions = mpsc::Sender<(Question, oneshot::Sender<Result<Answer, Refusal>>)>;

/// Serves at `socket` until `over`; then the socket is removed.
pub(super) fn serve(socket: &Path, questions: Questions, over: CancellationToken) -> std::io::Result<()> {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    let router = Router::new().fallback(pass_on).with_state(questions);
    let gone = Gone(socket.to_owned());
    tokio::spawn(async move {
        let _gone = gone;
        tokio::select! {
            () = over.cancelled() => {}
            served = axum::serve(listener, router) => {
                if let Err(error) = served {
                    tracing::error!(%error, "the way to a host's admin API is closed");
                }
            }
        }
    });
    Ok(())
}

/// Removes a socket when it is dropped.
struct Gone(PathBuf);

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn pass_on(State(questions): State<Questions>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let authorization = parts
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let Ok(body) = to_bytes(body, LONGEST).await else {
        return (StatusCode::PAYLOAD_TOO_LARGE, "the request is too long").into_response();
    };
    let question = Question::Admin {
        method: parts.method.to_string(),
        path: parts
            .uri
            .path_and_query()
            .map_or_else(|| "/".to_owned(), ToString::to_string),
        authorization: Secret::new(authorization.unwrap_or_default()),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let asked = async {
        let (sender, answer) = oneshot::channel();
        questions.send((question, sender)).await.ok()?;
        answer.await.ok()
    };
    match tokio::time::timeout(ANSWER_WITHIN, asked).await {
        Ok(Some(Ok(Answer::Admin { status, body }))) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
        Ok(Some(Ok(_))) => (StatusCode::BAD_GATEWAY, "the agent answered another question").into_response(),
        Ok(Some(Err(refusal))) => (StatusCode::BAD_GATEWAY, refusal.to_string()).into_response(),
        Ok(None) => (StatusCode::BAD_GATEWAY, "the agent is gone").into_response(),
        Err(_) => (StatusCode::GATEWAY_TIMEOUT, "the agent does not answer").into_response(),
    }
}
