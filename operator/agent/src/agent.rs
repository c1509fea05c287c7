//! The agent's loop: follows what is desired, reports what is.

use std::sync::Arc;
use std::time::Duration;

use hayloft_api::agent::{BlocksReport, DataState, GarageWaiting, HostDesired, HostReport, ProgramStanding};
use hayloft_api::question::{Answer, Census, Question, Refusal};
use hayloft_api::{HostName, NodeId};
use hayloft_garage::{GarageVersion, NodeKeyError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use crate::answer::{self, Asked, Shared};
use crate::cause::Cause;
use crate::clock::Clock;
use crate::data;
use crate::driver::{Driver, Phase, UnitStates};
use crate::files;
use crate::launch::{self, Places};
use crate::ledger::{Ledger, Startup};
use crate::local;
use crate::member::{self, Followed};
use crate::ports::{self, HeldPorts, Ports};
use crate::promise::KeptPromise;
use crate::report;
use crate::streams::Tunnels;
use crate::unit::{Unit, UnitName};
use crate::versions::Versions;

/// Facts that change by themselves (the disk, the layout) are looked at so often: a few small files.
const LOOK_EVERY: Duration = Duration::from_secs(1);
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
    /// The way to other hosts' S3; `None` where all are on loopback.
    pub tunnels: Option<Arc<Tunnels>>,
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
    Kill(oneshot::Sender<()>),
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
    /// The ports of its Garage, as they change.
    pub ports: watch::Receiver<Ports>,
    orders: mpsc::Sender<Order>,
    paused: watch::Sender<bool>,
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

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// What the agent says; [`Refusal::Failed`] when it ends meanwhile.
    pub async fn ask(&self, question: Question) -> Result<Answer, Refusal> {
        let (answer, wait) = oneshot::channel();
        let gone = || Refusal::Failed {
            why: "the agent ends".to_owned(),
        };
        let sent = self.questions.send((question, answer)).await;
        sent.map_err(|_| gone())?;
        wait.await.map_err(|_| gone())?
    }

    /// Makes the agent heed nothing and say nothing for a while, as one does that cannot be reached. What it runs goes on.
    pub fn pause(&self, paused: bool) {
        self.paused.send_replace(paused);
    }

    /// Ends the agent and all that it runs at once, as when the power fails: nothing is finished, nothing is said.
    pub async fn kill(self) {
        let (done, wait) = oneshot::channel();
        self.paused.send_replace(false);
        if self.orders.send(Order::Kill(done)).await.is_ok() {
            let _ = wait.await;
        }
        let _ = self.task.await;
    }

    /// Ends the agent. What it runs goes on where it outlives an agent, as under systemd; else it is stopped.
    pub async fn leave(self) {
        let Self {
            orders, paused, task, ..
        } = self;
        paused.send_replace(false);
        drop(orders);
        let _ = task.await;
    }

    /// Stops all that this host runs, the gateway first, and gives back when it is gone.
    pub async fn stop(self) {
        let (done, wait) = oneshot::channel();
        self.paused.send_replace(false);
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
    ports: watch::Sender<Ports>,
    /// Deaths of Garage by a taken port that were answered with other ports.
    answered: u32,
    stopping: bool,
    /// What went wrong with the desired state itself.
    trouble: Option<String>,
    /// The last offer was refused because of a promise, which ends.
    refused: bool,
    followed: Followed,
    data: DataState,
    /// For the next node key.
    seed: [u8; 32],
    answering: JoinHandle<()>,
    shared: Arc<Shared>,
    report: watch::Sender<HostReport>,
    seq: u64,
    versions: Versions,
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
        member::clean_up(&config.places);
        let garage_id = member::ensure(&config.places, &config.node_key_seed)
            .map_err(|source| StartError::NodeKey { host: host(), source })?;
        let followed = Followed::at_start(&config.places, garage_id);
        let (held, ports) = match ports::remembered(&config.places.ports_file()) {
            // Whoever holds them is most likely the Garage that has gone on.
            Some(ports) if driver.units_outlive_it() => (None, ports),
            last => {
                let held = HeldPorts::take(&config.places.reach, last)
                    .map_err(|source| StartError::Ports { host: host(), source })?;
                let ports = held.ports();
                (Some(held), ports)
            }
        };
        let (ledger, found) = Ledger::open(config.places.ledger());
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
        let shared = Arc::new(Shared::new(
            config.places.clone(),
            config.clock.clone(),
            garage_id,
            promise,
        ));
        let (questions, asked) = mpsc::channel(QUESTIONS);
        let (paused, is_paused) = watch::channel(false);
        let answering = tokio::spawn(answer::run(shared.clone(), asked, is_paused.clone()));
        let version = config.garage_version.to_string();
        let versions = Versions::with(&config.places.versions(), &config.places.garage, &version);
        let counted = shared.counter.finished();
        let states = driver.states();
        let mut agent = Self {
            report: watch::Sender::new(report::empty(&config, garage_id, ports)),
            data: data::state(&config.places),
            followed,
            seed: config.node_key_seed,
            answering,
            config,
            driver,
            ledger,
            garage_id,
            held,
            ports: watch::Sender::new(ports),
            answered: 0,
            stopping: false,
            trouble,
            refused: false,
            shared,
            seq: 0,
            versions,
        };
        agent.keep_ports();
        agent.follow().await;
        if matches!(agent.data, DataState::Present | DataState::MetadataLost) {
            agent.shared.counter.ask(None);
        }
        agent.tell();
        let (desired, offers) = watch::channel(None);
        let (orders, inbox) = mpsc::channel(4);

        let report = agent.report.subscribe();
        let ports = agent.ports.subscribe();
        let task = tokio::spawn(agent.run(offers, states, inbox, counted, is_paused));
        Ok(AgentHandle {
            desired,
            report,
            questions,
            ports,
            orders,
            paused,
            task,
        })
    }

    async fn run(
        mut self,
        mut offers: watch::Receiver<Option<HostDesired>>,
        mut states: watch::Receiver<UnitStates>,
        mut orders: mpsc::Receiver<Order>,
        mut counted: watch::Receiver<Option<Arc<Census>>>,
        mut paused: watch::Receiver<bool>,
    ) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // Its handle is gone when this fails, which `orders` shows too.
            let _ = paused.wait_for(|paused| !paused).await;
            tokio::select! {
                Ok(()) = paused.changed() => continue,
                Ok(()) = counted.changed() => {}
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
                _ = look.tick() => {
                    self.look();
                    // Nobody says it again when the promise that stood against it has ended.
                    let offered = offers.borrow().clone();
                    if let Some(offered) = offered && self.refused && !self.stopping {
                        self.consider(&offered).await;
                    }
                }
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
                    Some(Order::Kill(done)) => {
                        self.kill_all().await;
                        let _ = done.send(());
                        return;
                    }
                    None if self.driver.units_outlive_it() => {
                        self.answering.abort();
                        self.shared.counter.stop();
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

    /// Looks at what changes by itself.
    fn look(&mut self) {
        self.data = data::state(&self.config.places);
        if self
            .ledger
            .kept()
            .is_some_and(|desired| desired.accept_empty_data)
        {
            self.accept_empty_data();
        }
    }

    fn accept_empty_data(&mut self) {
        match data::accept_empty(&self.config.places) {
            Ok(false) => {}
            Ok(true) => {
                tracing::warn!(host = %self.config.host, "the empty data folder was marked as this host's");
                self.shared.counter.forget();
                self.data = data::state(&self.config.places);
            }
            Err(error) => self.trouble = Some(one_line(&error)),
        }
    }

    /// Ends being a node: its Garage is stopped, its metadata deleted, and a new key made.
    async fn forget(&mut self, erase_blocks: bool) {
        let former = self.garage_id;
        self.driver.stop(UnitName::Garage).await;
        let places = self.config.places.clone();
        let forgotten =
            tokio::task::spawn_blocking(move || member::forget(&places, former, erase_blocks)).await;
        let error = match forgotten {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(one_line(&error)),
            Err(error) => Some(error.to_string()),
        };
        if let Some(error) = error {
            tracing::error!(host = %self.config.host, %error, "the node was not forgotten");
            self.trouble = Some(error);
            return;
        }
        self.seed = member::next_seed(&self.seed, former);
        match member::ensure(&self.config.places, &self.seed) {
            Ok(id) => {
                tracing::warn!(host = %self.config.host, former = %former.short(), now = %id.short(), "the host is a new node");
                self.garage_id = id;
                self.shared.is_now(id);
                self.followed = Followed::at_start(&self.config.places, id);
                self.data = data::state(&self.config.places);
            }
            Err(error) => self.trouble = Some(one_line(&error)),
        }
    }

    async fn kill_all(&mut self) {
        self.stopping = true;
        self.answering.abort();
        if let Some(Ok(units)) = self.units() {
            let at_once = |unit| Unit {
                grace: Duration::ZERO,
                ..unit
            };
            self.driver
                .converge(units.into_iter().map(at_once).collect())
                .await;
        }
        self.driver.stop(UnitName::Garage).await;
        self.driver.stop(UnitName::Gateway).await;
    }

    async fn stop_all(&mut self) {
        self.stopping = true;
        self.answering.abort();
        self.shared.counter.stop();
        self.driver.stop(UnitName::Gateway).await;
        self.driver.stop(UnitName::Garage).await;
        self.tell();
    }

    async fn consider(&mut self, offered: &HostDesired) {
        let admitted = self
            .shared
            .with_promise(|kept| kept.get().admits(Instant::now(), &offered.generation));
        self.refused = admitted.is_err();
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
        let (forget, erase_blocks) = (desired.forget, desired.erase_blocks);
        if desired.accept_empty_data {
            self.accept_empty_data();
        }
        if forget == Some(self.garage_id) {
            self.forget(erase_blocks).await;
        }
        match self.units() {
            None => {}
            Some(Ok(units)) => {
                if units.iter().any(|unit| unit.name == UnitName::Garage) {
                    // From here on they are Garage's.
                    self.held = None;
                }
                self.driver.converge(units).await;
            }
            Some(Err(error)) => {
                let error = one_line(&error);
                tracing::error!(host = %self.config.host, %error, "the desired state cannot be followed");
                self.trouble = Some(error);
            }
        }
    }

    /// What the ledger says, as units of this host.
    fn units(&self) -> Option<Result<Vec<Unit>, launch::RenderError>> {
        let desired = self.ledger.kept()?;
        let AgentConfig { places, tunnels, .. } = &self.config;
        let ends = tunnels
            .as_ref()
            .map(|tunnels| tunnels.to(&local::doorways(desired)))
            .unwrap_or_default();
        let ports = *self.ports.borrow();
        let desired = local::localize(desired, &places.reach, ports, &ends);
        Some(launch::units(&desired, places, ports, self.driver.secrets()))
    }

    async fn choose_other_ports(&mut self) {
        match HeldPorts::take(&self.config.places.reach, None) {
            Ok(held) => {
                tracing::warn!(host = %self.config.host, "a port was taken by another program: other ports are used");
                self.ports.send_replace(held.ports());
                self.held = Some(held);
                self.keep_ports();
                self.follow().await;
            }
            Err(error) => tracing::error!(host = %self.config.host, %error, "the system has no free port"),
        }
    }

    fn keep_ports(&self) {
        if let Err(error) = ports::remember(&self.config.places.ports_file(), *self.ports.borrow()) {
            // Only a convenience is lost: the next start takes others.
            tracing::warn!(host = %self.config.host, error = %one_line(&error), "the ports could not be noted");
        }
    }

    fn tell(&mut self) {
        self.seq += 1;
        let states = self.driver.states().borrow().clone();
        let generation = self.ledger.kept().map(|desired| desired.generation.clone());
        let mut report = report::empty(&self.config, self.garage_id, *self.ports.borrow());
        report.seq = self.seq;
        report.generation = generation;
        if let Some(other) = states
            .get(&UnitName::Garage)
            .and_then(|state| state.other.as_ref())
        {
            let offered = report.garage_version.take().unwrap_or_default();
            report.garage_version = match other.standing {
                ProgramStanding::Trying => Some(offered.clone()),
                ProgramStanding::Held | ProgramStanding::Refused => {
                    self.versions.of(&other.former).map(str::to_owned)
                }
            };
            report.garage_waiting = Some(GarageWaiting {
                program: self.config.places.garage.to_string_lossy().into_owned(),
                version: offered,
                standing: other.standing,
            });
        }
        report.units = report::units(&states, self.trouble.as_deref());
        report.disk = report::disk(&self.config.places.dir);
        report.layout = self.followed.look(self.garage_id);
        report.rolled_back = self.followed.rolled_back();
        report.data = self.data.clone();
        report.blocks = self
            .shared
            .counter
            .finished()
            .borrow()
            .as_ref()
            .map(|census| BlocksReport {
                count: census.blocks(),
                bytes: census.bytes(),
                at: census.began,
            });
        report.promise = self.shared.with_promise(|kept| kept.get().report(Instant::now()));
        self.report.send_replace(report);
    }
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
