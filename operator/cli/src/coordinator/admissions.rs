//! Tokens and approvals, on the control socket.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hayloft_api::HostName;
use hayloft_api::join::{TokenId, TokenLimits};
use hayloft_coordinator::admission::Admissions;

use crate::context::Clock;
use crate::control::server::refuse;
use crate::token::Created;

#[derive(Clone)]
struct Shared {
    admissions: Arc<Admissions>,
    addresses: Vec<String>,
    clock: Clock,
}

/// The routes.
pub(super) fn routes(admissions: Arc<Admissions>, addresses: Vec<String>, clock: Clock) -> Router {
    Router::new()
        .route("/v1/tokens", get(tokens).post(create))
        .route("/v1/tokens/{id}/revoke", post(revoke))
        .route("/v1/joined", get(joined))
        .route("/v1/joined/{name}/approve", post(approve))
        .route("/v1/authority", get(authority))
        .route("/v1/authority/replace", post(replace))
        .route("/v1/authority/finish", post(finish))
        .with_state(Shared {
            admissions,
            addresses,
            clock,
        })
}

fn failed(error: impl Into<anyhow::Error>) -> Response {
    refuse(StatusCode::CONFLICT, format!("{:#}", error.into()))
}

async fn tokens(State(shared): State<Shared>) -> Response {
    match shared.admissions.tokens().await {
        Ok(tokens) => Json(tokens).into_response(),
        Err(error) => failed(error),
    }
}

async fn create(State(shared): State<Shared>, Json(limits): Json<TokenLimits>) -> Response {
    let now = (shared.clock)();
    match shared
        .admissions
        .create_token(shared.addresses.clone(), &limits, now)
        .await
    {
        Ok((id, token)) => Json(Created { id, token }).into_response(),
        Err(error) => failed(error),
    }
}

async fn revoke(State(shared): State<Shared>, Path(id): Path<TokenId>) -> Response {
    match shared.admissions.revoke_token(id, (shared.clock)()).await {
        Ok(()) => Json(()).into_response(),
        Err(error) => failed(error),
    }
}

async fn joined(State(shared): State<Shared>) -> Response {
    match shared.admissions.hosts().await {
        Ok(hosts) => Json(hosts).into_response(),
        Err(error) => failed(error),
    }
}

async fn approve(State(shared): State<Shared>, Path(name): Path<HostName>) -> Response {
    match shared.admissions.approve(&name, (shared.clock)()).await {
        Ok(()) => Json(()).into_response(),
        Err(error) => failed(error),
    }
}

async fn authority(State(shared): State<Shared>) -> Response {
    match shared.admissions.authority().await {
        Ok(state) => Json(state).into_response(),
        Err(error) => failed(error),
    }
}

async fn replace(State(shared): State<Shared>) -> Response {
    match shared.admissions.begin_rotation((shared.clock)()).await {
        Ok(()) => Json(()).into_response(),
        Err(error) => failed(error),
    }
}

async fn finish(State(shared): State<Shared>) -> Response {
    match shared.admissions.finish_rotation((shared.clock)()).await {
        Ok(()) => Json(()).into_response(),
        Err(error) => failed(error),
    }
}
