//! One connection to a coordinator: HTTP/2 over mutual TLS.

use std::sync::Arc;
use std::time::Duration;

use hayloft_api::join::Member;
use hayloft_api::link::{LONGEST_MESSAGE, LinkRefusal};
use hayloft_pki::{client_config, server_name};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{LinkConfig, LinkError};

/// How long a coordinator may take to pick up, and to show who it is.
const DIAL: Duration = Duration::from_secs(10);
/// It is asked so often whether it is still there, and has as long to say so.
const PING: Duration = Duration::from_secs(5);

/// Speaks to the coordinator.
#[derive(Debug, Clone)]
pub(super) struct Speaker {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
}

/// Dials, and gives who speaks and what carries that: to be waited for beside.
pub(super) async fn dial(
    config: &LinkConfig,
    address: &str,
) -> Result<
    (
        Speaker,
        impl Future<Output = Result<(), hyper::Error>> + Send + use<>,
    ),
    LinkError,
> {
    let at = || address.to_owned();
    let tls =
        client_config(Arc::clone(&config.identity), Arc::clone(&config.trust)).map_err(LinkError::Tls)?;
    let name = server_name(&Member::Coordinator, &config.cluster).map_err(LinkError::Tls)?;
    let connecting = async {
        let stream = TcpStream::connect(address).await?;
        // Messages are small; waiting to fill packets only adds delay.
        stream.set_nodelay(true)?;
        TlsConnector::from(Arc::new(tls)).connect(name, stream).await
    };
    let stream = tokio::time::timeout(DIAL, connecting)
        .await
        .map_err(|_| LinkError::Slow { address: at() })?
        .map_err(|source| LinkError::Dial {
            address: at(),
            source,
        })?;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(4 * 1024 * 1024);
    let shaking = builder.handshake(TokioIo::new(stream));
    let (sender, carrier) = tokio::time::timeout(DIAL, shaking)
        .await
        .map_err(|_| LinkError::Slow { address: at() })?
        .map_err(|error| LinkError::Lost(Some(error)))?;
    let authority = Member::Coordinator.dns_name(&config.cluster);
    Ok((Speaker { sender, authority }, carrier))
}

impl Speaker {
    /// Posts a message and reads what comes back, which must be within `within`.
    pub(super) async fn say<T: DeserializeOwned>(
        &self,
        path: &str,
        message: &(impl Serialize + Sync),
        within: Duration,
    ) -> Result<T, LinkError> {
        let (_, body) = self.post(path, message, within).await?;
        serde_json::from_slice(&body).map_err(|error| LinkError::Body(error.into()))
    }

    /// Posts a message to which nothing comes back.
    pub(super) async fn tell(
        &self,
        path: &str,
        message: &(impl Serialize + Sync),
        within: Duration,
    ) -> Result<(), LinkError> {
        self.post(path, message, within).await.map(drop)
    }

    async fn post(
        &self,
        path: &str,
        message: &(impl Serialize + Sync),
        within: Duration,
    ) -> Result<(StatusCode, Bytes), LinkError> {
        let text = serde_json::to_vec(message).map_err(LinkError::Write)?;
        let request = Request::post(format!("https://{}{path}", self.authority))
            .header(hyper::header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(text)))
            .map_err(|error| LinkError::Body(error.into()))?;
        let mut sender = self.sender.clone();
        let exchange = async {
            sender
                .ready()
                .await
                .map_err(|error| LinkError::Lost(Some(error)))?;
            let response = sender
                .send_request(request)
                .await
                .map_err(|error| LinkError::Lost(Some(error)))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LONGEST_MESSAGE);
            let body = body.collect().await.map_err(LinkError::Body)?.to_bytes();
            Ok::<_, LinkError>((status, body))
        };
        let (status, body) = tokio::time::timeout(within, exchange)
            .await
            .map_err(|_| LinkError::Lost(None))??;
        if status.is_success() {
            return Ok((status, body));
        }
        Err(serde_json::from_slice::<LinkRefusal>(&body)
            .map_or(LinkError::Status { status }, LinkError::Refused))
    }
}
