//! The near ends: a port on loopback for each other host's door that this host's gateway goes to. A port stays the same for a
//! door also after a restart of the agent, so that the gateway's configuration does.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hayloft_api::ClusterName;
use hayloft_api::join::Member;
use hayloft_pki::{LiveIdentity, LiveTrust, client_config, server_name};
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::{PIECE, PROTOCOL};
use crate::files;
use crate::local::Doorway;

/// The most connections through one tunnel at a time; more wait.
const MOST: usize = 256;
/// How long another host may take to pick up and to show who it is. A gateway asks the next one soon.
const DIAL: Duration = Duration::from_secs(5);
/// How long to wait after a connection could not be accepted.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// All tunnels of a host.
#[derive(Debug)]
pub struct Tunnels {
    cluster: ClusterName,
    identity: Arc<LiveIdentity>,
    trust: Arc<LiveTrust>,
    file: PathBuf,
    open: Mutex<BTreeMap<Doorway, Tunnel>>,
}

#[derive(Debug)]
struct Tunnel {
    near: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Tunnels {
    /// None yet. The ports of last time are read from a file in `dir`.
    #[must_use]
    pub fn new(
        dir: &Path,
        cluster: ClusterName,
        identity: Arc<LiveIdentity>,
        trust: Arc<LiveTrust>,
    ) -> Arc<Self> {
        Arc::new(Self {
            cluster,
            identity,
            trust,
            file: dir.join("tunnels.json"),
            open: Mutex::default(),
        })
    }

    /// Makes it so that there are tunnels to exactly these doors; gives their near ends. One that cannot be made is missing. Must
    /// be called within a tokio runtime.
    pub(crate) fn to(self: &Arc<Self>, doors: &[Doorway]) -> BTreeMap<Doorway, SocketAddr> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let before: Vec<Doorway> = open.keys().cloned().collect();
        open.retain(|door, _| doors.contains(door));
        let last = self.last_time();
        for door in doors {
            if open.contains_key(door) {
                continue;
            }
            let wanted = last.get(&door.to_text()).copied().unwrap_or(0);
            match listen(wanted) {
                Ok((listener, near)) => {
                    let task = tokio::spawn(Arc::clone(self).carry(listener, door.clone()));
                    open.insert(door.clone(), Tunnel { near, task });
                }
                Err(error) => tracing::error!(host = %door.host, %error, "no tunnel to the host can be made"),
            }
        }
        let ends: BTreeMap<Doorway, SocketAddr> = open
            .iter()
            .map(|(door, tunnel)| (door.clone(), tunnel.near))
            .collect();
        if !ends.keys().eq(before.iter()) {
            self.remember(&ends);
        }
        ends
    }

    fn last_time(&self) -> BTreeMap<String, u16> {
        // Only a convenience: without it the gateway is told other ports.
        let text = std::fs::read(&self.file).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    fn remember(&self, ends: &BTreeMap<Doorway, SocketAddr>) {
        let ports: BTreeMap<String, u16> = ends
            .iter()
            .map(|(door, near)| (door.to_text(), near.port()))
            .collect();
        let text = serde_json::to_vec(&ports).unwrap_or_default();
        if let Err(error) = files::replace(&self.file, &text, 0o600) {
            tracing::warn!(%error, "the ports of tunnels could not be noted");
        }
    }

    async fn carry(self: Arc<Self>, listener: StdListener, door: Doorway) {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(host = %door.host, %error, "no tunnel to the host can be made");
                return;
            }
        };
        let places = Arc::new(Semaphore::new(MOST));
        let door = Arc::new(door);
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((near, _)) => {
                    let (tunnels, door) = (Arc::clone(&self), Arc::clone(&door));
                    tokio::spawn(async move {
                        let _place = place;
                        if let Err(error) = tunnels.pipe(near, &door).await {
                            tracing::debug!(host = %door.host, %error, "a connection to another host's S3 ended early");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection to a tunnel could not be accepted");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    }

    async fn pipe(&self, mut near: TcpStream, door: &Doorway) -> io::Result<()> {
        near.set_nodelay(true)?;
        let mut tls =
            client_config(Arc::clone(&self.identity), Arc::clone(&self.trust)).map_err(io::Error::other)?;
        tls.alpn_protocols = vec![PROTOCOL.to_vec()];
        let name = server_name(&Member::Host(door.host.clone()), &self.cluster).map_err(io::Error::other)?;
        let dialling = async {
            let far = TcpStream::connect(&door.address).await?;
            far.set_nodelay(true)?;
            TlsConnector::from(Arc::new(tls)).connect(name, far).await
        };
        let mut far = tokio::time::timeout(DIAL, dialling).await??;
        copy_bidirectional_with_sizes(&mut near, &mut far, PIECE, PIECE)
            .await
            .map(drop)
    }
}

impl Doorway {
    fn to_text(&self) -> String {
        format!("{}@{}", self.host, self.address)
    }
}

/// Listens at that port of loopback, or at another one when it is taken.
fn listen(wanted: u16) -> io::Result<(StdListener, SocketAddr)> {
    let listener = StdListener::bind((Ipv4Addr::LOCALHOST, wanted))
        .or_else(|_| StdListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    listener.set_nonblocking(true)?;
    let near = listener.local_addr()?;
    Ok((listener, near))
}
