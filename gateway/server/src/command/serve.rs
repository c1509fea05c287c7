//! `serve`: binds, opens the depot, serves, and stops when told.

use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

use hayloft_nixcache::token::Verifier;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::net::sockopt::socket_acceptconn;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::joining::{self, declare_by_and_by};
use super::reload::Reload;
use super::{LogFormat, Outside, log, ready};
use crate::config::{self, Config, DeclaredCache, Tokens};
use crate::control::{self, FolderLock, LockError};
use crate::declare::declare;
use crate::depot::{Depot, DepotConfig, DepotError, Effects, Fleet, OpenError, TlsError};
use crate::error::chain;
use crate::metrics::{self, watch_readiness};
use crate::routes::router;
use crate::serve::Server;
use crate::state::Gateway;
use crate::uplink::Uplink;

/// How long requests that run may take to finish when the gateway is told to stop. With [`CLOSE`], 8 seconds.
const GRACE: Duration = Duration::from_millis(6_500);
/// How long the depot may take to close after that. There is little left to do when all requests have ended.
const CLOSE: Duration = Duration::from_millis(1_500);
/// How long another process may take to leave the state folder: one that was just told to stop.
const LEAVING: Duration = Duration::from_secs(15);
/// Between two tries to open the depot: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// File descriptors that are asked for: connections of clients and to the bucket.
const FILES: u64 = 65_536;

/// Why the gateway does not serve.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServeError {
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {addr}: change \"listen\" in the configuration, or stop what listens there")]
    Bind {
        /// The address.
        addr: SocketAddr,
        #[source]
        source: io::Error,
    },
    /// What was given is no socket.
    #[error(
        "the standard input is no listening socket: leave --listener-on-stdin out, or let what starts the gateway open one"
    )]
    Inherit(#[source] io::Error),
    /// The link's address is taken, or not this machine's.
    #[error(
        "cannot listen on {addr}: change \"link.listen\" in the configuration, or stop what listens there"
    )]
    BindLink {
        /// The address.
        addr: SocketAddr,
        #[source]
        source: io::Error,
    },
    /// The link's certificate cannot be used.
    #[error("cannot open the link to other gateways")]
    Link(#[source] TlsError),
    /// The state folder cannot be made.
    #[error("cannot make the folder {path}")]
    StateDir {
        /// The folder.
        path: String,
        #[source]
        source: io::Error,
    },
    /// Another process works with the state folder.
    #[error(transparent)]
    Lock(LockError),
    /// The depot cannot be opened, and waiting will not help.
    #[error("cannot open the store")]
    Open(#[source] OpenError),
    /// A declared cache cannot be brought to what is declared.
    #[error("cannot bring the declared caches to what the configuration says")]
    Declare(#[source] DepotError),
    /// Another gateway writes to the bucket now.
    #[error(
        "another gateway with the same bucket took over, so this one ends: one gateway serves a bucket, and the one that \
         was started last is it"
    )]
    Deposed,
    /// Signals cannot be received.
    #[error("cannot receive signals")]
    Signal(#[source] io::Error),
}

/// Where clients are accepted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Door {
    /// At the configured address.
    Own,
    /// At a socket that was opened by whoever started this process.
    StandardInput,
}

pub(super) async fn run(
    path: &Path,
    format: LogFormat,
    door: Door,
    outside: &Outside,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let config = config::load(path)?;
    let traces = log::init(format, outside.log_filter.as_deref(), config.traces.as_ref())?;
    let metrics = match config.metrics {
        Some(addr) => Some(metrics::install(addr).await?),
        None => None,
    };
    let served = serve(config, path, door, outside).await;
    if let Some(metrics) = metrics {
        metrics.stop(Duration::ZERO).await;
    }
    if let Some(traces) = traces {
        // What was not sent by now is not worth waiting for.
        let _ = traces.shutdown_with_timeout(CLOSE);
    }
    Ok(served?)
}

