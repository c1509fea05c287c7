//! A door between a coordinator and the admin APIs: it counts and names what passes, and can be a trap.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use axum::body::{Body, Bytes};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use hayloft_api::agent::AdminAddress;
use tokio::net::UnixListener;
use tokio::sync::watch;

/// When a trap springs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Garage never hears of the call.
    Before,
    /// Garage does it, and nobody hears its answer.
    After,
}

#[derive(Debug, Default)]
struct Seen {
    writes: Vec<String>,
    trap: Option<(usize, Moment)>,
}

/// All that one coordinator says to Garage goes through its door.
#[derive(Debug, Clone)]
pub struct Door {
    seen: Arc<Mutex<Seen>>,
    sprung: watch::Sender<bool>,
}

impl Default for Door {
    fn default() -> Self {
        Self {
            seen: Arc::default(),
            sprung: watch::Sender::new(false),
        }
    }
}

impl Door {
    /// The calls that changed something, in order.
    #[must_use]
    pub fn writes(&self) -> Vec<String> {
        self.lock().writes.clone()
    }

    /// The `nth` write from now on, counted from 0, shall never be answered.
    pub fn set_trap(&self, nth: usize, moment: Moment) {
        let mut seen = self.lock();
        seen.trap = Some((seen.writes.len() + nth, moment));
        drop(seen);
        self.sprung.send_replace(false);
    }

    /// Waits until the trap has sprung.
    pub async fn sprung(&self) {
        let _ = self.sprung.subscribe().wait_for(|sprung| *sprung).await;
    }

    /// Opens a door to one admin API at `socket`.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub(crate) fn open(&self, socket: PathBuf, behind: &AdminAddress) -> Result<AdminAddress> {
        let AdminAddress::Unix(behind) = behind else {
            anyhow::bail!("only sockets have doors");
        };
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket)?;
        let http = client(behind)?;
        let door = self.clone();
        let app = axum::Router::new().fallback(
            move |method: Method, uri: Uri, headers: axum::http::HeaderMap, body: Bytes| {
                let (door, http) = (door.clone(), http.clone());
                async move { door.pass(http, method, uri, headers, body).await }
            },
        );
        tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Ok(AdminAddress::Unix(socket))
    }

    async fn pass(
        self,
        http: reqwest::Client,
        method: Method,
        uri: Uri,
        headers: axum::http::HeaderMap,
        body: Bytes,
    ) -> Response {
        let call = uri.path().trim_start_matches("/v2/").to_owned();
        let trapped = if changes(&method, &call) {
            let mut seen = self.lock();
            let n = seen.writes.len();
            seen.writes.push(call);
            seen.trap.filter(|(nth, _)| *nth == n).map(|(_, moment)| moment)
        } else {
            None
        };
        if trapped == Some(Moment::Before) {
            self.sprung.send_replace(true);
            std::future::pending::<()>().await;
        }
        let url = format!("http://garage.invalid{uri}");
        let mut request = http.request(method, url).body(body);
        for name in [header::AUTHORIZATION, header::CONTENT_TYPE] {
            if let Some(value) = headers.get(&name) {
                request = request.header(name, value);
            }
        }
        let answer = match request.send().await {
            Ok(answer) => {
                let status = answer.status();
                match answer.bytes().await {
                    Ok(bytes) => (status, Body::from(bytes)).into_response(),
                    Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
                }
            }
            Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
        };
        if trapped == Some(Moment::After) {
            self.sprung.send_replace(true);
            std::future::pending::<()>().await;
        }
        answer
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn client(socket: &Path) -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder()
        .no_proxy()
        .unix_socket(socket)
        .pool_max_idle_per_host(0)
        .build()?)
}

/// Questions in the form of a POST, and those that change nothing that lasts.
const QUESTIONS: [&str; 6] = [
    "PreviewClusterLayoutChanges",
    "ListWorkers",
    "GetWorkerInfo",
    "GetWorkerVariable",
    "GetBlockInfo",
    "ConnectClusterNodes",
];

fn changes(method: &Method, call: &str) -> bool {
    *method == Method::POST && !QUESTIONS.contains(&call)
}
