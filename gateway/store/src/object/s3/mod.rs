//! The bucket over S3, at one of several endpoints of the same cluster.

mod failure;

use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher as _, RandomState};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use bytes::{Bytes, BytesMut};
use futures::FutureExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use zeroize::Zeroizing;

use self::failure::{Failure, failure, status};
use super::endpoints::{self, Endpoints};
use super::{Answer, Cause, ObjectError, ObjectStore, Page};

const CONNECT: Duration = Duration::from_secs(2);
/// How long an endpoint may take to begin an answer to a read or a listing before the next is asked.
const FIRST_BYTE: Duration = Duration::from_secs(5);
/// What a transfer is given besides its size.
const GRACE: Duration = Duration::from_secs(5);
/// How long an endpoint that failed may take to show that it answers again.
const PROBE: Duration = Duration::from_secs(3);
/// The slowest transfer that is waited for, in bytes a second.
const SLOWEST: u64 = 512 * 1024;
/// How often all endpoints are tried in turn.
const ROUNDS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(150);

/// Where the bucket is and who we are there.
#[derive(Clone, PartialEq, Eq)]
pub struct S3Config {
    /// URLs, nearest first.
    pub endpoints: Vec<String>,
    /// Region to sign for.
    pub region: String,
    /// The bucket's name.
    pub bucket: String,
    /// Id of the access key.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: Zeroizing<String>,
}

impl fmt::Debug for S3Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Config")
            .field("endpoints", &self.endpoints)
            .field("region", &self.region)
            .field("bucket", &self.bucket)
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

impl S3Config {
    /// The configuration as one that never changes.
    #[must_use]
    pub fn fixed(self) -> watch::Receiver<Self> {
        watch::channel(self).1
    }
}

struct Endpoint {
    url: String,
    client: Client,
}

/// Clients of one configuration, and how their endpoints are.
struct Ring {
    endpoints: Vec<Endpoint>,
    health: Arc<Endpoints>,
}

/// A bucket over S3.
pub struct S3Store {
    bucket: String,
    config: Mutex<watch::Receiver<S3Config>>,
    ring: RwLock<Arc<Ring>>,
    jitter: RandomState,
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Store")
            .field("bucket", &self.bucket)
            .finish_non_exhaustive()
    }
}

impl Ring {
    fn new(config: &S3Config) -> Self {
        let http = Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .build_https();
        let plain = Builder::new().build_http();
        let credentials = Credentials::new(
            &config.access_key_id,
            config.secret_access_key.as_str(),
            None,
            None,
            "hayloft configuration",
        );
        let endpoints = config
            .endpoints
            .iter()
            .map(|url| {
                let http = if url.starts_with("http://") {
                    plain.clone()
                } else {
                    http.clone()
                };
                let conf = aws_sdk_s3::Config::builder()
                    .behavior_version(BehaviorVersion::v2026_01_12())
                    .http_client(http)
                    .endpoint_url(url)
                    .region(Region::new(config.region.clone()))
                    .credentials_provider(credentials.clone())
                    .force_path_style(true)
                    // Garage refuses the trailing checksums that are the default.
                    .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
                    .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
                    // Retries and stalls are handled here, across endpoints.
                    .retry_config(RetryConfig::disabled())
                    .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
                    .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT).build())
                    .build();
                Endpoint {
                    url: url.clone(),
                    client: Client::from_conf(conf),
                }
            })
            .collect();
        Self {
            endpoints,
            health: Arc::new(Endpoints::new(config.endpoints.len())),
        }
    }
}

impl S3Store {
    /// A client for each endpoint; nothing is sent yet.
    #[must_use]
    pub fn new(config: &S3Config) -> Self {
        Self::following(config.clone().fixed())
    }

    /// As [`S3Store::new`], with endpoints and credentials of now: requests that run end where they began, the next ones go by
    /// the newest configuration. The bucket stays what it was.
    #[must_use]
    pub fn following(mut config: watch::Receiver<S3Config>) -> Self {
        let first = config.borrow_and_update().clone();
        Self {
            bucket: first.bucket.clone(),
            ring: RwLock::new(Arc::new(Ring::new(&first))),
            config: Mutex::new(config),
            jitter: RandomState::new(),
        }
    }

