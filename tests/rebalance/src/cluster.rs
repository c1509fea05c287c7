//! Hosts, a coordinator and a document: what `hayloft up` has in one process, with the means to break it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use hayloft_api::agent::HostReport;
use hayloft_api::document::{HostSpec, HostState, Role};
use hayloft_api::status::{Phase, Status};
use hayloft_api::{Bytes, Document, HostName, NodeId, Percent, Span};
use hayloft_coordinator::{BUCKET, REGION, Store};
use hayloft_garage::admin::Client;
use hayloft_store::object::s3::S3Config;
use jiff::Timestamp;
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::disk::{Blocks, partition};
use crate::host::{Host, Outfit, Return};
use crate::map::LayoutMap;
use crate::seat::Seat;
use crate::{Load, PATIENCE};

/// A community's cluster on this machine.
pub struct Cluster {
    outfit: Outfit,
    hosts: BTreeMap<HostName, Host>,
    document: watch::Sender<Document>,
    seat: Option<Seat>,
    seats: usize,
    _dir: tempfile::TempDir,
}

/// Everything is as declared.
#[must_use]
pub fn ready(status: &Status) -> bool {
    status.phase == Phase::Ready
}

/// Somebody has no role any more.
#[must_use]
pub fn gone(status: &Status, host: &HostName) -> bool {
    status
        .hosts
        .iter()
        .all(|known| known.name != *host || !known.in_layout)
}

/// The name of the `n`th host.
///
/// # Errors
/// Never.
pub fn host(n: u8) -> Result<HostName> {
    Ok(format!("host-{n}").parse()?)
}

/// A declaration of the `n`th host, which lends 1 GiB.
///
/// # Errors
/// When the zone has no valid name.
pub fn storage_host(n: u8, zone: &str) -> Result<HostSpec> {
    Ok(HostSpec {
        name: host(n)?,
        owner: None,
        zone: zone.parse()?,
        roles: vec![Role::Storage],
        pledge: Some(Bytes::gib(1)),
        address: None,
        state: HostState::Active,
        away: None,
        uplink: None,
    })
}

