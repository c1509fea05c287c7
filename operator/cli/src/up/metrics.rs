//! Metrics for Prometheus, on an address of their own where that is asked for.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Renders all metrics as text. Cheap to clone.
pub(crate) type Render = Arc<dyn Fn() -> String + Send + Sync>;

/// The version of Prometheus' text format that is written.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The address cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("metrics cannot be served at {address}: {why}; choose another with --metrics-listen")]
pub(crate) struct ListenError {
    address: SocketAddr,
    why: io::Error,
}

/// Metrics that are served until this is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    /// Where they are served.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Takes an address, before anything is started.
///
/// # Errors
/// When it is taken or not this machine's.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address)
        .await
        .map_err(|why| ListenError { address, why })
}

/// Serves `/metrics`.
///
/// # Errors
/// When the system does not say where it listens.
pub(crate) fn serve(listener: TcpListener, render: Render) -> io::Result<Server> {
    let address = listener.local_addr()?;
    let router = Router::new().route("/metrics", get(move || answer(render.clone())));
    let task = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "metrics are no longer served");
        }
    });
    Ok(Server { address, task })
}

/// The answer to one look.
pub(crate) async fn answer(render: Render) -> impl IntoResponse {
    ([(CONTENT_TYPE, FORMAT)], render())
}
