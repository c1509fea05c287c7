//! The door at which other hosts' gateways reach this host's S3, and where it is said and asked where the coordinator is. Who is not on the list is refused in the handshake, and cut off
//! within seconds when it leaves the list.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hayloft_api::join::{HostKey, Member};
use hayloft_api::link::{FIND, Find};
use hayloft_pki::{LiveIdentity, LiveTrust, Peer, Strangers, TlsError, server_config};
use jiff::Timestamp;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::line::answer_line;
use super::{PIECE, PROTOCOL};
use crate::ports::Ports;
use crate::whereabouts::Whereabouts;

/// The most connections at a time; more wait in the system's queue.
const MOST: usize = 512;
/// How long one may take to show who it is.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How often it is looked whether an open connection's key is still on the list.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long to wait after a connection could not be accepted.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// The door cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// Its address is taken, or not this host's.
    #[error("the agent's door cannot listen at {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// TLS cannot be set up.
    #[error("the agent's door has no TLS")]
    Tls(#[source] TlsError),
}

/// An open door; closed when it is dropped.
#[derive(Debug)]
pub struct Door {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Door {
    /// Opens it.
    ///
    /// # Errors
    /// When the address is taken, or TLS refuses.
    pub async fn open(
        address: SocketAddr,
        identity: Arc<LiveIdentity>,
        trust: Arc<LiveTrust>,
        ports: watch::Receiver<Ports>,
        whereabouts: Arc<Whereabouts>,
    ) -> Result<Self, DoorError> {
        let listen = |source| DoorError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let mut tls =
            server_config(identity, Arc::clone(&trust), Strangers::Refused).map_err(DoorError::Tls)?;
        tls.alpn_protocols = vec![PROTOCOL.to_vec(), FIND.to_vec()];
        let host = Arc::new(AtTheDoor {
            acceptor: TlsAcceptor::from(Arc::new(tls)),
            trust,
            ports,
            whereabouts,
        });
        let task = tokio::spawn(async move {
            let places = Arc::new(Semaphore::new(MOST));
            loop {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                    return;
                };
                match listener.accept().await {
                    Ok((stream, from)) => {
                        let host = Arc::clone(&host);
                        tokio::spawn(async move {
                            let _place = place;
                            if let Err(error) = host.serve(stream).await {
                                tracing::debug!(%from, %error, "a connection at the agent's door ended early");
                            }
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a connection at the agent's door could not be accepted");
                        tokio::time::sleep(ACCEPT_AGAIN).await;
                    }
                }
            }
        });
        Ok(Self { address, task })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

/// What a connection needs.
struct AtTheDoor {
    acceptor: TlsAcceptor,
    trust: Arc<LiveTrust>,
    ports: watch::Receiver<Ports>,
    whereabouts: Arc<Whereabouts>,
}

impl AtTheDoor {
    async fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut stream = tokio::time::timeout(HANDSHAKE, self.acceptor.accept(stream)).await??;
        let (_, session) = stream.get_ref();
        let shown = session.peer_certificates().and_then(<[_]>::first);
        // The moment is only needed to say how the certificate stands, which nobody asks here.
        let peer = shown.and_then(|shown| Peer::of(shown, Timestamp::UNIX_EPOCH).ok());
        let from = peer.and_then(|peer| Some((peer.key, self.trust.peer(&peer.key)?)));
        let Some((key, member)) = from else {
            return Err(io::ErrorKind::PermissionDenied.into());
        };
        if session.alpn_protocol() == Some(FIND) {
            let answer = |asked: Find| self.whereabouts.answer(&member, &asked);
            return answer_line(&mut stream, HANDSHAKE, answer).await;
        }
        self.carry(stream, &key).await
    }

    /// Bytes to and from this host's S3, for a host alone, as long as it is on the list.
    async fn carry(&self, mut stream: TlsStream<TcpStream>, key: &HostKey) -> io::Result<()> {
        if !is_host(&self.trust, key) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let s3 = self.ports.borrow().s3_addr();
        let mut garage = TcpStream::connect(s3).await?;
        garage.set_nodelay(true)?;
        let off_the_list = async {
            let mut look = tokio::time::interval(LOOK_EVERY);
            loop {
                look.tick().await;
                if !is_host(&self.trust, key) {
                    return;
                }
            }
        };
        tokio::select! {
            copied = copy_bidirectional_with_sizes(&mut stream, &mut garage, PIECE, PIECE) => copied.map(drop),
            () = off_the_list => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }
}

fn is_host(trust: &LiveTrust, key: &HostKey) -> bool {
    matches!(trust.peer(key), Some(Member::Host(_)))
}