impl Cluster {
    /// `hosts` hosts in as many zones, as `hayloft up` makes them, but without a join window, and that are dead only when
    /// a test says so. `child` is the program `rebalance-child`.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start(child: &str, hosts: u8) -> Result<Self> {
        let cluster = Self::assemble(child, hosts, hosts, |_| {}).await?;
        cluster.until("ready", ready).await?;
        Ok(cluster)
    }

    /// The same with a say in the document, and with more agents than it declares. Does not wait.
    ///
    /// # Errors
    /// When an agent or the coordinator does not start.
    pub async fn assemble(
        child: &str,
        declared: u8,
        agents: u8,
        change: impl FnOnce(&mut Document),
    ) -> Result<Self> {
        let _ = tracing_subscriber::fmt()
            .with_env_filter("hayloft_coordinator=debug,hayloft_agent=info,hayloft_store=info")
            .with_test_writer()
            .try_init();
        let dir = tempfile::Builder::new().prefix("hlr-").tempdir()?;
        let mut document = Document::laptop(declared, Bytes::gib(1))?;
        document.spec.rebalance.join_window = Span::seconds(0);
        // The disk of the machine that tests run on is not what is tested.
        document.spec.rebalance.reserve = Percent::new(0);
        change(&mut document);
        let mut cluster = Self {
            outfit: Outfit {
                dir: dir.path().to_owned(),
                garage: hayloft_garage_fixture::program()?,
                child: child.into(),
            },
            hosts: BTreeMap::new(),
            document: watch::Sender::new(document),
            seat: None,
            seats: 0,
            _dir: dir,
        };
        for n in 1..=agents {
            cluster.arrive(&host(n)?).await?;
        }
        cluster.coordinate().await?;
        Ok(cluster)
    }

    /// The folder of everything.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.outfit.dir
    }

    /// A host, dead or alive.
    ///
    /// # Errors
    /// When there never was one of that name.
    pub fn host(&self, name: &HostName) -> Result<&Host> {
        self.hosts.get(name).with_context(|| format!("no host {name}"))
    }

    /// The same, to do something to it.
    ///
    /// # Errors
    /// When there never was one of that name.
    pub fn host_mut(&mut self, name: &HostName) -> Result<&mut Host> {
        self.hosts
            .get_mut(name)
            .with_context(|| format!("no host {name}"))
    }

    /// All hosts, dead or alive.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.values()
    }

    /// A host that is not there yet begins to run its agent.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn arrive(&mut self, name: &HostName) -> Result<()> {
        let gateway = self
            .document
            .borrow()
            .gateway_host()
            .is_some_and(|host| host.name == *name);
        let arrived = Host::start(&self.outfit, name.clone(), gateway).await?;
        self.hosts.insert(name.clone(), arrived);
        self.introduce();
        Ok(())
    }

    /// Kills a host: its agent and all it runs, at once.
    ///
    /// # Errors
    /// When a process does not die.
    pub async fn kill(&mut self, name: &HostName) -> Result<()> {
        self.host_mut(name)?.kill().await
    }

    /// A host that is down comes back, with what is left of its folder.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn bring_back(&mut self, name: &HostName, how: Return) -> Result<()> {
        self.host_mut(name)?.prepare_return(how)?;
        let mut before = self.hosts.remove(name).context("no such host")?;
        self.arrive(name).await?;
        self.host_mut(name)?.keep_taken(&mut before);
        Ok(())
    }

    /// Tells the coordinator who is there.
    fn introduce(&self) {
        if let Some(seat) = &self.seat {
            seat.introduce(self.hosts.values());
        }
    }

    fn store(&self) -> PathBuf {
        self.outfit.dir.join("store.sqlite")
    }

    async fn open_store(&self) -> Result<Store> {
        Ok(Store::open(&self.store(), rand::random()).await?)
    }

    /// Puts a changed document in force.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn declare(&self, change: impl FnOnce(&mut Document)) -> Result<()> {
        let mut document = self.document.borrow().clone();
        change(&mut document);
        hayloft_api::rules::check(&document)?;
        let store = self.open_store().await?;
        store.apply(&document, clock()).await?;
        store.close().await;
        self.document.send_replace(document);
        Ok(())
    }

    /// The document in force.
    #[must_use]
    pub fn document(&self) -> Document {
        self.document.borrow().clone()
    }

    /// Starts a coordinator, if none is there.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn coordinate(&mut self) -> Result<()> {
        if self.seat.is_none() {
            let store = self.store();
            self.seat = Some(self.another_seat(&store).await?);
        }
        Ok(())
    }

    /// Starts a coordinator beside the one that is there, with a copy of its store, as happens by mistake.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn second_seat(&mut self) -> Result<Seat> {
        let copy = self.outfit.dir.join(format!("store-{}.sqlite", self.seats));
        let store = self.open_store().await?;
        store.close().await;
        for end in ["", "-wal"] {
            let from = format!("{}{end}", self.store().display());
            if Path::new(&from).exists() {
                std::fs::copy(from, format!("{}{end}", copy.display()))?;
            }
        }
        self.another_seat(&copy).await
    }

    async fn another_seat(&mut self, store: &Path) -> Result<Seat> {
        self.seats += 1;
        let seat = Seat::take(self.seats, store, &self.document).await?;
        seat.introduce(self.hosts.values());
        Ok(seat)
    }

    /// The coordinator's seat.
    ///
    /// # Errors
    /// When nobody sits there.
    pub fn seat(&self) -> Result<&Seat> {
        self.seat.as_ref().context("no coordinator runs")
    }

    /// Kills the coordinator in the middle of what it does.
    pub async fn kill_coordinator(&mut self) {
        if let Some(seat) = self.seat.take() {
            seat.kill().await;
        }
    }

    /// Stops the coordinator as a person would.
    pub async fn stop_coordinator(&mut self) {
        if let Some(seat) = self.seat.take() {
            seat.stop().await;
        }
    }

    /// What the coordinator says now.
    ///
    /// # Errors
    /// When none runs.
    pub fn status(&self) -> Result<Status> {
        Ok(self.seat()?.status())
    }

    /// Waits until the coordinator says something.
    ///
    /// # Errors
    /// When it does not within [`PATIENCE`]; with all that it said last.
    pub async fn until(&self, what: &str, holds: impl FnMut(&Status) -> bool) -> Result<Status> {
        self.until_within(PATIENCE, what, holds).await
    }

    /// The same within another time.
    ///
    /// # Errors
    /// As [`Cluster::until`].
    pub async fn until_within(
        &self,
        patience: Duration,
        what: &str,
        holds: impl FnMut(&Status) -> bool,
    ) -> Result<Status> {
        let seat = self.seat()?;
        let mut statuses = seat.statuses();
        if let Ok(held) = tokio::time::timeout(patience, statuses.wait_for(holds)).await {
            return Ok(held.context("the coordinator is gone")?.clone());
        }
        let last = serde_json::to_string_pretty(&seat.status())?;
        bail!(
            "never {what}, within {patience:?}; the coordinator says {last}, and told Garage {:?}",
            seat.door.writes()
        )
    }

    /// Waits until something can be seen that the coordinator has no part in.
    ///
    /// # Errors
    /// When it cannot within [`PATIENCE`].
    pub async fn eventually(&self, what: &str, holds: impl FnMut() -> Result<bool>) -> Result<()> {
        self.eventually_within(PATIENCE, what, holds).await
    }

    /// The same within another time.
    ///
    /// # Errors
    /// As [`Cluster::eventually`].
    pub async fn eventually_within(
        &self,
        patience: Duration,
        what: &str,
        mut holds: impl FnMut() -> Result<bool>,
    ) -> Result<()> {
        let began = tokio::time::Instant::now();
        while !holds()? {
            if began.elapsed() > patience {
                bail!("never {what}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// The admin API of a host's Garage, for a person who meddles.
    ///
    /// # Errors
    /// When there is no such host.
    pub async fn admin(&self, name: &HostName) -> Result<Client> {
        let store = self.open_store().await?;
        let token = store.secrets().admin_token.clone();
        store.close().await;
        Ok(Client::new(&self.host(name)?.report().admin, token)?)
    }

    /// The bucket as a gateway is told of it, through these hosts.
    ///
    /// # Errors
    /// When there are no such hosts.
    pub async fn bucket(&self, through: &[HostName]) -> Result<S3Config> {
        let store = self.open_store().await?;
        let secrets = store.secrets().clone();
        store.close().await;
        Ok(S3Config {
            endpoints: through
                .iter()
                .map(|name| Ok(self.host(name)?.s3()))
                .collect::<Result<_>>()?,
            region: REGION.to_owned(),
            bucket: BUCKET.to_owned(),
            access_key_id: secrets.access_key_id.clone(),
            secret_access_key: Zeroizing::new(secrets.secret_access_key.expose().to_owned()),
        })
    }

    /// Clients of the gateway that speaks to these hosts. `fill` objects are there before anything happens.
    ///
    /// # Errors
    /// When one is not taken.
    pub async fn load(&self, through: &[u8], fill: usize) -> Result<Load> {
        let through: Vec<HostName> = through.iter().map(|n| host(*n)).collect::<Result<_>>()?;
        let load = Load::new(&self.bucket(&through).await?);
        load.fill(fill).await?;
        Ok(load)
    }

    /// The newest layout that any living host has on disk.
    ///
    /// # Errors
    /// When nobody has one.
    pub fn layout(&self) -> Result<LayoutMap> {
        self.hosts
            .values()
            .filter(|host| host.is_alive())
            .filter_map(|host| LayoutMap::newest(&host.dir().join("meta")).ok())
            .max_by_key(|map| map.version)
            .context("nobody has a layout")
    }

    /// What lies on all disks.
    #[must_use]
    pub fn disks(&self) -> BTreeMap<HostName, Blocks> {
        self.hosts
            .iter()
            .map(|(name, host)| (name.clone(), host.blocks()))
            .collect()
    }

    /// Whether a host has every block that anybody has and that the newest layout wants it to have.
    ///
    /// # Errors
    /// When nobody has a layout.
    pub fn has_all(&self, name: &HostName) -> Result<bool> {
        let (layout, disks, id) = (self.layout()?, self.disks(), self.host(name)?.id());
        let wanted = |block: &str| {
            partition(block)
                .and_then(|p| layout.holders.get(usize::from(p)))
                .is_some_and(|holders| holders.contains(&id))
        };
        let own = disks.get(name).context("no disk")?;
        let all = disks.values().flat_map(|disk| disk.0.keys());
        Ok(all
            .filter(|block| wanted(block))
            .all(|block| own.0.contains_key(block)))
    }

    /// Which host is which node.
    #[must_use]
    pub fn nodes(&self) -> BTreeMap<NodeId, HostName> {
        self.hosts
            .iter()
            .map(|(name, host)| (host.id(), name.clone()))
            .collect()
    }

    /// What a host says.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn report(&self, name: &HostName) -> Result<HostReport> {
        Ok(self.host(name)?.report())
    }

    /// Stops everything.
    pub async fn stop(mut self) {
        self.stop_coordinator().await;
        for host in self.hosts.values_mut() {
            host.stop().await;
        }
    }
}

/// Tells the time to a coordinator.
#[expect(clippy::disallowed_methods, reason = "a test is its own main")]
pub(crate) fn clock() -> Timestamp {
    Timestamp::now()
}
