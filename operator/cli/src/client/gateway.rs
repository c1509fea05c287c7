//! The gateway's API as a client sees it: attic's wire, spoken with patience.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use hayloft_nixcache::api::{
    CacheConfig, ErrorBody, GetMissingPathsRequest, GetMissingPathsResponse, MAX_NAR_INFO_IN_HEADER,
    NAR_INFO_HEADER, NAR_INFO_PREAMBLE_HEADER, UploadKind, UploadResult,
};
use hayloft_nixcache::{CacheName, StorePathHash, UploadInfo};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Body, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use url::Url;

use super::backoff::{Backoff, Policy};
use super::settings::is_loopback;
use super::token::Token;

/// Store paths in one question. A gateway takes many more, attic's at most some 59,000.
const HASHES_PER_QUESTION: usize = 10_000;
/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(15);
/// How long a small request may take.
const ANSWER: Duration = Duration::from_secs(60);
/// How long an upload may stand still, or its answer fail to come, before it counts as broken.
const STALL: Duration = Duration::from_secs(300);
/// Bytes of an error's body that are read.
const ERROR_BODY: usize = 16 * 1024;

/// Why the gateway did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GatewayError {
    /// There is no connection, or it broke.
    #[error("cannot reach the gateway at {server}")]
    Unreachable {
        /// The gateway.
        server: Url,
        /// What the connection says.
        source: reqwest::Error,
    },
    /// Nothing moved for long.
    #[error("the gateway at {server} stopped answering: nothing moved for {} s", STALL.as_secs())]
    Stalled {
        /// The gateway.
        server: Url,
    },
    /// The gateway answered no.
    #[error("{0}")]
    Refused(Refusal),
    /// The gateway sends clients elsewhere, where a body cannot follow.
    #[error("{server} sends its clients to {to}: give that as --server")]
    Redirected {
        /// The gateway.
        server: Url,
        /// Where it points.
        to: String,
    },
    /// What answers is no gateway.
    #[error("what answers at {server} is not a Hayloft gateway, nor attic's server")]
    NotAGateway {
        /// The server.
        server: Url,
        /// What is wrong with its answer.
        source: reqwest::Error,
    },
    /// The token has characters that cannot be sent.
    #[error("the token holds characters that no token has: is it the right file?")]
    OddToken,
    /// The HTTP client cannot be made, for instance because the system has no certificates.
    #[error("cannot set up HTTPS")]
    Setup {
        /// Why.
        source: reqwest::Error,
    },
}

/// An answer that says no.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    /// The HTTP status.
    pub(crate) status: StatusCode,
    /// The error's name in attic's API, or an empty text.
    pub(crate) name: String,
    /// What the gateway says to people.
    pub(crate) message: String,
    /// How long it asks to wait.
    pub(crate) retry_after: Option<Duration>,
    /// Whether a token was sent.
    pub(crate) with_token: bool,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = self.message.trim_end_matches('.');
        let missing = "give --token-file, or set HAYLOFT_TOKEN_FILE";
        match (self.status, self.with_token) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, false) => {
                write!(f, "the gateway wants a token ({message}): {missing}")
            }
            (StatusCode::UNAUTHORIZED, true) => write!(f, "the gateway does not take the token: {message}"),
            (StatusCode::FORBIDDEN, true) => write!(f, "the token does not allow this: {message}"),
            (status, _) => write!(f, "the gateway answers {}: {message}", status.as_u16()),
        }
    }
}

impl GatewayError {
    /// Whether the same may go well a little later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            GatewayError::Unreachable { .. } | GatewayError::Stalled { .. } => true,
            GatewayError::Refused(refusal) => match refusal.status {
                StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => true,
                StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => false,
                status => status.is_server_error(),
            },
            GatewayError::Redirected { .. }
            | GatewayError::NotAGateway { .. }
            | GatewayError::OddToken
            | GatewayError::Setup { .. } => false,
        }
    }

    /// Whether every other request to the cache would fare alike.
    pub(crate) fn concerns_all(&self) -> bool {
        match self {
            GatewayError::Refused(refusal) => {
                matches!(refusal.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
                    || refusal.name == "NoSuchCache"
            }
            GatewayError::Redirected { .. }
            | GatewayError::NotAGateway { .. }
            | GatewayError::OddToken
            | GatewayError::Setup { .. } => true,
            GatewayError::Unreachable { .. } | GatewayError::Stalled { .. } => false,
        }
    }

    /// How long the gateway asks to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            GatewayError::Refused(refusal) => refusal.retry_after,
            _ => None,
        }
    }
}

