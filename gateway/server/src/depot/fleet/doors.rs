//! What other gateways may ask of this one. Whoever gets here showed a certificate of the link's authority.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use futures::future::join_all;
use tokio::sync::oneshot;
use tower::ServiceExt as _;

use super::relay::{CLIENT_HOST, RELAYED};
use super::wire::{ASK, Answer, Asked, PASS_ON, RELAY, STATUS, TELL, Tell, Told, Verdict};
use super::{Fleet, Incoming, Seat};

/// The longest message.
const MAX_BODY: usize = 64 * 1024 * 1024;
/// How long whoever tells something may wait until it is applied.
const APPLY: Duration = Duration::from_secs(2);

impl Fleet {
    /// The doors for other gateways; `public` answers what clients asked of one that cannot answer yet.
    pub fn doors(&self, public: Router) -> Router {
        let relay = move |request: Request| async move {
            match unwrap(request) {
                Some(request) => public.oneshot(request).await.into_response(),
                None => StatusCode::BAD_REQUEST.into_response(),
            }
        };
        Router::new()
            .route(STATUS, get(status))
            .route(TELL, post(tell))
            .route(ASK, post(ask))
            .route(&format!("{RELAY}/{{*rest}}"), any(relay))
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .with_state(self.clone())
    }
}

async fn status(State(fleet): State<Fleet>) -> Response {
    encode(&fleet.status())
}

async fn tell(State(fleet): State<Fleet>, body: Bytes) -> Response {
    let Ok(tell) = postcard::from_bytes::<Tell>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let newest = fleet.hears_from(tell.epoch, tell.from);
    let own = *fleet.inner.own.borrow();
    if newest && own.seat == Seat::Following {
        let (applied, done) = oneshot::channel();
        if fleet.inner.inbox.try_send(Incoming { tell, applied }).is_ok() {
            // Whether it came to be applied, the position says.
            let _ = tokio::time::timeout(APPLY, done).await;
        }
    }
    let newer = if newest {
        None
    } else {
        fleet.inner.heard.borrow().epoch
    };
    let status = fleet.status();
    encode(&Told {
        instance: status.instance,
        position: status.position,
        log_format: status.log_format,
        newer,
    })
}

async fn ask(State(fleet): State<Fleet>, headers: HeaderMap, body: Bytes) -> Response {
    let Ok(requests) = postcard::from_bytes::<Vec<Asked>>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let leads = matches!(fleet.inner.own.borrow().seat, Seat::Leading { .. });
    let committer = fleet.committer().clone();
    let Some(committer) = committer.filter(|_| leads) else {
        let answer = if headers.contains_key(PASS_ON) {
            fleet.ask_leader(body).await.ok()
        } else {
            None
        };
        return encode(&answer.unwrap_or(Answer::Elsewhere));
    };
    let mut outcomes = Vec::with_capacity(requests.len());
    for Asked { id, records } in requests {
        let outcome = match fleet.inner.answered.begin(id) {
            Ok(outcome) => outcome,
            Err((say, outcome)) => {
                // In their order; what becomes of them is seen to even when whoever asked goes away.
                let pending = committer.submit(records).await;
                tokio::spawn(async move {
                    let result = match pending {
                        Ok(pending) => pending.done().await,
                        Err(error) => Err(error),
                    };
                    say.send_replace(Some(Verdict::of(result)));
                });
                outcome
            }
        };
        outcomes.push(outcome);
    }
    let verdicts = join_all(outcomes.into_iter().map(|mut outcome| async move {
        match outcome.wait_for(Option::is_some).await {
            Ok(verdict) => verdict.clone().unwrap_or(Verdict::Failed),
            Err(_) => Verdict::Failed,
        }
    }))
    .await;
    let position = fleet.inner.own.borrow().position;
    encode(&Answer::Done { position, verdicts })
}

/// The client's own request.
fn unwrap(request: Request<Body>) -> Option<Request<Body>> {
    let (mut parts, body) = request.into_parts();
    let path = parts
        .uri
        .path_and_query()?
        .as_str()
        .strip_prefix(RELAY)?
        .to_owned();
    parts.uri = path.parse::<Uri>().ok()?;
    parts.extensions.clear();
    if let Some(host) = parts.headers.remove(CLIENT_HOST) {
        parts.headers.insert(header::HOST, host);
    }
    // Once is enough.
    parts
        .headers
        .insert(RELAYED, header::HeaderValue::from_static("1"));
    Some(Request::from_parts(parts, body))
}

fn encode(message: &impl serde::Serialize) -> Response {
    match postcard::to_stdvec(message) {
        Ok(body) => body.into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
