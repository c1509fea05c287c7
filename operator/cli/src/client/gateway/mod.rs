//! The gateway's API as a client sees it: attic's wire, spoken with patience.

mod error;
mod hint;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use hayloft_nixcache::api::{
    CacheConfig, GetMissingPathsRequest, GetMissingPathsResponse, MAX_NAR_INFO_IN_HEADER, NAR_INFO_HEADER,
    NAR_INFO_PREAMBLE_HEADER, UploadKind, UploadResult,
};
use hayloft_nixcache::token::Claims;
use hayloft_nixcache::{CacheName, StorePathHash, UploadInfo};
use reqwest::header::{AUTHORIZATION, HeaderValue, LOCATION};
use reqwest::{Body, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use url::Url;
use zeroize::Zeroizing;

pub(crate) use error::GatewayError;
use error::{STALL, innermost, refusal};

use super::backoff::{Backoff, Policy};
use super::settings::{is_loopback, parse_server};
use super::token::{Token, powers};

/// Store paths in one question. A gateway takes many more, attic's at most some 59,000.
const HASHES_PER_QUESTION: usize = 10_000;
/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(15);
/// How long a small request may take.
const ANSWER: Duration = Duration::from_secs(60);

/// Tells a person, in a line, that something takes longer.
pub(crate) type Notice = Arc<dyn Fn(&str) + Send + Sync>;

/// A gateway and the right to speak to it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Gateway {
    http: reqwest::Client,
    server: Url,
    authorization: Option<HeaderValue>,
    /// What the token says of itself; only for sentences.
    claims: Option<Arc<Claims>>,
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
        let authorization = token.map(bearer).transpose()?;
        let http = http_for(&server)?;
        Ok(Gateway {
            http,
            server,
            authorization,
            claims: token.and_then(|token| powers(token.expose())).map(Arc::new),
            policy,
            seeds: Arc::new(AtomicU64::new(seed)),
            notice,
        })
    }

    /// Goes on with another token.
    ///
    /// # Errors
    /// The token cannot be sent; the one before is kept.
    pub(crate) fn renew(&mut self, token: &Token) -> Result<(), GatewayError> {
        self.authorization = Some(bearer(token)?);
        self.claims = powers(token.expose()).map(Arc::new);
        Ok(())
    }

    /// The gateway's URL.
    pub(crate) fn server(&self) -> &Url {
        &self.server
    }

    /// Goes on at the endpoint that the cache's configuration names, as attic's client does. One that is no gateway's URL, or
    /// would give up encryption, is not followed.
    ///
    /// # Errors
    /// There is no HTTPS.
    pub(crate) fn steered(mut self, config: &CacheConfig) -> Result<Gateway, GatewayError> {
        let endpoint = config
            .api_endpoint
            .as_deref()
            .and_then(|text| parse_server(text).ok());
        let endpoint = endpoint.filter(|url| url.scheme() == "https" || self.server.scheme() == "http");
        if let Some(endpoint) = endpoint.filter(|url| *url != self.server) {
            self.http = http_for(&endpoint)?;
            self.server = endpoint;
        }
        Ok(self)
    }

    /// The configuration of a cache.
    ///
    /// # Errors
    /// The gateway cannot be reached for a while, or refuses.
    pub(crate) async fn cache_config(&self, cache: &CacheName) -> Result<CacheConfig, GatewayError> {
        let url = self.url(&format!("_api/v1/cache-config/{cache}"));
        let answer = self.patiently(|| async { self.json(self.http.get(url.clone()).timeout(ANSWER)).await });
        match answer.await {
            Err(GatewayError::Refused(refusal)) if refusal.name == "NoSuchCache" => {
                Err(GatewayError::NoSuchCache {
                    cache: cache.clone(),
                    server: self.server.clone(),
                })
            }
            // Every refusal of a gateway has a name, but for those that something before it gives.
            Err(GatewayError::Refused(refusal)) if refusal.name.is_empty() && refusal.is_final() => {
                Err(GatewayError::NotAGateway {
                    server: self.server.clone(),
                    why: format!("it says {}", refusal.status),
                })
            }
            // Every field may be left out by some gateway, but none leaves out all.
            Ok(config) if config == CacheConfig::default() => Err(GatewayError::NotAGateway {
                server: self.server.clone(),
                why: "its answer is not a cache's configuration".to_owned(),
            }),
            other => other.map_err(|error| self.explained(error, cache)),
        }
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
                .await
                .map_err(|error| self.explained(error, cache))?;
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
            response = self.send(request) => response.map_err(|error| self.explained(error, &info.cache))?,
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
        response.json().await.map_err(|error| {
            let server = self.server.clone();
            if error.is_decode() {
                let why = "its answer is not a gateway's JSON".to_owned();
                GatewayError::NotAGateway { server, why }
            } else {
                let why = innermost(&error);
                GatewayError::Unreachable { server, why }
            }
        })
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, GatewayError> {
        let request = match &self.authorization {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        };
        let response = request.send().await.map_err(|error| GatewayError::Unreachable {
            server: self.server.clone(),
            why: innermost(&error),
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

    /// Adds what the token itself says, when the gateway says that it does not allow this.
    fn explained(&self, mut error: GatewayError, cache: &CacheName) -> GatewayError {
        if let (GatewayError::Refused(refusal), Some(claims)) = (&mut error, &self.claims)
            && refusal.name == "AccessError"
        {
            refusal.hint = hint::hint(claims, cache);
        }
        error
    }

    fn url(&self, path: &str) -> Url {
        // The path is made of a fixed text and a checked name, so joining cannot fail.
        self.server.join(path).unwrap_or_else(|_| self.server.clone())
    }
}

fn bearer(token: &Token) -> Result<HeaderValue, GatewayError> {
    let text = Zeroizing::new(format!("Bearer {}", token.expose()));
    let mut value = HeaderValue::from_str(&text).map_err(|_| GatewayError::OddToken)?;
    value.set_sensitive(true);
    Ok(value)
}

/// A client for one server. Redirects are not followed: the body of an upload cannot be sent twice, and the token is for this
/// server alone.
fn http_for(server: &Url) -> Result<reqwest::Client, GatewayError> {
    let mut http = reqwest::Client::builder()
        .user_agent(concat!("hayloft/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .redirect(reqwest::redirect::Policy::none());
    // A gateway that has much to do leaves an upload unread for a while; the library would cut it after 30 seconds. What
    // lies still for too long is ended by `stalled`, a small request by its own limit.
    #[cfg(target_os = "linux")]
    {
        http = http.tcp_user_timeout(None);
    }
    if is_loopback(server) {
        http = http.no_proxy();
    }
    http.build().map_err(|source| GatewayError::Setup { source })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(server: &str) -> Gateway {
        let token = Token::new("a.jwt");
        let server = parse_server(server).expect("is a URL");
        Gateway::new(server, Some(&token), Policy::BRISK, 1, Arc::new(|_| ())).expect("makes a client")
    }

    fn steered(from: &str, to: Option<&str>) -> String {
        let config = CacheConfig {
            api_endpoint: to.map(str::to_owned),
            ..CacheConfig::default()
        };
        gateway(from)
            .steered(&config)
            .expect("makes a client")
            .server
            .to_string()
    }

    #[test]
    fn a_configuration_may_lead_elsewhere_but_never_out_of_encryption() {
        assert_eq!(
            steered("http://127.0.0.1:8080", Some("https://cache.example/sub")),
            "https://cache.example/sub/"
        );
        assert_eq!(
            steered("https://cache.example", Some("https://api.example/")),
            "https://api.example/"
        );
        assert_eq!(
            steered("https://cache.example", Some("http://api.example/")),
            "https://cache.example/"
        );
        assert_eq!(
            steered("https://cache.example", Some("file:///etc/passwd")),
            "https://cache.example/"
        );
        assert_eq!(steered("https://cache.example", None), "https://cache.example/");
    }

    /// The system's own limit for unread data cannot be asked for from outside, so this takes as long as it was.
    #[tokio::test]
    async fn an_upload_that_the_gateway_leaves_unread_for_long_is_not_cut() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

        const UNREAD: Duration = Duration::from_secs(33);
        const SIZE: usize = 32 << 20;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("is bound");
        let busy = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("is asked");
            tokio::time::sleep(UNREAD).await;
            let mut buffer = vec![0; 1 << 20];
            let mut seen = 0;
            while seen < SIZE {
                let read = stream.read(&mut buffer).await.expect("is still connected");
                assert!(read > 0, "cut after {seen} bytes");
                seen += read;
            }
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
            stream.write_all(answer.as_bytes()).await.expect("answers");
            // Whatever is still on its way is read, so that the answer is not lost.
            while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
        });
        let piece = Bytes::from(vec![1; 1 << 20]);
        let body = stream::iter((0..SIZE >> 20).map(move |_| Ok::<_, io::Error>(piece.clone())));
        let http = http_for(&parse_server("http://127.0.0.1").expect("is a URL")).expect("makes a client");
        let request = http
            .put(format!("http://{address}/"))
            .body(Body::wrap_stream(body));
        let answer = tokio::time::timeout(UNREAD * 3, request.send()).await;
        assert_eq!(
            answer.expect("is answered in time").expect("is not cut").status(),
            200
        );
        busy.await.expect("saw it all");
    }

    #[test]
    fn a_token_that_cannot_be_sent_is_an_error_that_does_not_show_it() {
        let token = Token::new("two\nlines");
        let server = parse_server("http://127.0.0.1").expect("is a URL");
        let error = Gateway::new(server, Some(&token), Policy::BRISK, 1, Arc::new(|_| ()))
            .err()
            .expect("is refused");
        assert!(!format!("{error} {error:?}").contains("lines"), "{error:?}");
    }
}
