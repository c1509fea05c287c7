//! The door that agents dial: what they report becomes [`Links`], as if they were in this process.
//!
//! Who knocks shows a certificate, and at every request the key must still be on the list. An agent that is not heard for a
//! while counts as gone; when it comes back within that time, over whatever connection, nobody notices.

mod admin;
mod serve;
mod sessions;
mod talk;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hayloft_api::join::TrustList;
use hayloft_pki::{LiveIdentity, LiveTrust, Strangers, TlsError, server_config};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Links;
use sessions::Sessions;

/// How often it is looked which agents are gone.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a door needs.
pub struct DoorConfig {
    /// Where it listens.
    pub listener: TcpListener,
    /// What it shows of itself.
    pub identity: Arc<LiveIdentity>,
    /// Whom it lets in; may change while it is open.
    pub trust: Arc<LiveTrust>,
    /// The same list, which agents are told; see [`crate::admission::Admissions::list`]. `None`: nothing is told, because theirs may
    /// be newer.
    pub list: watch::Receiver<Option<TrustList>>,
    /// A folder of mode 0700 for sockets, one for each host's admin API; `None`: hosts are asked where they say, which is on this
    /// machine.
    pub sockets: Option<PathBuf>,
    /// Routes for those who are not on the list, such as who wants to join; they find a [`Knocker`] among the request's
    /// extensions. None: who shows no listed key does not get through the handshake.
    pub others: Option<Router>,
}

/// Who is at the other end of a request's connection; `None`: it showed no certificate.
#[derive(Debug, Clone, Copy)]
pub struct Knocker(pub Option<hayloft_api::join::HostKey>);

/// A door cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// TLS cannot be set up.
    #[error("the coordinator's door has no TLS")]
    Tls(#[source] TlsError),
    /// The socket.
    #[error("the coordinator's door has no address")]
    Socket(#[source] io::Error),
}

/// An open door; closed when it is dropped.
#[derive(Debug)]
pub struct Door {
    addr: SocketAddr,
    sessions: Arc<Sessions>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Door {
    /// Opens it.
    ///
    /// # Errors
    /// When TLS or the socket refuse.
    pub fn open(config: DoorConfig) -> Result<Self, DoorError> {
        let DoorConfig {
            listener,
            identity,
            trust,
            list,
            sockets,
            others,
        } = config;
        let strangers = if others.is_some() {
            Strangers::LetIn
        } else {
            Strangers::Refused
        };
        let tls = server_config(identity, Arc::clone(&trust), strangers).map_err(DoorError::Tls)?;
        let addr = listener.local_addr().map_err(DoorError::Socket)?;
        let sessions = Arc::new(Sessions::new(trust, list, sockets));
        let router = talk::router(Arc::clone(&sessions)).merge(others.unwrap_or_default());
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let serving = serve::Serving {
            listener,
            tls: Arc::new(tls),
            router,
            stop: stop.clone(),
            tasks: tasks.clone(),
        };
        tasks.spawn(serving.run());
        tasks.spawn(look(Arc::clone(&sessions), stop.clone()));
        Ok(Self {
            addr,
            sessions,
            stop,
            tasks,
        })
    }

    /// Where it listens.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The agents that have been heard since it was opened, for [`crate::CoordinatorConfig::links`].
    pub fn links(&self) -> watch::Receiver<Links> {
        self.sessions.links()
    }

    /// Closes it, and gives back when no connection is left. All agents count as gone then.
    pub async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.sessions.end_all();
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn look(sessions: Arc<Sessions>, stop: CancellationToken) {
    let mut tick = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => sessions.end_silent(),
        }
    }
}
