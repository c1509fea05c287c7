//! A budget for what is sent to clients elsewhere: NARs go out no faster than the operator of this gateway lets them.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::{Body, BodyDataStream};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};

use crate::depot::Pace;

/// Bodies go out in pieces of this at the most, so that many clients share a thin line fairly.
const PIECE: usize = 64 * 1024;
/// Written by proxies (RFC 7239, and what was before it).
const FORWARDED: [header::HeaderName; 2] = [
    header::FORWARDED,
    header::HeaderName::from_static("x-forwarded-for"),
];

/// Who is at the other end of a connection; put into each of its requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// The budget, shared by all answers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Uplink(Arc<Pace>);

impl Uplink {
    /// At most so many bytes a second; 0: no bound.
    pub(crate) fn new(rate: u64) -> Self {
        Self(Arc::new(Pace::new(rate)))
    }

    /// From now on so many.
    pub(crate) fn set(&self, rate: u64) {
        self.0.set(rate);
    }

    fn slow(self, body: BodyDataStream) -> impl Stream<Item = Result<Bytes, axum::Error>> {
        let pieces = body.flat_map(|data| match data {
            Ok(data) => stream::iter(pieces(data).map(Ok).collect::<Vec<_>>()),
            Err(error) => stream::iter(vec![Err(error)]),
        });
        pieces.then(move |piece| {
            let pace = self.0.clone();
            async move {
                if let Ok(piece) = &piece {
                    pace.take(u64::try_from(piece.len()).unwrap_or(u64::MAX)).await;
                }
                piece
            }
        })
    }
}

/// The parts of a piece of a body; nothing is copied.
fn pieces(mut data: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || (!data.is_empty()).then(|| data.split_to(data.len().min(PIECE))))
}

/// Whether an answer stays on this machine: the connection does, and no proxy says that it asks for somebody else.
fn stays_here(peer: Option<Peer>, headers: &HeaderMap) -> bool {
    peer.is_some_and(|Peer(peer)| peer.ip().to_canonical().is_loopback())
        && FORWARDED.iter().all(|name| !headers.contains_key(name))
}

/// Holds the answer's body to the budget.
pub(crate) async fn hold(State(uplink): State<Uplink>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    let free = request.method() != Method::GET || stays_here(peer, request.headers()) || uplink.0.is_free();
    let response = next.run(request).await;
    if free {
        return response;
    }
    response.map(|body| Body::from_stream(uplink.slow(body.into_data_stream())))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    fn peer(address: &str) -> Option<Peer> {
        Some(Peer(address.parse().unwrap()))
    }

    #[test]
    fn what_stays_on_the_machine_is_not_held_back_but_what_a_proxy_hands_on_is() {
        let mut headers = HeaderMap::new();
        assert!(stays_here(peer("127.0.0.1:4000"), &headers));
        assert!(stays_here(peer("[::ffff:127.0.0.1]:4000"), &headers));
        assert!(!stays_here(peer("192.0.2.7:4000"), &headers));
        assert!(!stays_here(None, &headers));
        headers.insert("x-forwarded-for", "192.0.2.7".parse().unwrap());
        assert!(!stays_here(peer("127.0.0.1:4000"), &headers));
    }

    async fn whole(body: impl Stream<Item = Result<Bytes, axum::Error>>) -> Vec<u8> {
        let pieces: Vec<Bytes> = Box::pin(body).map(Result::unwrap).collect().await;
        pieces.concat()
    }

    #[tokio::test(start_paused = true)]
    async fn two_bodies_share_the_budget_and_come_whole() {
        let uplink = Uplink::new(1 << 20);
        let body = |byte: u8| {
            let chunks =
                stream::iter((0..2).map(move |_| Ok::<_, std::io::Error>(Bytes::from(vec![byte; 1 << 20]))));
            uplink.clone().slow(Body::from_stream(chunks).into_data_stream())
        };
        let start = Instant::now();
        let (one, other) = futures::join!(whole(body(1)), whole(body(2)));
        assert_eq!((one, other), (vec![1; 2 << 20], vec![2; 2 << 20]));
        let passed = start.elapsed();
        assert!(
            passed > Duration::from_millis(3900) && passed <= Duration::from_secs(4),
            "{passed:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn another_budget_holds_from_then_on() {
        let uplink = Uplink::new(0);
        assert!(uplink.0.is_free());
        uplink.set(1000);
        let chunks = stream::iter((0..3).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![0; 1000]))));
        let start = Instant::now();
        let sent = uplink.slow(Body::from_stream(chunks).into_data_stream());
        assert_eq!(Box::pin(sent).count().await, 3);
        assert_eq!(start.elapsed(), Duration::from_secs(2));
    }
}
