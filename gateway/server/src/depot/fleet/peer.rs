//! One other gateway: the requests that are made to it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::PeerConfig;
use super::tls::LinkTls;
use super::wire::{ASK, Answer, PASS_ON, STATUS, Status, TELL, Tell, Told};

/// How long a gateway that is well takes at most to say how it is.
pub(super) const SOON: Duration = Duration::from_secs(1);
/// How long it may take to apply what it is told.
const TELL_PATIENCE: Duration = Duration::from_secs(3);
/// How long the committer may take to order.
const ASK_PATIENCE: Duration = Duration::from_secs(30);
/// How long it is not asked again whether it can be reached.
const ASKED: Duration = Duration::from_secs(4);
/// The longest answer.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Why another gateway gave no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub(in crate::depot) enum LinkError {
    /// It cannot be reached, or broke off.
    #[error("the gateway {name} cannot be reached")]
    Unreachable {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// It refuses, or speaks another language.
    #[error("the gateway {name} answers {status}")]
    Status {
        /// Its name.
        name: String,
        /// The HTTP status.
        status: u16,
    },
    /// Its answer does not parse.
    #[error("the answer of the gateway {name} cannot be parsed")]
    Answer {
        /// Its name.
        name: String,
    },
    /// No gateway is known to be the committer.
    #[error("no gateway is known to order changes")]
    Nobody,
}

/// Another gateway.
pub(super) struct Peer {
    config: PeerConfig,
    tls: LinkTls,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    instance: Option<u64>,
    log_format: Option<u32>,
    /// When it was tried last, and whether it was reached.
    tried: Option<(Instant, bool)>,
}

impl Peer {
    pub(super) fn new(config: PeerConfig, tls: LinkTls) -> Self {
        Self {
            config,
            tls,
            known: Mutex::default(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.config.name
    }

    /// Whether the instance that it said last is this one.
    pub(super) fn is(&self, instance: u64) -> bool {
        self.known().instance == Some(instance)
    }

    /// The latest format of log objects that it said it reads.
    pub(super) fn log_format(&self) -> Option<u32> {
        self.known().log_format
    }

    /// Whether it cannot be reached by the link. Asks it when it could not be a while ago.
    pub(super) async fn is_lost(&self) -> bool {
        let tried = self.known().tried;
        match tried {
            Some((at, false)) if at.elapsed() >= ASKED => self.status(SOON).await.is_none(),
            Some((_, reached)) => !reached,
            None => false,
        }
    }

    pub(super) async fn status(&self, patience: Duration) -> Option<Status> {
        let request = self.tls.client().get(self.at(STATUS)).timeout(patience);
        match self.send::<Status>(request).await {
            Ok(status) => {
                self.learn(status.instance, status.log_format);
                Some(status)
            }
            Err(error) => {
                tracing::debug!(error = super::super::error::sentence(&error), "no status");
                None
            }
        }
    }

    pub(super) async fn tell(&self, tell: &Tell) -> Result<Told, LinkError> {
        let request = self.tls.client().post(self.at(TELL)).timeout(TELL_PATIENCE);
        let told: Told = self.send(request.body(self.encode(tell)?)).await?;
        self.learn(told.instance, told.log_format);
        Ok(told)
    }

    /// Asks for requests that [`Peer::encode`] made to be ordered.
    pub(super) async fn ask(&self, requests: Bytes) -> Result<Answer, LinkError> {
        let request = self.tls.client().post(self.at(ASK)).timeout(ASK_PATIENCE);
        self.send(request.body(requests)).await
    }

    /// As [`Peer::ask`], of one that is not the committer: it asks the committer.
    pub(super) async fn ask_through(&self, requests: Bytes) -> Result<Answer, LinkError> {
        let request = self.tls.client().post(self.at(ASK)).timeout(ASK_PATIENCE);
        self.send(request.header(PASS_ON, "1").body(requests)).await
    }

    /// A request to it, which the caller completes.
    pub(super) fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.tls.client().request(method, self.at(path))
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.config.url.as_str().trim_end_matches('/'))
    }

    fn encode(&self, message: &impl Serialize) -> Result<Vec<u8>, LinkError> {
        postcard::to_stdvec(message).map_err(|_| self.garbled())
    }

    async fn send<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<T, LinkError> {
        let unreachable = |source| LinkError::Unreachable {
            name: self.config.name.clone(),
            source,
        };
        let response = request.send().await.map_err(unreachable);
        self.note(response.as_ref().err());
        let mut response = response?;
        if !response.status().is_success() {
            return Err(LinkError::Status {
                name: self.config.name.clone(),
                status: response.status().as_u16(),
            });
        }
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(unreachable)? {
            if body.len() + part.len() > MAX_ANSWER {
                return Err(self.garbled());
            }
            body.extend_from_slice(&part);
        }
        postcard::from_bytes(&body).map_err(|_| self.garbled())
    }

    fn garbled(&self) -> LinkError {
        LinkError::Answer {
            name: self.config.name.clone(),
        }
    }

    /// Notes whether it was reached, and says when that changed.
    fn note(&self, lost: Option<&LinkError>) {
        let was = self.known().tried.replace((Instant::now(), lost.is_none()));
        match (was, lost) {
            (None | Some((_, true)), Some(error)) => tracing::warn!(
                gateway = self.name(),
                error = super::super::error::sentence(error),
                "the link to another gateway is lost"
            ),
            (Some((_, false)), None) => {
                tracing::info!(
                    gateway = self.name(),
                    "the link to another gateway is there again"
                );
            }
            _ => {}
        }
    }

    fn learn(&self, instance: u64, log_format: u32) {
        let mut known = self.known();
        known.instance = Some(instance);
        known.log_format = Some(log_format);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
