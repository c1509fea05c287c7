//! The agent's loop: follows what is desired, reports what is.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hayloft_api::agent::{HostDesired, HostReport};
use hayloft_api::{HostName, NodeId};
use hayloft_garage::{GarageVersion, NodeKey, NodeKeyError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use crate::answer::{self, Asked, Shared};
use crate::cause::Cause;
use crate::clock::Clock;
use crate::driver::{Driver, Phase, UnitStates};
use crate::files;
use crate::launch::{self, Places};
use crate::ledger::{Ledger, Startup};
use crate::ports::{self, HeldPorts, Ports};
use crate::promise::KeptPromise;
use crate::report;
use crate::unit::UnitName;

/// Facts that change by themselves (the disk) are looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// So many questions wait at most.
const QUESTIONS: usize = 16;

/// What an agent must know of its host.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// The host's name.
    pub host: HostName,
    /// Where things lie and how programs are called.
    pub places: Places,
    /// The version of the Garage program.
    pub garage_version: GarageVersion,
    /// `host:port` for a gateway on this host; `None` when it cannot run one.
    pub gateway_addr: Option<String>,
    /// 32 random bytes, from which node keys are made.
    pub node_key_seed: [u8; 32],
    /// For dates in reports.
    pub clock: Clock,
    /// Whether a promise that ran when the agent last ended may still be relied on by its holder. False only where the
    /// coordinator lives in the agent's own process.
    pub remembers_promises: bool,
}

