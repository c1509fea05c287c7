//! Hosts that run Garage and nobody coordinates.

use std::time::Duration;

use anyhow::{Result, bail};
use hayloft_api::agent::{GARAGE_UNIT, GarageDesired, HostDesired, Peer};
use hayloft_api::{Generation, NodeId, Secret};
use hayloft_coordinator::REGION;
use hayloft_garage::admin::Client;

use crate::PATIENCE;
use crate::cluster::host;
use crate::host::{Host, Outfit};

/// Connected daemons without a layout.
pub struct Bare {
    hosts: Vec<Host>,
    token: Secret,
    _dir: tempfile::TempDir,
}

impl Bare {
    /// Starts `count` hosts that keep `copies` copies. `child` is the program `rebalance-child`.
    ///
    /// # Errors
    /// When they do not start, or do not see each other.
    pub async fn start(child: &str, count: u8, copies: u8) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("hlr-").tempdir()?;
        let outfit = Outfit {
            dir: dir.path().to_owned(),
            garage: hayloft_garage_fixture::program()?,
            child: child.into(),
        };
        let digits = || -> String {
            rand::random::<[u8; 32]>()
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect()
        };
        let (rpc_secret, token) = (Secret::new(digits()), Secret::new(digits()));
        let mut hosts = Vec::new();
        for n in 1..=count {
            hosts.push(Host::start(&outfit, host(n)?, false).await?);
        }
        let peers: Vec<Peer> = hosts
            .iter()
            .map(|host| Peer {
                id: host.id(),
                addr: host.report().rpc_addr,
            })
            .collect();
        for host in &hosts {
            let generation = Generation {
                epoch: 1,
                instance: "bare".to_owned(),
                n: 1,
            };
            let mut desired = HostDesired::nothing(generation, host.name().clone());
            desired.garage = Some(GarageDesired {
                replication_factor: copies,
                fsync: false,
                rpc_secret: rpc_secret.clone(),
                admin_token: token.clone(),
                s3_region: REGION.to_owned(),
                zone: host.name().as_str().parse()?,
                rpc_public: None,
                program: None,
                bootstrap_peers: peers
                    .iter()
                    .filter(|peer| peer.id != host.id())
                    .cloned()
                    .collect(),
            });
            host.tell(desired);
        }
        let bare = Self {
            hosts,
            token,
            _dir: dir,
        };
        bare.meet().await?;
        Ok(bare)
    }

    async fn meet(&self) -> Result<()> {
        let began = tokio::time::Instant::now();
        while began.elapsed() < PATIENCE {
            if self.hosts.iter().all(|host| host.report().runs(GARAGE_UNIT))
                && let Ok(status) = self.admin(0)?.status().await
                && status.nodes.iter().filter(|node| node.is_up).count() == self.hosts.len()
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("the daemons never met")
    }

    /// The admin API of the `n`th host, counted from 0.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn admin(&self, n: usize) -> Result<Client> {
        match self.hosts.get(n) {
            Some(host) => Ok(Client::new(&host.report().admin, self.token.clone())?),
            None => bail!("no host {n}"),
        }
    }

    /// All nodes, in order.
    #[must_use]
    pub fn ids(&self) -> Vec<NodeId> {
        self.hosts.iter().map(Host::id).collect()
    }

    /// Kills a host.
    ///
    /// # Errors
    /// When it does not die.
    pub async fn kill(&mut self, n: usize) -> Result<()> {
        match self.hosts.get_mut(n) {
            Some(host) => host.kill().await,
            None => bail!("no host {n}"),
        }
    }
}
