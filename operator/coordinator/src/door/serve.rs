//! Connections at the door.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hayloft_pki::Peer;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::Knocker;

/// The most connections at a time; more wait in the system's queue.
const MOST_CONNECTIONS: usize = 1024;
/// How long one may take to show who it is.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long one may take to say what it wants, over HTTP/1.
const HEADERS: Duration = Duration::from_secs(30);
/// An agent that does not answer a ping within twice this has lost its connection.
const PING: Duration = Duration::from_secs(10);
/// How long to wait after a connection could not be accepted, for want of file descriptors mostly.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

pub(super) struct Serving {
    pub(super) listener: TcpListener,
    pub(super) tls: Arc<ServerConfig>,
    pub(super) router: Router,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Serving {
    pub(super) async fn run(self) {
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        loop {
            let next = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (self.listener.accept().await, place)
            };
            let (accepted, place) = tokio::select! {
                next = next => next,
                () = self.stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (tls, router) = (Arc::clone(&self.tls), self.router.clone());
                    let stop = self.stop.clone();
                    self.tasks.spawn(async move {
                        let _place = place;
                        tokio::select! {
                            () = stop.cancelled() => {}
                            () = connection(stream, tls, router) => {}
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection at the coordinator's door could not be accepted");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    }
}

async fn connection(stream: TcpStream, tls: Arc<ServerConfig>, router: Router) {
    // Messages are small; waiting to fill packets only adds delay.
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(tls).accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::info!(%error, "somebody was refused at the coordinator's door");
            return;
        }
        Err(_) => {
            tracing::debug!("a handshake at the coordinator's door took too long");
            return;
        }
    };
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    // The moment is only needed to say how the certificate stands, which nobody asks here.
    let key = shown.and_then(|shown| Peer::of(shown, Timestamp::UNIX_EPOCH).ok());
    let knocker = Knocker(key.map(|peer| peer.key));
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(64)
        .max_header_list_size(16 * 1024)
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(4 * 1024 * 1024)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    let service = router.map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(knocker);
        request.map(Body::new)
    });
    let service = TowerToHyperService::new(service.map_err(|never: Infallible| match never {}));
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection at the coordinator's door ended early");
    }
}
