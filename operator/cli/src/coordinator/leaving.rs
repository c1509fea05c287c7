//! A host that leaves by its own wish: it says so at the door, again and again, until it is gone.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use hayloft_api::HostName;
use hayloft_api::join::Member;
use hayloft_api::status::Status;
use hayloft_coordinator::door::Knocker;
use hayloft_pki::LiveTrust;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use crate::control::HostAction;
use crate::control::server::{Request, Wanted, refuse};

/// Where a host says that it leaves; one that does not belong any more has left.
pub(crate) const LEAVE: &str = "/v1/leave";

/// How far it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Leaving {
    /// Whether it is gone: nothing of it is needed any more.
    pub(crate) left: bool,
    /// What is waited for, in a sentence.
    pub(crate) what: String,
}

#[derive(Clone)]
struct Shared {
    trust: Arc<LiveTrust>,
    requests: mpsc::Sender<Request>,
    status: watch::Receiver<Option<Status>>,
}

/// The route, for the coordinator's door.
pub(super) fn route(
    trust: Arc<LiveTrust>,
    requests: mpsc::Sender<Request>,
    status: watch::Receiver<Option<Status>>,
) -> Router {
    Router::new().route(LEAVE, post(leave)).with_state(Shared {
        trust,
        requests,
        status,
    })
}

async fn leave(State(shared): State<Shared>, Extension(Knocker(key)): Extension<Knocker>) -> Response {
    let Some(Member::Host(host)) = key.and_then(|key| shared.trust.peer(&key)) else {
        return refuse(
            StatusCode::FORBIDDEN,
            "this host does not belong to the cluster (any more)".to_owned(),
        );
    };
    let how = shared
        .status
        .borrow()
        .as_ref()
        .map(|status| so_far(status, &host));
    let (answer, outcome) = oneshot::channel();
    let request = Request {
        wanted: Wanted::Host(HostAction::Leave { host }),
        dry_run: false,
        answer,
    };
    let stopping = || {
        refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "the coordinator is stopping".to_owned(),
        )
    };
    if shared.requests.send(request).await.is_err() {
        return stopping();
    }
    match outcome.await {
        Ok(Ok(_)) => Json(Leaving {
            left: false,
            what: how.unwrap_or_else(|| "the others take over what it holds".to_owned()),
        })
        .into_response(),
        Ok(Err(sentence)) => refuse(StatusCode::CONFLICT, sentence),
        Err(_) => stopping(),
    }
}

/// How far a host is, in a sentence.
fn so_far(status: &Status, host: &HostName) -> String {
    let held = status.hosts.iter().find(|seen| seen.name == *host);
    let blocks = held.and_then(|seen| seen.watch.blocks).unwrap_or(0);
    match status.moves.last() {
        Some(moved) if held.is_some_and(|seen| seen.in_layout) => {
            format!("layout version {} is followed", moved.version)
        }
        _ if blocks > 0 => format!(
            "{blocks} blocks lie on its disk still; Garage keeps them for ten minutes after they have other places"
        ),
        _ => "the others take over what it holds".to_owned(),
    }
}