    /// The endpoints of now.
    fn ring(&self) -> Arc<Ring> {
        let renewed = {
            let mut config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
            // Without a sender nothing changes any more.
            let changed = config.has_changed().unwrap_or(false);
            changed.then(|| config.borrow_and_update().clone())
        };
        if let Some(config) = renewed {
            let ring = Arc::new(Ring::new(&config));
            tracing::info!(endpoints = ?config.endpoints, "S3 is asked at other endpoints, or with another key");
            *self.ring.write().unwrap_or_else(PoisonError::into_inner) = ring;
        }
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tries the endpoints in turn until one does it.
    async fn ask<T, F>(
        &self,
        what: &'static str,
        key: &str,
        limit: Duration,
        attempt: impl Fn(Client) -> F,
    ) -> Result<T, ObjectError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut refusal: Option<Cause> = None;
        let mut last: Option<Cause> = None;
        for round in 0..ROUNDS {
            if round > 0 {
                tokio::time::sleep(
                    FIRST_PAUSE
                        .saturating_mul(1 << round)
                        .mul_f64(0.5 + self.dice(round)),
                )
                .await;
            }
            let ring = self.ring();
            for index in ring.health.order() {
                let Some(endpoint) = ring.endpoints.get(index) else {
                    continue;
                };
                let cause = match timeout(limit, attempt(endpoint.client.clone())).await {
                    Ok(Ok(done)) => {
                        ring.health.succeeded(index);
                        return Ok(done);
                    }
                    Ok(Err(Failure::NotFound)) => {
                        ring.health.succeeded(index);
                        return Err(ObjectError::NotFound { key: key.to_owned() });
                    }
                    Ok(Err(Failure::Refused(cause))) => {
                        tracing::debug!(endpoint = endpoint.url, what, key, cause = %cause, "refused");
                        refusal = Some(cause);
                        continue;
                    }
                    Ok(Err(Failure::Unavailable(cause))) => cause,
                    Err(_) => format!("{} gave no answer within {limit:?}", endpoint.url).into(),
                };
                tracing::debug!(endpoint = endpoint.url, what, key, cause = %cause, "failed");
                if ring.health.failed(index) {
                    tracing::warn!(endpoint = endpoint.url, cause = %cause, "an S3 endpoint failed and is asked last");
                    self.probe(&ring.health, index, endpoint);
                }
                last = Some(cause);
            }
            // When every endpoint that answers refuses, asking again changes nothing.
            if last.is_none() && refusal.is_some() {
                break;
            }
        }
        let key = key.to_owned();
        Err(match (last, refusal) {
            (None, Some(source)) => ObjectError::Refused { what, key, source },
            (Some(source), _) => ObjectError::Unavailable { what, key, source },
            (None, None) => ObjectError::Unavailable {
                what,
                key,
                source: "no endpoint is configured".into(),
            },
        })
    }

    /// Asks a failed endpoint now and then, in the background, until it answers: a request of a client must not
    /// wait for a host that hangs. Ends with the store.
    fn probe(&self, health: &Arc<Endpoints>, index: usize, endpoint: &Endpoint) {
        let health = Arc::downgrade(health);
        let (client, bucket, url) = (endpoint.client.clone(), self.bucket.clone(), endpoint.url.clone());
        let jitter = self.dice(0);
        tokio::spawn(async move {
            for n in 0.. {
                tokio::time::sleep(endpoints::pause(n, jitter)).await;
                let request = client.list_objects_v2().bucket(&bucket).max_keys(1).send();
                let answer = timeout(PROBE, request).await;
                let Some(health) = health.upgrade() else { return };
                if matches!(answer, Ok(Ok(_))) {
                    tracing::info!(endpoint = url, "an S3 endpoint answers again");
                    health.succeeded(index);
                }
                if health.is_well(index) {
                    return;
                }
            }
        });
    }

    /// A number from 0 to 1 that nothing depends on but when a retry happens.
    fn dice(&self, round: u32) -> f64 {
        let hash = self.jitter.hash_one((round, Instant::now()));
        f64::from(u32::try_from(hash >> 32).unwrap_or(0)) / f64::from(u32::MAX)
    }