/// Tells a person, in a line, that something takes longer.
pub(crate) type Notice = Arc<dyn Fn(&str) + Send + Sync>;

/// A gateway and the right to speak to it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Gateway {
    http: reqwest::Client,
    server: Url,
    authorization: Option<HeaderValue>,
    policy: Policy,
    seeds: Arc<AtomicU64>,
    notice: Notice,
}

impl Gateway {
    /// Makes a client; nothing is sent yet. `seed` is where the jitter of waits comes from.
    ///
    /// # Errors
    /// The token cannot be sent, or there is no HTTPS.
    pub(crate) fn new(
        server: Url,
        token: Option<&Token>,
        policy: Policy,
        seed: u64,
        notice: Notice,
    ) -> Result<Gateway, GatewayError> {
        let authorization = match token {
            Some(token) => {
                let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
                    .map_err(|_| GatewayError::OddToken)?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("hayloft/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(&server) {
            http = http.no_proxy();
        }
        let http = http.build().map_err(|source| GatewayError::Setup { source })?;
        Ok(Gateway {
            http,
            server,
            authorization,
            policy,
            seeds: Arc::new(AtomicU64::new(seed)),
            notice,
        })
    }

    /// The gateway's URL.
    pub(crate) fn server(&self) -> &Url {
        &self.server
    }

    /// Goes on at the endpoint that the cache's configuration names, as attic's client does. One that would give up
    /// encryption is not followed.
    #[must_use]
    pub(crate) fn steered(mut self, config: &CacheConfig) -> Gateway {
        let endpoint = config
            .api_endpoint
            .as_deref()
            .and_then(|text| Url::parse(text).ok());
        if let Some(endpoint) = endpoint.filter(|url| {
            url.scheme() == "https" || (url.scheme() == "http" && self.server.scheme() == "http")
        }) {
            self.server = endpoint;
        }
        self
    }

    /// The configuration of a cache.
    ///
    /// # Errors
    /// The gateway cannot be reached for a while, or refuses.
    pub(crate) async fn cache_config(&self, cache: &CacheName) -> Result<CacheConfig, GatewayError> {
        let url = self.url(&format!("_api/v1/cache-config/{cache}"));
        self.patiently(|| async { self.json(self.http.get(url.clone()).timeout(ANSWER)).await })
            .await
    }

    /// Those of the paths that the cache does not have.
    ///
    /// # Errors
    /// The gateway cannot be reached for a while, or refuses.
    pub(crate) async fn missing(
        &self,
        cache: &CacheName,
        paths: &[StorePathHash],
    ) -> Result<Vec<StorePathHash>, GatewayError> {
        let url = self.url("_api/v1/get-missing-paths");
        let mut missing = Vec::new();
        for batch in paths.chunks(HASHES_PER_QUESTION) {
            let question = GetMissingPathsRequest {
                cache: cache.clone(),
                store_path_hashes: batch.to_vec(),
            };
            let answer: GetMissingPathsResponse = self
                .patiently(|| async {
                    self.json(self.http.post(url.clone()).timeout(ANSWER).json(&question))
                        .await
                })
                .await?;
            missing.extend(answer.missing_paths);
        }
        Ok(missing)
    }

    /// Uploads one path, once. `moved` is what the body counts its bytes into: while it grows, the upload is alive.
    ///
    /// # Errors
    /// The gateway cannot be reached or refuses, or the body breaks.
    pub(crate) async fn upload<S>(
        &self,
        info: &UploadInfo,
        nar: S,
        moved: &AtomicU64,
    ) -> Result<UploadResult, GatewayError>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        let json = serde_json::to_string(info).unwrap_or_default();
        let request = self.http.put(self.url("_api/v1/upload-path"));
        let request = match HeaderValue::from_str(&json) {
            Ok(value) if json.len() < MAX_NAR_INFO_IN_HEADER => request
                .header(NAR_INFO_HEADER, value)
                .body(Body::wrap_stream(nar)),
            _ => {
                let request = request.header(NAR_INFO_PREAMBLE_HEADER, json.len());
                let preamble = stream::once(async move { Ok(Bytes::from(json)) });
                request.body(Body::wrap_stream(preamble.chain(nar)))
            }
        };
        let response = tokio::select! {
            response = self.send(request) => response?,
            () = stalled(moved) => return Err(GatewayError::Stalled { server: self.server.clone() }),
        };
        // Attic's client bears a success without JSON, and so does this one.
        let body = response.bytes().await.unwrap_or_default();
        let nothing_told = UploadResult {
            kind: UploadKind::Other,
            file_size: None,
            frac_deduplicated: None,
        };
        Ok(serde_json::from_slice(&body).unwrap_or(nothing_told))
    }

    /// A seed for one series of waits.
    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(self.policy, self.seeds.fetch_add(1, Ordering::Relaxed))
    }

