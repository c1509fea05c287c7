//! The transport: one daemon, over a socket of this machine or over HTTP.

use std::time::{Duration, Instant};

use hayloft_api::Secret;
use hayloft_api::agent::AdminAddress;
use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::{AdminError, Calls};

/// Answers to questions come within milliseconds; a daemon that takes longer hangs on a half-dead peer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Computing a layout takes longer, and giving up early would leave its outcome unknown.
pub(super) const SLOW: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// More than the status of the largest cluster that Garage supports.
const MAX_ANSWER: usize = 16 << 20;

/// A client of one daemon's admin API. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: Secret,
    calls: Calls,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.base)
    }
}

impl Client {
    /// A client for the daemon at `address`, with its admin token. Nothing is sent yet.
    ///
    /// # Errors
    /// When the address is none, or the HTTP client cannot be made.
    pub fn new(address: &AdminAddress, token: Secret) -> Result<Self, AdminError> {
        let builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            // Told to stop, Garage waits for whoever keeps a connection open, up to 10 s.
            .pool_max_idle_per_host(0)
            .connect_timeout(CONNECT_TIMEOUT);
        let (builder, url) = match address {
            AdminAddress::Unix(path) => (builder.unix_socket(path.as_path()), "http://garage.invalid/"),
            AdminAddress::Url(url) => (builder, url.as_str()),
        };
        let base = Url::parse(url)
            .ok()
            .filter(|url| url.scheme() == "http" && url.has_host())
            .ok_or_else(|| AdminError::Address {
                given: url.to_owned(),
            })?;
        let http = builder.build().map_err(AdminError::Setup)?;
        Ok(Self {
            http,
            base,
            token,
            calls: Calls::default(),
        })
    }

    /// The same, and its calls are counted with others.
    #[must_use]
    pub fn counted_in(self, calls: Calls) -> Self {
        Self { calls, ..self }
    }

    /// Asks without a body.
    pub(super) async fn get<A: DeserializeOwned>(
        &self,
        call: &'static str,
        query: &[(&str, &str)],
    ) -> Result<A, AdminError> {
        self.send(call, Method::GET, query, None::<&()>, TIMEOUT).await
    }

    /// Tells.
    pub(super) async fn post<A: DeserializeOwned>(
        &self,
        call: &'static str,
        body: Option<&impl Serialize>,
        timeout: Duration,
    ) -> Result<A, AdminError> {
        self.send(call, Method::POST, &[], body, timeout).await
    }

    /// Tells, with parameters in the query.
    pub(super) async fn post_with<A: DeserializeOwned>(
        &self,
        call: &'static str,
        query: &[(&str, &str)],
        body: Option<&impl Serialize>,
        timeout: Duration,
    ) -> Result<A, AdminError> {
        self.send(call, Method::POST, query, body, timeout).await
    }

    /// Tells something about the thing with that id.
    pub(super) async fn tell_of<A: DeserializeOwned>(
        &self,
        call: &'static str,
        id: &str,
        body: Option<&impl Serialize>,
    ) -> Result<A, AdminError> {
        self.send(call, Method::POST, &[("id", id)], body, TIMEOUT).await
    }

    /// What the daemon counts, as Prometheus reads it. Costs no token's verification where the daemon asks for none.
    ///
    /// # Errors
    /// When the daemon does not answer, or refuses.
    pub async fn metrics(&self) -> Result<String, AdminError> {
        let url = self.at("/metrics");
        let request = self.http.get(url).timeout(TIMEOUT);
        let bytes = self
            .ask("metrics", request.bearer_auth(self.token.expose()))
            .await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Whether a page that needs no token says that all is well; `None`: there is no answer.
    pub(super) async fn unasked(&self, path: &str) -> Option<bool> {
        let answer = self.http.get(self.at(path)).timeout(TIMEOUT).send().await;
        answer.ok().map(|answer| answer.status().is_success())
    }

    /// Tells, within the usual time.
    pub(super) async fn tell<A: DeserializeOwned>(
        &self,
        call: &'static str,
        body: &impl Serialize,
    ) -> Result<A, AdminError> {
        self.post(call, Some(body), TIMEOUT).await
    }

    async fn send<A: DeserializeOwned>(
        &self,
        call: &'static str,
        method: Method,
        query: &[(&str, &str)],
        body: Option<&impl Serialize>,
        timeout: Duration,
    ) -> Result<A, AdminError> {
        let mut url = self.at(&format!("/v2/{call}"));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self
            .http
            .request(method, url)
            .timeout(timeout)
            .bearer_auth(self.token.expose());
        if let Some(body) = body {
            request = request.json(body);
        }
        let bytes = self.ask(call, request).await?;
        serde_json::from_slice(&bytes).map_err(|source| AdminError::Unreadable { call, source })
    }

    fn at(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(path);
        url
    }

    async fn ask(&self, call: &'static str, request: reqwest::RequestBuilder) -> Result<Vec<u8>, AdminError> {
        let began = Instant::now();
        let outcome = self.answer(call, request).await;
        self.calls.ended(call, began.elapsed(), &outcome);
        outcome
    }

    async fn answer(
        &self,
        call: &'static str,
        request: reqwest::RequestBuilder,
    ) -> Result<Vec<u8>, AdminError> {
        let no_answer = |source: reqwest::Error| AdminError::NoAnswer {
            call,
            source: source.without_url(),
        };
        let mut response = request.send().await.map_err(no_answer)?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(part) = response.chunk().await.map_err(no_answer)? {
            if bytes.len() + part.len() > MAX_ANSWER {
                let message = format!("the answer is longer than {MAX_ANSWER} bytes");
                return Err(AdminError::Refused {
                    call,
                    status: status.as_u16(),
                    message,
                });
            }
            bytes.extend_from_slice(&part);
        }
        if !status.is_success() {
            return Err(AdminError::from_refusal(
                call,
                status.as_u16(),
                &String::from_utf8_lossy(&bytes),
            ));
        }
        Ok(bytes)
    }
}