    async fn read(&self, key: &str, range: Option<Range<u64>>) -> Result<Bytes, ObjectError> {
        let wanted = range.as_ref().map(|range| range.end.saturating_sub(range.start));
        // A whole object's size is not known beforehand; none that is read whole is larger than a pack.
        let limit = transfer(wanted.unwrap_or(16 * 1024 * 1024));
        self.ask("read", key, limit, |client| {
            let header = range
                .as_ref()
                .map(|r| format!("bytes={}-{}", r.start, r.end.saturating_sub(1)));
            async move {
                let request = client
                    .get_object()
                    .bucket(&self.bucket)
                    .key(key)
                    .set_range(header)
                    .send();
                let answer = match timeout(FIRST_BYTE, request).await {
                    Ok(Ok(answer)) => answer,
                    // The object ends before the range: its length is not what it was.
                    Ok(Err(error)) if status(&error) == Some(416) => return Ok(Bytes::new()),
                    Ok(Err(error)) => return Err(failure(error)),
                    Err(_) => return Err(Failure::Unavailable("no answer began in time".into())),
                };
                let expected = u64::try_from(answer.content_length().unwrap_or(0)).unwrap_or(0);
                if wanted.is_some_and(|wanted| expected > wanted) {
                    return Err(Failure::Unavailable(
                        "more bytes were announced than were asked for".into(),
                    ));
                }
                let mut body = answer.body;
                let mut bytes = BytesMut::with_capacity(usize::try_from(expected).unwrap_or(0));
                while let Some(part) = body.next().await {
                    bytes.extend_from_slice(&part.map_err(|e| Failure::Unavailable(e.into()))?);
                }
                if bytes.len() as u64 != expected {
                    let what = format!("{} bytes came instead of {expected}", bytes.len());
                    return Err(Failure::Unavailable(what.into()));
                }
                Ok(bytes.freeze())
            }
        })
        .await
    }
}

fn transfer(bytes: u64) -> Duration {
    GRACE + Duration::from_secs(bytes / SLOWEST)
}

impl ObjectStore for S3Store {
    fn put<'a>(&'a self, key: &'a str, body: Bytes) -> Answer<'a, ()> {
        async move {
            self.ask("write", key, transfer(body.len() as u64), |client| {
                let body = ByteStream::from(body.clone());
                async move {
                    let request = client.put_object().bucket(&self.bucket).key(key).body(body);
                    request.send().await.map(|_| ()).map_err(failure)
                }
            })
            .await
        }
        .boxed()
    }

    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Bytes> {
        self.read(key, None).boxed()
    }

    fn get_range<'a>(&'a self, key: &'a str, range: Range<u64>) -> Answer<'a, Bytes> {
        self.read(key, Some(range)).boxed()
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a str>) -> Answer<'a, Page> {
        async move {
            self.ask("list", prefix, GRACE, |client| async move {
                let request = client
                    .list_objects_v2()
                    .bucket(&self.bucket)
                    .prefix(prefix)
                    .set_start_after(after.map(str::to_owned));
                let answer = match timeout(FIRST_BYTE, request.send()).await {
                    Ok(answer) => answer.map_err(failure)?,
                    Err(_) => return Err(Failure::Unavailable("no answer began in time".into())),
                };
                let more = answer.is_truncated().unwrap_or(false);
                let objects = answer.contents.unwrap_or_default().into_iter();
                let (keys, sizes) = objects
                    .filter_map(|object| {
                        let size = object.size.and_then(|size| u64::try_from(size).ok());
                        Some((object.key?, size.unwrap_or(0)))
                    })
                    .unzip();
                Ok(Page { keys, sizes, more })
            })
            .await
        }
        .boxed()
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        async move {
            let answer = self
                .ask("delete", key, GRACE, |client| async move {
                    let request = client.delete_object().bucket(&self.bucket).key(key);
                    request.send().await.map(|_| ()).map_err(failure)
                })
                .await;
            match answer {
                Err(ObjectError::NotFound { .. }) => Ok(()),
                other => other,
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn the_secret_is_not_in_debug() {
        let config = S3Config {
            endpoints: vec!["http://127.0.0.1:1".to_owned()],
            region: "garage".to_owned(),
            bucket: "hayloft".to_owned(),
            access_key_id: "GK00".to_owned(),
            secret_access_key: Zeroizing::new("very-secret".to_owned()),
        };
        assert!(!format!("{config:?}").contains("very-secret"));
    }

    #[tokio::test]
    async fn an_endpoint_where_nothing_listens_is_said_to_be_unavailable() {
        let config = S3Config {
            endpoints: vec!["http://127.0.0.1:9".to_owned()],
            region: "garage".to_owned(),
            bucket: "hayloft".to_owned(),
            access_key_id: "GK00".to_owned(),
            secret_access_key: Zeroizing::new("secret".to_owned()),
        };
        let error = S3Store::new(&config).get("format").await.unwrap_err();
        assert!(matches!(error, ObjectError::Unavailable { .. }), "{error:?}");
        assert!(
            error
                .source()
                .unwrap()
                .to_string()
                .to_lowercase()
                .contains("connect")
        );
    }
}