/// Why an agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A folder cannot be made.
    #[error("the folder of the host {host} cannot be used")]
    Folder {
        /// The host.
        host: HostName,
        /// What is wrong.
        #[source]
        source: files::WriteError,
    },
    /// The node key cannot be made or read.
    #[error("the host {host} has no identity")]
    NodeKey {
        /// The host.
        host: HostName,
        /// What is wrong.
        #[source]
        source: NodeKeyError,
    },
    /// No port is free.
    #[error("the system has no free port for the host {host}")]
    Ports {
        /// The host.
        host: HostName,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

enum Order {
    StopGateway(oneshot::Sender<()>),
    StopAll(oneshot::Sender<()>),
}

/// A running agent.
#[derive(Debug)]
pub struct AgentHandle {
    /// What the host shall run. The agent keeps it on disk and follows it.
    pub desired: watch::Sender<Option<HostDesired>>,
    /// What the agent sees, as it changes.
    pub report: watch::Receiver<HostReport>,
    /// What it is asked. Bounded: who asks more than is answered waits.
    pub questions: mpsc::Sender<Asked>,
    orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
}

impl AgentHandle {
    /// Stops the gateway of this host and gives back when it is gone. It stays stopped.
    pub async fn stop_gateway(&self) {
        let (done, wait) = oneshot::channel();
        if self.orders.send(Order::StopGateway(done)).await.is_ok() {
            let _ = wait.await;
        }
    }

    /// Stops all that this host runs, the gateway first, and gives back when it is gone.
    pub async fn stop(self) {
        let (done, wait) = oneshot::channel();
        if self.orders.send(Order::StopAll(done)).await.is_ok() {
            let _ = wait.await;
        }
        let _ = self.task.await;
    }
}

/// The process on a host that makes it so and reports back.
pub struct Agent<D> {
    config: AgentConfig,
    driver: D,
    ledger: Ledger,
    garage_id: NodeId,
    held: Option<HeldPorts>,
    ports: Ports,
    /// Deaths of Garage by a taken port that were answered with other ports.
    answered: u32,
    stopping: bool,
    /// What went wrong with the desired state itself.
    trouble: Option<String>,
    shared: Arc<Shared>,
    report: watch::Sender<HostReport>,
    seq: u64,
}

impl<D: Driver + Sync> Agent<D> {
    /// Makes the host's folder and identity, boots what its ledger says, and goes on in a task of its own.
    ///
    /// # Errors
    /// When the folder, the node key or the ports cannot be had; nothing was started then.
    pub async fn start(config: AgentConfig, driver: D) -> Result<AgentHandle, StartError> {
        let host = || config.host.clone();
        for folder in [
            config.places.dir.clone(),
            config.places.logs_dir(),
            config.places.metadata_dir(),
        ] {
            files::private_dir(&folder).map_err(|source| StartError::Folder { host: host(), source })?;
        }
        let garage_id = NodeKey::ensure(&config.places.metadata_dir(), &config.node_key_seed)
            .map_err(|source| StartError::NodeKey { host: host(), source })?
            .id();
        let held = HeldPorts::again_or_random(ports::remembered(&ports_file(&config.places)))
            .map_err(|source| StartError::Ports { host: host(), source })?;
        let (ledger, found) = Ledger::open(config.places.dir.join("ledger.json"));
        let trouble = match &found {
            Startup::Unreadable(error) => Some(one_line(error)),
            Startup::Nothing | Startup::Have(_) => None,
        };
        let promise = KeptPromise::open(
            &config.places.dir,
            Instant::now(),
            config.remembers_promises,
            ledger.kept(),
        );
        let shared = Arc::new(Shared::new(promise));
        let states = driver.states();
        let ports = held.ports();
        let mut agent = Self {
            report: watch::Sender::new(report::empty(&config, garage_id, ports)),
            config,
            driver,
            ledger,
            garage_id,
            held: Some(held),
            ports,
            answered: 0,
            stopping: false,
            trouble,
            shared: shared.clone(),
            seq: 0,
        };
        agent.keep_ports();
        agent.follow().await;
        agent.tell();
        let (desired, offers) = watch::channel(None);
        let (orders, inbox) = mpsc::channel(4);
        let (questions, asked) = mpsc::channel(QUESTIONS);
        tokio::spawn(answer::run(shared, asked));
        let report = agent.report.subscribe();
        let task = tokio::spawn(agent.run(offers, states, inbox));
        Ok(AgentHandle {
            desired,
            report,
            questions,
            orders,
            task,
        })
    }

    async fn run(
        mut self,
        mut offers: watch::Receiver<Option<HostDesired>>,
        mut states: watch::Receiver<UnitStates>,
        mut orders: mpsc::Receiver<Order>,
    ) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Ok(()) = offers.changed() => {
                    let offered = offers.borrow_and_update().clone();
                    if let Some(offered) = offered && !self.stopping {
                        self.consider(&offered).await;
                    }
                }
                Ok(()) = states.changed() => {
                    let dead = died_of_a_taken_port(&states.borrow_and_update());
                    if let Some(deaths) = dead && deaths > self.answered && !self.stopping {
                        self.answered = deaths;
                        self.choose_other_ports().await;
                    }
                }
                _ = look.tick() => {}
                order = orders.recv() => match order {
                    Some(Order::StopGateway(done)) => {
                        self.stopping = true;
                        self.driver.stop(UnitName::Gateway).await;
                        let _ = done.send(());
                    }
                    Some(Order::StopAll(done)) => {
                        self.stop_all().await;
                        let _ = done.send(());
                        return;
                    }
                    None => {
                        self.stop_all().await;
                        return;
                    }
                },
            }
            self.tell();
        }
    }

    async fn stop_all(&mut self) {
        self.stopping = true;
        self.driver.stop(UnitName::Gateway).await;
        self.driver.stop(UnitName::Garage).await;
        self.tell();
    }

    async fn consider(&mut self, offered: &HostDesired) {
        let admitted = self
            .shared
            .with_promise(|kept| kept.get().admits(Instant::now(), &offered.generation));
        if let Err(refusal) = admitted {
            tracing::error!(host = %self.config.host, %refusal, "a desired state was refused");
            self.trouble = Some(refusal.to_string());
            return;
        }
        match self.ledger.offer(self.config.host.as_str(), offered) {
            Ok(true) => {
                self.trouble = None;
                self.follow().await;
            }
            Ok(false) => {}
            Err(error) => {
                let error = one_line(&error);
                tracing::error!(host = %self.config.host, %error, "a desired state was refused");
                self.trouble = Some(error);
            }
        }
    }

    /// Makes it so that what the ledger says runs.
    async fn follow(&mut self) {
        let Some(desired) = self.ledger.kept() else { return };
        match launch::units(desired, &self.config.places, self.ports) {
            Ok(units) => {
                if units.iter().any(|unit| unit.name == UnitName::Garage) {
                    // From here on they are Garage's.
                    self.held = None;
                }
                self.driver.converge(units).await;
            }
            Err(error) => {
                let error = one_line(&error);
                tracing::error!(host = %self.config.host, %error, "the desired state cannot be followed");
                self.trouble = Some(error);
            }
        }
    }

    async fn choose_other_ports(&mut self) {
        match HeldPorts::random() {
            Ok(held) => {
                tracing::warn!(host = %self.config.host, "a port was taken by another program: other ports are used");
                self.ports = held.ports();
                self.held = Some(held);
                self.keep_ports();
                self.follow().await;
            }
            Err(error) => tracing::error!(host = %self.config.host, %error, "the system has no free port"),
        }
    }

    fn keep_ports(&self) {
        if let Err(error) = ports::remember(&ports_file(&self.config.places), self.ports) {
            // Only a convenience is lost: the next start takes others.
            tracing::warn!(host = %self.config.host, error = %one_line(&error), "the ports could not be noted");
        }
    }

    fn tell(&mut self) {
        self.seq += 1;
        let states = self.driver.states().borrow().clone();
        let generation = self.ledger.kept().map(|desired| desired.generation.clone());
        let mut report = report::empty(&self.config, self.garage_id, self.ports);
        report.seq = self.seq;
        report.generation = generation;
        report.units = report::units(&states, self.trouble.as_deref());
        report.disk = report::disk(&self.config.places.dir);
        report.promise = self.shared.with_promise(|kept| kept.get().report(Instant::now()));
        self.report.send_replace(report);
    }
}

fn ports_file(places: &Places) -> PathBuf {
    places.dir.join("ports.json")
}

/// How often Garage died, when its last death was by a taken port and it waits to be started again.
fn died_of_a_taken_port(states: &UnitStates) -> Option<u32> {
    let garage = states.get(&UnitName::Garage)?;
    let waits = matches!(garage.phase, Phase::BackingOff { .. });
    (waits && garage.cause == Some(Cause::PortInUse)).then_some(garage.restarts)
}

/// An error with its causes in one line.
pub(crate) fn one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