async fn serve(config: Config, path: &Path, door: Door, outside: &Outside) -> Result<(), ServeError> {
    let Config {
        listen,
        public_url,
        state_dir,
        key,
        s3,
        tokens,
        fleet,
        memory,
        uplink,
        upkeep,
        metrics,
        traces: _,
        caches,
    } = config;
    let Tokens {
        verifier,
        signer: _,
        issuer: _,
        audiences: _,
    } = tokens;
    raise_file_limit();
    make_private_folder(&state_dir)?;
    let _lock = FolderLock::take(&state_dir, LEAVING)
        .await
        .map_err(ServeError::Lock)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signal)?;
    // Received from here on, so that it never ends the process.
    let hangup = signal(SignalKind::hangup()).map_err(ServeError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signal)?;
    let told_to_stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let mut told_to_stop = std::pin::pin!(told_to_stop);

    let mut background = None;
    let uplink = Uplink::new(uplink);
    let gateway = gateway(verifier, outside, public_url, &caches, uplink.clone());
    let _readiness = metrics.map(|_| {
        let watch = watch_readiness(gateway.clone());
        AbortOnDropHandle::new(tokio::spawn(watch))
    });
    let listener = match door {
        Door::Own => TcpListener::bind(listen)
            .await
            .map_err(|source| ServeError::Bind { addr: listen, source })?,
        Door::StandardInput => inherited().map_err(ServeError::Inherit)?,
    };
    let server = Server::start_at(listener, router(gateway.clone())).map_err(ServeError::Inherit)?;
    let mut link = None;
    let mut others = None;
    let mut naming = None;
    if let Some(config) = fleet {
        let joined = joining::join(&config, outside).map_err(ServeError::Link)?;
        let doors = joined.fleet.doors(router(gateway.clone()));
        let listening = Server::start_link(config.listen, doors, joined.tls.clone()).await;
        link = Some(listening.map_err(|source| ServeError::BindLink {
            addr: config.listen,
            source,
        })?);
        gateway.join(joined.fleet.clone());
        others = Some(joined.fleet.clone());
        naming = Some(joined.naming.clone());
        let files = async move { joined.tls.watch().await };
        let _following = background.insert(AbortOnDropHandle::new(tokio::spawn(files)));
    }
    let (renewed, s3) = watch::channel(s3);
    let reload = Reload {
        file: path.to_owned(),
        s3: renewed,
        uplink,
        naming,
    };
    let _reloading = AbortOnDropHandle::new(tokio::spawn(reload.at_each(hangup)));
    let depot_config = DepotConfig {
        s3,
        state_dir: state_dir.clone(),
        key,
        memory: memory.0,
        upkeep,
    };
    let opened = tokio::select! {
        opened = open(depot_config, others, &caches, outside) => Some(opened?),
        () = &mut told_to_stop => None,
    };
    if let Some(depot) = opened {
        gateway.open(depot.clone());
        depot.start_upkeep();
        let _commands = control::listen(&state_dir, depot.clone());
        announce(server.addr(), outside);
        let deposed = tokio::select! {
            () = &mut told_to_stop => false,
            () = depot.deposed() => true,
        };
        info!("stopping");
        let finished = server.stop(GRACE).await;
        if !finished {
            warn!("requests were cut off after {GRACE:?}");
        }
        let _ = tokio::time::timeout(CLOSE, depot.close()).await;
        if let Some(link) = link {
            link.stop(Duration::ZERO).await;
        }
        if deposed {
            return Err(ServeError::Deposed);
        }
    } else {
        server.stop(CLOSE).await;
    }
    info!("stopped");
    Ok(())
}

/// The socket that is the standard input.
fn inherited() -> io::Result<TcpListener> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    if !socket_acceptconn(&socket)? {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let listener = std::net::TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

fn gateway(
    verifier: Verifier,
    outside: &Outside,
    public_url: Option<url::Url>,
    caches: &[DeclaredCache],
    uplink: Uplink,
) -> Gateway {
    Gateway::new(verifier, outside.clock.clone(), public_url, caches.to_vec()).with_uplink(uplink)
}

/// Opens the depot and brings declared caches to what is declared. While the bucket does not answer, tries again.
async fn open(
    config: DepotConfig,
    fleet: Option<Fleet>,
    caches: &[DeclaredCache],
    outside: &Outside,
) -> Result<Depot, ServeError> {
    let mut random = StdRng::from_seed(outside.seed);
    let mut pause = FIRST_PAUSE;
    let mut depot = None;
    loop {
        let waits_for = match &depot {
            None => {
                // Each try gets randomness of its own: names in the bucket are never used twice.
                let effects = Effects {
                    clock: outside.clock.clone(),
                    seed: random.random(),
                };
                let opened = match fleet.clone() {
                    None => Depot::open(config.clone(), effects).await,
                    Some(fleet) => Depot::open_in_fleet(config.clone(), fleet, effects).await,
                };
                match opened {
                    Ok(opened) if fleet.is_some() => {
                        // Clients can pull before there is a committer.
                        let declaring = declare_by_and_by(opened.clone(), caches.to_vec(), random.random());
                        tokio::spawn(declaring);
                        return Ok(opened);
                    }
                    Ok(opened) => {
                        depot = Some(opened);
                        continue;
                    }
                    Err(error @ OpenError::Bucket(_)) => chain(&error),
                    Err(OpenError::Deposed) => return Err(ServeError::Deposed),
                    Err(error) => return Err(ServeError::Open(error)),
                }
            }
            Some(opened) => match declare(opened, caches).await {
                Ok(()) => return Ok(opened.clone()),
                Err(_) if opened.is_deposed() => return Err(ServeError::Deposed),
                Err(error @ DepotError::Unavailable(_)) => chain(&error),
                Err(error) => return Err(ServeError::Declare(error)),
            },
        };
        let jittered = pause.mul_f64(random.random_range(0.5..1.0));
        warn!(again_in_ms = jittered.as_millis(), "not ready: {waits_for}");
        tokio::time::sleep(jittered).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Tells whoever started the gateway where it listens, in one line of JSON.
fn announce(addr: SocketAddr, outside: &Outside) {
    info!(%addr, "serving");
    let line = serde_json::json!({ "listening": addr.to_string() });
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    if let Some(socket) = &outside.notify_socket
        && let Err(error) = ready::tell(socket)
    {
        warn!(%error, "the service manager cannot be told that the gateway serves");
    }
}

pub(super) fn make_private_folder(path: &Path) -> Result<(), ServeError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| ServeError::StateDir {
            path: path.display().to_string(),
            source,
        })
}

/// Raises the soft limit of open files as far as the hard one allows. Not being able to is no reason to stop.
fn raise_file_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(FILES, |maximum| maximum.min(FILES));
    if current.is_some_and(|current| current < wanted) {
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(wanted),
                maximum,
            },
        );
    }
}
