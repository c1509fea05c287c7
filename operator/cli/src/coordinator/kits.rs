//! Recovery kits, made by themselves: every hour, and soon after who belongs or the document changed.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hayloft_api::ClusterName;
use hayloft_coordinator::recovery::{NoKitError, Recipient, hand_out, make};
use hayloft_coordinator::{Links, Store};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::context::Clock;
use crate::control::server::refuse;
use crate::recovery::Sealed;

/// A kit is never older than this while hosts are there.
const EVERY: Duration = Duration::from_secs(3600);
/// Changes come in groups.
const SOON: Duration = Duration::from_secs(20);

/// Makes kits until it is dropped.
pub(super) struct Kits {
    task: JoinHandle<()>,
    wanted: watch::Sender<()>,
}

impl Drop for Kits {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What kits are made of.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) store: Store,
    pub(super) cluster: ClusterName,
    pub(super) links: watch::Receiver<Links>,
    pub(super) clock: Clock,
}

impl Kits {
    pub(super) fn start(source: Source, asked: watch::Sender<()>) -> Self {
        let mut wishes = asked.subscribe();
        let task = tokio::spawn(async move {
            let mut due = Instant::now() + SOON;
            loop {
                tokio::select! {
                    () = tokio::time::sleep_until(due) => {}
                    Ok(()) = wishes.changed() => {
                        due = due.min(Instant::now() + SOON);
                        continue;
                    }
                }
                due = Instant::now() + EVERY;
                match make(&source.store, source.cluster.clone(), (source.clock)()).await {
                    Ok(kit) => {
                        let links = source.links.borrow().clone();
                        let kept = hand_out(&kit, &links).await;
                        tracing::info!(bytes = kit.len(), hosts = kept, "hosts keep a new recovery kit");
                        if kept < links.len() {
                            due = Instant::now() + EVERY / 12;
                        }
                    }
                    // A person has to make a key first; that wakes it.
                    Err(NoKitError::NoKey) => {}
                    Err(error) => tracing::error!(%error, "no recovery kit could be made"),
                }
            }
        });
        Self { task, wanted: asked }
    }

    /// Something changed that a kit should hold.
    pub(super) fn soon(&self) {
        self.wanted.send_replace(());
    }
}

#[derive(Clone)]
struct Shared {
    source: Source,
    wanted: watch::Sender<()>,
}

/// The routes, for the control socket.
pub(super) fn routes(source: Source, wanted: watch::Sender<()>) -> Router {
    Router::new()
        .route("/v1/recovery/kit", get(kit))
        .route("/v1/recovery/recipient", post(recipient))
        .with_state(Shared { source, wanted })
}

async fn kit(State(shared): State<Shared>) -> Response {
    let Source {
        store,
        cluster,
        clock,
        ..
    } = &shared.source;
    match make(store, cluster.clone(), clock()).await {
        Ok(kit) => Json(Sealed {
            kit: STANDARD.encode(kit),
        })
        .into_response(),
        Err(error) => refuse(StatusCode::CONFLICT, format!("{:#}", anyhow::Error::from(error))),
    }
}

async fn recipient(State(shared): State<Shared>, Json(text): Json<String>) -> Response {
    let recipient: Recipient = match text.parse() {
        Ok(recipient) => recipient,
        Err(error) => {
            return refuse(
                StatusCode::BAD_REQUEST,
                format!("{:#}", anyhow::Error::from(error)),
            );
        }
    };
    match shared.source.store.put_recipient(&recipient).await {
        Ok(()) => {
            shared.wanted.send_replace(());
            Json(()).into_response()
        }
        Err(error) => refuse(StatusCode::CONFLICT, format!("{:#}", anyhow::Error::from(error))),
    }
}
