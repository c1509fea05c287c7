//! Listens, serves connections, and stops gracefully. HTTP/1.1, and HTTP/2 for clients that begin with it.

mod idle;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracing::{debug, warn};

use idle::IdleTimeout;

use crate::depot::LinkTls;
use crate::uplink::Peer;

/// The most connections at a time; more wait in the system's queue.
const MAX_CONNECTIONS: usize = 4096;
/// How long a client may take from one answer to the end of the next request's headers. Longer than clients keep
/// connections that lie idle (reqwest 90 seconds, curl 118): a streamed upload on one that just closed cannot be retried.
const HEADERS: Duration = Duration::from_secs(150);
/// How long a connection may lie still in both directions. Nix gives up after 300 seconds, too.
const STILL: Duration = Duration::from_secs(330);
/// How long a gateway may take to show who it is.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long to wait after a connection could not be accepted, for want of file descriptors mostly.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// A server that runs until it is stopped.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    stop: watch::Sender<bool>,
    connections: TaskTracker,
}

impl Server {
    /// Binds `addr` and serves `router` on it.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(addr: SocketAddr, router: Router) -> io::Result<Self> {
        Self::start_at(TcpListener::bind(addr).await?, router)
    }

    /// As [`Server::start`], for other gateways: both sides show certificates.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start_link(addr: SocketAddr, router: Router, tls: LinkTls) -> io::Result<Self> {
        Self::start_with(TcpListener::bind(addr).await?, router, Some(tls))
    }

    /// Serves `router` on a socket that listens already.
    ///
    /// # Errors
    /// When it has no address.
    pub fn start_at(listener: TcpListener, router: Router) -> io::Result<Self> {
        Self::start_with(listener, router, None)
    }

    fn start_with(listener: TcpListener, router: Router, tls: Option<LinkTls>) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        let (stop, stopping) = watch::channel(false);
        let connections = TaskTracker::new();
        connections.spawn(accept(listener, router, tls, stopping, connections.clone()));
        Ok(Self {
            addr,
            stop,
            connections,
        })
    }

    /// The address it listens on, with the port that the system chose when 0 was asked for.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops accepting, lets requests that run finish for up to `grace`, and says whether all did.
    pub async fn stop(self, grace: Duration) -> bool {
        self.stop.send_replace(true);
        self.connections.close();
        tokio::time::timeout(grace, self.connections.wait()).await.is_ok()
    }
}

async fn accept(
    listener: TcpListener,
    router: Router,
    tls: Option<LinkTls>,
    mut stopping: watch::Receiver<bool>,
    connections: TaskTracker,
) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            next = next => next,
            // An error means that the server is gone, which is a reason to stop, too.
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Answers are small or stream in large pieces; waiting to fill packets only adds delay.
                let _ = stream.set_nodelay(true);
                let (router, stopping) = (router.clone(), stopping.clone());
                // The certificate of now.
                let tls = tls.as_ref().map(LinkTls::server);
                connections.spawn(async move {
                    let _place = place;
                    match tls {
                        None => connection(stream, Peer(peer), router, stopping).await,
                        Some(tls) => link(tls, stream, Peer(peer), router, stopping).await,
                    }
                });
            }
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// A connection of another gateway, once it has shown who it is.
async fn link(
    tls: Arc<ServerConfig>,
    stream: TcpStream,
    peer: Peer,
    router: Router,
    stopping: watch::Receiver<bool>,
) {
    match tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(tls).accept(stream)).await {
        Ok(Ok(stream)) => connection(stream, peer, router, stopping).await,
        Ok(Err(error)) => warn!(%error, "somebody who is no gateway of this bucket tried the link"),
        Err(_) => debug!("a handshake on the link took too long"),
    }
}

async fn connection<S>(stream: S, peer: Peer, router: Router, mut stopping: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(256)
        .max_header_list_size(64 * 1024)
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(8 * 1024 * 1024)
        .keep_alive_interval(Duration::from_secs(60))
        .keep_alive_timeout(Duration::from_secs(30));
    let service = router.map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(peer);
        request.map(Body::new)
    });
    let service = TowerToHyperService::new(service.map_err(|never: Infallible| match never {}));
    let io = TokioIo::new(Box::pin(IdleTimeout::new(stream, STILL)));
    let mut connection = std::pin::pin!(builder.serve_connection(io, service));
    let mut told = false;
    loop {
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    debug!(error = %crate::error::chain(error.as_ref()), "a connection ended early");
                }
                return;
            }
            _ = stopping.wait_for(|stop| *stop), if !told => {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
