//! Joining and renewing, at the coordinator's door.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use futures::future::join_all;
use hayloft_api::HostName;
use hayloft_api::join::{Dialled, JOIN, JoinAsk, RENEW, RenewAsk};
use hayloft_api::question::{Answer, Question};
use jiff::Timestamp;
use tokio::sync::{Semaphore, watch};

use super::{AdmissionError, Admissions};
use crate::ask_agent;
use crate::coordinator::Links;
use crate::door::Knocker;

/// The longest question of a joiner: a request for a certificate and a few facts.
const LONGEST: usize = 64 * 1024;
/// So many joiners are judged at a time; the others are told to come back.
const AT_ONCE: usize = 32;
/// A member takes five seconds to find out that it does not reach somebody.
const DIAL: Duration = Duration::from_secs(8);

#[derive(Clone)]
struct Shared {
    admissions: Arc<Admissions>,
    links: watch::Receiver<Links>,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    places: Arc<Semaphore>,
}

/// The routes, for [`crate::door::DoorConfig::others`].
pub fn routes(
    admissions: Arc<Admissions>,
    links: watch::Receiver<Links>,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
) -> Router {
    Router::new()
        .route(JOIN, post(join))
        .route(RENEW, post(renew))
        .layer(DefaultBodyLimit::max(LONGEST))
        .with_state(Shared {
            admissions,
            links,
            clock,
            places: Arc::new(Semaphore::new(AT_ONCE)),
        })
}

async fn join(State(shared): State<Shared>, body: Bytes) -> Response {
    let Ok(_place) = shared.places.clone().try_acquire_owned() else {
        let why = "too many hosts join at this moment; try again in a few seconds";
        return (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    };
    // What is wrong with it is not told: it holds a secret.
    let Ok(ask) = serde_json::from_slice::<JoinAsk>(&body) else {
        return not_understood();
    };
    let addresses = [ask.facts.address.clone(), ask.facts.rpc_address.clone()];
    let dial = |members| try_addresses(shared.links.clone(), members, addresses);
    match shared.admissions.join(&ask, (shared.clock)(), dial).await {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => failed(&error),
    }
}

async fn renew(
    State(shared): State<Shared>,
    Extension(Knocker(key)): Extension<Knocker>,
    body: Bytes,
) -> Response {
    let Some(key) = key else {
        return (StatusCode::FORBIDDEN, "only a member renews").into_response();
    };
    let Ok(ask) = serde_json::from_slice::<RenewAsk>(&body) else {
        return not_understood();
    };
    match shared.admissions.renew(key, &ask, (shared.clock)()).await {
        Ok(chain) => Json(chain).into_response(),
        Err(error @ (AdmissionError::Stranger | AdmissionError::Request(_))) => {
            (StatusCode::FORBIDDEN, error.to_string()).into_response()
        }
        Err(error) => failed(&error),
    }
}

fn not_understood() -> Response {
    let why = "it is not understood: one of the two is of another version";
    (StatusCode::BAD_REQUEST, why).into_response()
}

fn failed(error: &AdmissionError) -> Response {
    tracing::error!(error = ?error, "admission failed");
    (
        StatusCode::INTERNAL_SERVER_ERROR,
        "the coordinator failed at it; its log says why",
    )
        .into_response()
}

/// Has members dial addresses.
async fn try_addresses(
    links: watch::Receiver<Links>,
    members: Vec<HostName>,
    addresses: [String; 2],
) -> Vec<Dialled> {
    let links = links.borrow().clone();
    let one = |(member, address): (HostName, String)| {
        let links = &links;
        async move {
            let link = links.get(&member)?;
            let question = Question::Dial {
                address: address.clone(),
            };
            let failed = match ask_agent::ask(&member, link, question, DIAL).await {
                Ok(Answer::Tried { failed }) => failed,
                Ok(_) => return None,
                Err(error) => Some(error.to_string()),
            };
            Some(Dialled {
                member,
                address,
                failed,
            })
        }
    };
    let pairs = members
        .into_iter()
        .flat_map(|member| addresses.clone().map(|address| (member.clone(), address)));
    join_all(pairs.map(one)).await.into_iter().flatten().collect()
}
