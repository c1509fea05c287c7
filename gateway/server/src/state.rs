//! What all requests share.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};
use hayloft_nixcache::CacheName;
use hayloft_nixcache::token::{Claims, TokenError, Verifier};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use url::Url;

use crate::config::DeclaredCache;
use crate::depot::{Clock, Depot, Fleet};
use crate::error::Refusal;
use crate::uplink::Uplink;

/// The most uploads at a time. More wait their turn: attic's client does not try again when it is refused.
pub(crate) const MAX_UPLOADS: usize = 64;
/// How long an upload waits for its turn before it is refused.
const UPLOAD_PATIENCE: Duration = Duration::from_secs(120);
/// How long requests wait for a gateway that starts before they are refused: most clients would not come again.
const OPENING: Duration = Duration::from_secs(5);
/// The most large JSON bodies that are held at a time.
const MAX_JSON_BODIES: usize = 8;

/// The gateway's shared state. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
    uplink: Uplink,
}

struct Inner {
    depot: OnceLock<Depot>,
    /// For those who wait for it.
    opened: watch::Sender<bool>,
    fleet: OnceLock<Fleet>,
    verifier: Verifier,
    clock: Clock,
    public_url: Option<Url>,
    declared: Vec<DeclaredCache>,
    uploads: Arc<Semaphore>,
    json_bodies: Semaphore,
}

impl Gateway {
    /// A gateway that cannot serve yet: [`Gateway::open`] gives it its data.
    #[must_use]
    pub fn new(
        verifier: Verifier,
        clock: Clock,
        public_url: Option<Url>,
        declared: Vec<DeclaredCache>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                depot: OnceLock::new(),
                opened: watch::Sender::new(false),
                fleet: OnceLock::new(),
                verifier,
                clock,
                public_url,
                declared,
                uploads: Arc::new(Semaphore::new(MAX_UPLOADS)),
                json_bodies: Semaphore::new(MAX_JSON_BODIES),
            }),
            uplink: Uplink::new(0),
        }
    }

    /// With a budget for what it sends; without, there is no bound.
    #[must_use]
    pub(crate) fn with_uplink(self, uplink: Uplink) -> Self {
        Self { uplink, ..self }
    }

    /// The budget for what it sends.
    pub(crate) fn uplink(&self) -> Uplink {
        self.uplink.clone()
    }

    /// Gives the gateway its data. Only the first call counts.
    pub fn open(&self, depot: Depot) {
        let _ = self.inner.depot.set(depot);
        self.inner.opened.send_replace(true);
    }

    /// Gives the gateway the others, which answer until it has its data. Only the first call counts.
    pub fn join(&self, fleet: Fleet) {
        let _ = self.inner.fleet.set(fleet);
    }

    /// The others, while they are to answer instead of this one.
    pub(crate) fn stand_in(&self) -> Option<&Fleet> {
        self.inner
            .fleet
            .get()
            .filter(|_| self.inner.depot.get().is_none())
    }

    /// Waits for the data, which a gateway that was started again has within a second.
    pub(crate) async fn soon_open(&self) {
        let mut opened = self.inner.opened.subscribe();
        let _ = tokio::time::timeout(OPENING, opened.wait_for(|opened| *opened)).await;
    }

    /// The data.
    ///
    /// # Errors
    /// 503 while it is being opened.
    pub(crate) fn depot(&self) -> Result<&Depot, Refusal> {
        self.inner
            .depot
            .get()
            .ok_or_else(|| Refusal::Unavailable("The gateway is starting; try again soon.".to_owned()))
    }

    pub(crate) fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        self.inner.verifier.verify(token, (self.inner.clock)())
    }

    /// What the configuration file says about a cache.
    pub(crate) fn declared(&self, name: &CacheName) -> Option<&DeclaredCache> {
        self.inner.declared.iter().find(|declared| declared.name == *name)
    }

    /// Waits for a turn to upload.
    ///
    /// # Errors
    /// 503 when that takes too long.
    pub(crate) async fn upload_turn(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let busy = || Refusal::Unavailable("Too many uploads at once; try again soon.".to_owned());
        tokio::time::timeout(UPLOAD_PATIENCE, Arc::clone(&self.inner.uploads).acquire_owned())
            .await
            .map_err(|_| busy())?
            .map_err(|_| busy())
    }

    /// The turns to hold a large JSON body.
    pub(crate) fn json_turns(&self) -> &Semaphore {
        &self.inner.json_bodies
    }

    /// The URL that the client reaches the gateway by, ending in a slash: the configured one, or what the request says.
    ///
    /// # Errors
    /// 400 when neither says it.
    pub(crate) fn base_url(&self, uri: &Uri, headers: &HeaderMap) -> Result<Url, Refusal> {
        if let Some(url) = &self.inner.public_url {
            return Ok(url.clone());
        }
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .or_else(|| uri.authority().map(Authority::as_str));
        // Only this exact value, and only to say which scheme the client sees.
        let https = headers
            .get("x-forwarded-proto")
            .is_some_and(|proto| proto == "https");
        let scheme = if https { "https" } else { "http" };
        host.and_then(|host| Url::parse(&format!("{scheme}://{host}/")).ok())
            .filter(|url| url.path() == "/" && url.username().is_empty() && url.password().is_none())
            .ok_or_else(|| Refusal::Request("Bad Host".to_owned()))
    }
}
