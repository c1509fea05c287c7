//! While this gateway opens its index, clients' requests are answered by one that is ready: never by a 404 that is not
//! true.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::response::Response;
use tokio::time::Instant;

use super::Fleet;
use super::peer::{Peer, SOON};
use super::wire::{RELAY, Seat};

/// Marks a request that came by another gateway.
pub(crate) const RELAYED: &str = "x-hayloft-relayed";
/// The host that the client asked.
pub(super) const CLIENT_HOST: &str = "x-hayloft-client-host";
/// How long is remembered who is ready.
const FRESH: Duration = Duration::from_secs(1);

/// Headers that are about one connection (RFC 9110 §7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// Who was ready, and when.
#[derive(Default)]
pub(super) struct Ready {
    last: Mutex<Option<(Instant, Vec<Arc<Peer>>)>>,
}

impl Fleet {
    /// Lets another gateway answer a client; none: no other is ready, or the request came from one.
    pub(crate) async fn relay(&self, request: Request) -> Option<Response> {
        if request.headers().contains_key(RELAYED) {
            return None;
        }
        let (parts, body) = request.into_parts();
        let path = format!("{RELAY}{}", parts.uri.path_and_query()?.as_str());
        let mut headers = forwardable(&parts.headers);
        let host = headers.remove(header::HOST);
        let authority = parts.uri.authority().and_then(|host| host.as_str().parse().ok());
        if let Some(host) = host.or(authority) {
            headers.insert(CLIENT_HOST, host);
        }
        let send = |peer: &Peer| peer.request(parts.method.clone(), &path).headers(headers.clone());
        let ready = self.ready().await;
        if matches!(parts.method, Method::GET | Method::HEAD) {
            for peer in ready {
                if let Ok(response) = send(&peer).send().await
                    && response.status() != StatusCode::SERVICE_UNAVAILABLE
                {
                    return Some(answer(response));
                }
            }
            return None;
        }
        // A body can be sent only once.
        let peer = ready.first()?;
        let body = reqwest::Body::wrap_stream(body.into_data_stream());
        send(peer).body(body).send().await.ok().map(answer)
    }

    async fn ready(&self) -> Vec<Arc<Peer>> {
        let remembered = |last: &Option<(Instant, Vec<Arc<Peer>>)>| {
            last.as_ref()
                .filter(|(when, _)| when.elapsed() < FRESH)
                .map(|(_, peers)| peers.clone())
        };
        let last = || {
            self.inner
                .ready
                .last
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(peers) = remembered(&last()) {
            return peers;
        }
        let asked = self.inner.peers.iter().map(|peer| async move {
            let status = peer.status(SOON).await?;
            (status.seat != Seat::Opening).then(|| Arc::clone(peer))
        });
        let peers: Vec<Arc<Peer>> = futures::future::join_all(asked)
            .await
            .into_iter()
            .flatten()
            .collect();
        *last() = Some((Instant::now(), peers.clone()));
        peers
    }
}

fn answer(response: reqwest::Response) -> Response {
    let mut out = Response::new(Body::empty());
    *out.status_mut() = response.status();
    *out.headers_mut() = forwardable(response.headers());
    *out.body_mut() = Body::from_stream(response.bytes_stream());
    out
}

fn forwardable(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    headers
}