    /// Waits before the next try and says so; hands the error back when there were enough tries or it is final.
    pub(crate) async fn pause(
        &self,
        what: &str,
        backoff: &mut Backoff,
        error: GatewayError,
    ) -> Result<(), GatewayError> {
        if !error.is_transient() {
            return Err(error);
        }
        let Some(wait) = backoff.next(error.retry_after()) else {
            return Err(error);
        };
        // The first retries come within a second or two and need no words.
        if backoff.tried() >= 3 {
            (self.notice)(&format!(
                "{what}: {error}; trying again in {:.0} s",
                wait.as_secs_f64().max(1.0)
            ));
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }

    async fn patiently<T, F: Future<Output = Result<T, GatewayError>>>(
        &self,
        request: impl Fn() -> F,
    ) -> Result<T, GatewayError> {
        let mut backoff = self.backoff();
        loop {
            match request().await {
                Ok(answer) => return Ok(answer),
                Err(error) => self.pause("waiting for the gateway", &mut backoff, error).await?,
            }
        }
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, GatewayError> {
        let response = self.send(request).await?;
        response.json().await.map_err(|source| {
            let (server, source) = (self.server.clone(), source.without_url());
            if source.is_decode() {
                GatewayError::NotAGateway { server, source }
            } else {
                GatewayError::Unreachable { server, source }
            }
        })
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, GatewayError> {
        let request = match &self.authorization {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        };
        let response = request.send().await.map_err(|source| GatewayError::Unreachable {
            server: self.server.clone(),
            source: source.without_url(),
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if let Some(to) = response
            .headers()
            .get(LOCATION)
            .filter(|_| status.is_redirection())
        {
            let to = String::from_utf8_lossy(to.as_bytes()).into_owned();
            return Err(GatewayError::Redirected {
                server: self.server.clone(),
                to,
            });
        }
        Err(GatewayError::Refused(
            refusal(response, self.authorization.is_some()).await,
        ))
    }

    fn url(&self, path: &str) -> Url {
        // The path is made of a fixed text and a checked name, so joining cannot fail.
        self.server.join(path).unwrap_or_else(|_| self.server.clone())
    }
}

async fn refusal(mut response: Response, with_token: bool) -> Refusal {
    let status = response.status();
    let retry_after = retry_after(response.headers());
    let json = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let mut body = Vec::new();
    let read = async {
        while let Ok(Some(piece)) = response.chunk().await {
            body.extend_from_slice(&piece);
            if body.len() >= ERROR_BODY {
                break;
            }
        }
    };
    // What it says is a courtesy; the status is known already.
    let _ = tokio::time::timeout(CONNECT, read).await;
    match serde_json::from_slice::<ErrorBody>(&body) {
        Ok(told) if json => Refusal {
            status,
            name: told.error,
            message: told.message,
            retry_after,
            with_token,
        },
        _ => {
            let text = String::from_utf8_lossy(&body);
            let line = text
                .lines()
                .map(str::trim)
                .find(|line| !line.is_empty() && !line.starts_with('<'));
            let message = line
                .or(status.canonical_reason())
                .unwrap_or("no reason given")
                .chars()
                .take(200)
                .collect();
            Refusal {
                status,
                name: String::new(),
                message,
                retry_after,
                with_token,
            }
        }
    }
}

/// `Retry-After` in seconds; the form with a date is not used by gateways.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
        .map(Duration::from_secs)
}

/// Returns when the counter stood still for [`STALL`].
async fn stalled(moved: &AtomicU64) {
    let mut seen = moved.load(Ordering::Relaxed);
    loop {
        tokio::time::sleep(STALL).await;
        let now = moved.load(Ordering::Relaxed);
        if now == seen {
            return;
        }
        seen = now;
    }
}
