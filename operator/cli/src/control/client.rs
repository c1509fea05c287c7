//! The side of the commands.

use std::path::PathBuf;
use std::time::Duration;

use hayloft_api::status::Status;
use reqwest::{Client, Method, Response};
use serde::de::DeserializeOwned;

use super::{HostAction, HostRequest, Older, Outcome, Refusal};
use crate::context::Context;
use crate::up::{Folder, control_socket};

/// A running `hayloft up` answers at once; this is for one that hangs.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A large database is read twice and written once before it is in its place.
const RESTORED_WITHIN: Duration = Duration::from_secs(1800);

/// Why a running `hayloft up` could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    /// No folder was named and there is no default.
    #[error("which folder? Set HOME, or name it with --dir")]
    NoDir,
    /// Nothing runs there.
    #[error(
        "no `hayloft up` runs on {dir}, nor a coordinator; start it with `hayloft up --dir {dir}`, or name its folder with --dir"
    )]
    NotRunning {
        /// The folder.
        dir: String,
    },
    /// The connection failed half-way.
    #[error("the `hayloft up` on {dir} did not answer")]
    Connection {
        dir: String,
        #[source]
        source: reqwest::Error,
    },
    /// It refused.
    #[error("{0}")]
    Refused(String),
    /// It answers in another language.
    #[error("the `hayloft up` on {dir} is of another version; use the same program for both")]
    Foreign {
        dir: String,
        #[source]
        source: serde_json::Error,
    },
    /// No client could be made.
    #[error("the HTTP client cannot be made")]
    Client(#[source] reqwest::Error),
}

/// Where one is looked for that nobody named: this user's own, else the one that is a service of this machine.
fn usual_dir(context: &Context) -> Result<PathBuf, ControlError> {
    let own = context.default_dir();
    let service = PathBuf::from(crate::coordinator::USUAL_DIR);
    let runs = |dir: &PathBuf| control_socket(&Folder::at(dir.clone())).exists();
    if own.as_ref().is_none_or(|own| !runs(own)) && runs(&service) {
        return Ok(service);
    }
    own.ok_or(ControlError::NoDir)
}

/// A way to one running `hayloft up`, or coordinator.
pub(crate) struct Control {
    client: Client,
    dir: String,
    exists: bool,
}

impl Control {
    /// Finds the one on `dir`, or on the default folder. Asks nothing yet.
    pub(crate) fn find(context: &Context, dir: Option<PathBuf>) -> Result<Self, ControlError> {
        let dir = dir.map_or_else(|| usual_dir(context), Ok)?;
        let dir = std::path::absolute(&dir).unwrap_or(dir);
        let socket = control_socket(&Folder::at(dir.clone()));
        let exists = socket.exists();
        let client = Client::builder()
            .unix_socket(socket)
            .no_proxy()
            .timeout(ANSWER_WITHIN)
            .build()
            .map_err(ControlError::Client)?;
        Ok(Self {
            client,
            dir: dir.display().to_string(),
            exists,
        })
    }

    /// The state of its cluster.
    pub(crate) async fn status(&self) -> Result<Status, ControlError> {
        self.ask(Method::GET, "status", String::new()).await
    }

    /// What applying a document would do.
    pub(crate) async fn plan(&self, document: String) -> Result<Outcome, ControlError> {
        self.ask(Method::POST, "plan", document).await
    }

    /// Applies a document; `older` says what becomes of it when it is an older one.
    pub(crate) async fn apply(&self, document: String, older: Older) -> Result<Outcome, ControlError> {
        let what = match older {
            Older::Hold => "apply",
            Older::Ask => "apply?older=ask",
            Older::Follow => "apply?older=follow",
        };
        self.ask(Method::POST, what, document).await
    }

    /// Does something with hosts, or says what that would do.
    pub(crate) async fn host(&self, request: &HostRequest) -> Result<Outcome, ControlError> {
        let body = serde_json::to_string(request).map_err(|source| ControlError::Foreign {
            dir: self.dir.clone(),
            source,
        })?;
        let within = match request {
            HostRequest {
                action: HostAction::RestoreMetadata { .. },
                dry_run: false,
            } => RESTORED_WITHIN,
            _ => ANSWER_WITHIN,
        };
        self.ask_within(Method::POST, "host", body, within).await
    }

    /// Sends something, and reads what comes back.
    pub(crate) async fn send_json<T: DeserializeOwned>(
        &self,
        what: &str,
        value: &(impl serde::Serialize + Sync),
    ) -> Result<T, ControlError> {
        let body = serde_json::to_string(value).map_err(|source| ControlError::Foreign {
            dir: self.dir.clone(),
            source,
        })?;
        self.ask_within(Method::POST, what, body, ANSWER_WITHIN).await
    }

    /// Asks; the answer is JSON.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        what: &str,
        body: String,
    ) -> Result<T, ControlError> {
        self.ask_within(method, what, body, ANSWER_WITHIN).await
    }

    async fn ask_within<T: DeserializeOwned>(
        &self,
        method: Method,
        what: &str,
        body: String,
        within: Duration,
    ) -> Result<T, ControlError> {
        if !self.exists {
            return Err(ControlError::NotRunning {
                dir: self.dir.clone(),
            });
        }
        let failed = |source: reqwest::Error| {
            if source.is_connect() {
                ControlError::NotRunning {
                    dir: self.dir.clone(),
                }
            } else {
                ControlError::Connection {
                    dir: self.dir.clone(),
                    source,
                }
            }
        };
        let request = self
            .client
            .request(method, format!("http://hayloft/v1/{what}"))
            .timeout(within)
            .header(reqwest::header::CONTENT_TYPE, "application/json")
            .body(body);
        let answer: Response = request.send().await.map_err(failed)?;
        let good = answer.status().is_success();
        let body = answer.bytes().await.map_err(failed)?;
        let foreign = |source| ControlError::Foreign {
            dir: self.dir.clone(),
            source,
        };
        if good {
            serde_json::from_slice(&body).map_err(foreign)
        } else {
            let refusal: Refusal = serde_json::from_slice(&body).map_err(foreign)?;
            Err(ControlError::Refused(refusal.error))
        }
    }
}
