//! The hosts of this machine: one agent each.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use futures::future::join_all;
use hayloft_agent::child::ChildDriver;
use hayloft_agent::child::spawn::Spawner;
use hayloft_agent::launch::{Places, Program};
use hayloft_agent::reach::Reach;
use hayloft_agent::{Agent, AgentConfig, AgentHandle, Clock, StartError};
use hayloft_api::agent::{HostReport, UnitState};
use hayloft_api::status::Status;
use hayloft_api::{Document, HostName};
use hayloft_coordinator::AgentLink;
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::folder::Folder;
use super::retire;
use super::sockets::Sockets;
use crate::garage_program::GarageProgram;

/// The reports of all hosts.
pub(crate) type Reports = BTreeMap<HostName, HostReport>;

/// Why a host has no agent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostError {
    /// The agent cannot start.
    #[error(transparent)]
    Agent(StartError),
    /// There is no place for its socket.
    #[error("the host {host} has no place for its socket")]
    Socket {
        host: HostName,
        #[source]
        source: io::Error,
    },
}

/// All agents of this process.
pub(crate) struct Hosts {
    folder: Folder,
    sockets: Sockets,
    garage: GarageProgram,
    program: PathBuf,
    spawner: Spawner,
    /// Where the gateway listens.
    gateway: SocketAddr,
    random: StdRng,
    clock: Clock,
    agents: BTreeMap<HostName, AgentHandle>,
    links: watch::Sender<BTreeMap<HostName, AgentLink>>,
    reports: watch::Sender<Reports>,
    gatherers: BTreeMap<HostName, JoinHandle<()>>,
}

/// What the hosts need of the outside.
pub(crate) struct Outfit {
    pub(crate) folder: Folder,
    pub(crate) sockets: Sockets,
    pub(crate) garage: GarageProgram,
    /// This program, which is also the gateway.
    pub(crate) program: PathBuf,
    pub(crate) spawner: Spawner,
    pub(crate) gateway: SocketAddr,
    pub(crate) random: StdRng,
    pub(crate) clock: Clock,
}

impl Hosts {
    pub(crate) fn new(outfit: Outfit) -> Self {
        let Outfit {
            folder,
            sockets,
            garage,
            program,
            spawner,
            gateway,
            random,
            clock,
        } = outfit;
        Self {
            folder,
            sockets,
            garage,
            program,
            spawner,
            gateway,
            random,
            clock,
            agents: BTreeMap::new(),
            links: watch::Sender::new(BTreeMap::new()),
            reports: watch::Sender::new(BTreeMap::new()),
            gatherers: BTreeMap::new(),
        }
    }

    /// How the coordinator reaches the agents.
    pub(crate) fn links(&self) -> watch::Receiver<BTreeMap<HostName, AgentLink>> {
        self.links.subscribe()
    }

    /// What the agents report, as it changes.
    pub(crate) fn reports(&self) -> watch::Receiver<Reports> {
        self.reports.subscribe()
    }

    /// The folder of a host.
    pub(crate) fn dir(&self, host: &HostName) -> PathBuf {
        self.folder.host(host)
    }

    /// Where the hosts take questions, with their names.
    pub(crate) fn questions_by_name(
        &self,
    ) -> impl Iterator<Item = (&HostName, &mpsc::Sender<hayloft_agent::Asked>)> {
        self.agents.iter().map(|(name, agent)| (name, &agent.questions))
    }

    /// Stops all that a host runs, its agent too, until [`Hosts::start`]. Gives where its things lie.
    ///
    /// # Errors
    /// When there is no place for its socket.
    pub(crate) async fn halt(&mut self, name: &HostName) -> Result<Places, HostError> {
        let config = self
            .config(name.clone(), None)
            .map_err(|source| HostError::Socket {
                host: name.clone(),
                source,
            })?;
        if let Some(agent) = self.agents.remove(name) {
            self.links.send_modify(|links| drop(links.remove(name)));
            agent.stop_gateway().await;
            agent.stop().await;
        }
        if let Some(task) = self.gatherers.remove(name) {
            // It ends with the agent: after that nothing puts the report back.
            let _ = task.await;
        }
        Ok(config.places)
    }

    /// What a host was told last.
    pub(crate) fn desired(&self, host: &HostName) -> Option<hayloft_api::agent::HostDesired> {
        self.agents.get(host)?.desired.borrow().clone()
    }

    /// Starts an agent for every declared host, and for every host that once was declared and has data here, where none
    /// runs yet.
    ///
    /// # Errors
    /// The first of those that agents cannot start with. Those that could go on.
    pub(crate) async fn start(&mut self, document: &Document) -> Result<(), HostError> {
        let serving = document.gateway_host().map(|host| &host.name);
        let declared = document.spec.hosts.iter().map(|host| host.name.clone());
        let mut names: Vec<HostName> = declared.chain(self.left_over()).collect();
        names.sort();
        names.dedup();
        let mut links = self.links.borrow().clone();
        let mut failed = None;
        for name in names {
            if self.agents.contains_key(&name) {
                continue;
            }
            let gateway = if Some(&name) == serving {
                Some(self.gateway)
            } else {
                free_address().ok()
            };
            match self.start_one(name.clone(), gateway).await {
                Ok(agent) => {
                    links.insert(
                        name.clone(),
                        AgentLink {
                            desired: agent.desired.clone(),
                            report: agent.report.clone(),
                            questions: agent.questions.clone(),
                        },
                    );
                    self.gather(name.clone(), agent.report.clone());
                    self.agents.insert(name, agent);
                }
                Err(error) => drop(failed.get_or_insert(error)),
            }
        }
        self.links.send_replace(links);
        failed.map_or(Ok(()), Err)
    }

    async fn start_one(
        &mut self,
        name: HostName,
        gateway: Option<SocketAddr>,
    ) -> Result<AgentHandle, HostError> {
        let config = self
            .config(name.clone(), gateway)
            .map_err(|source| HostError::Socket { host: name, source })?;
        let driver = ChildDriver::new(self.spawner.clone(), self.random.random());
        Agent::start(config, driver).await.map_err(HostError::Agent)
    }

    /// Stops the agents of hosts that are no longer declared and have nothing left, by their own disks, and removes
    /// their folders. The coordinator must have seen that they are over: `status` lists them no more. Gives a line for
    /// each.
    pub(crate) async fn retire(&mut self, document: &Document, status: &Status) -> Vec<String> {
        let idle = |name: &&HostName| {
            let agent = &self.agents[*name];
            let told = agent.desired.borrow();
            document.host(name).is_none()
                && status.hosts.iter().all(|host| host.name != **name)
                && told.as_ref().is_some_and(|told| told.garage.is_none())
                && agent
                    .report
                    .borrow()
                    .units
                    .iter()
                    .all(|unit| matches!(unit.state, UnitState::Stopped | UnitState::Failed { .. }))
        };
        let names: Vec<HostName> = self.agents.keys().filter(idle).cloned().collect();
        let mut news = Vec::new();
        for name in names {
            let dir = self.folder.host(&name);
            let look = move || retire::holds_nothing(&dir);
            if !matches!(tokio::task::spawn_blocking(look).await, Ok(Ok(true))) {
                continue;
            }
            let Some(agent) = self.agents.remove(&name) else {
                continue;
            };
            self.links.send_modify(|links| drop(links.remove(&name)));
            agent.stop().await;
            if let Some(task) = self.gatherers.remove(&name) {
                // It ends with the agent: after that nothing puts the report back.
                let _ = task.await;
            }
            self.reports.send_modify(|reports| drop(reports.remove(&name)));
            let hosts = self.folder.hosts();
            let folder = name.to_string();
            let removed = tokio::task::spawn_blocking(move || retire::remove(&hosts, &folder)).await;
            news.push(match removed {
                Ok(Ok(())) => format!("{name}: it holds nothing any more; its folder is removed"),
                Ok(Err(error)) => format!("{name}: its folder cannot be removed: {error}"),
                Err(error) => format!("{name}: its folder cannot be removed: {error}"),
            });
        }
        news
    }

    /// Copies one host's reports into the map of all.
    fn gather(&mut self, name: HostName, mut report: watch::Receiver<HostReport>) {
        let reports = self.reports.clone();
        let host = name.clone();
        let task = tokio::spawn(async move {
            loop {
                let latest = report.borrow_and_update().clone();
                reports.send_modify(|all| drop(all.insert(host.clone(), latest)));
                if report.changed().await.is_err() {
                    return;
                }
            }
        });
        self.gatherers.insert(name, task);
    }

    fn config(&mut self, host: HostName, gateway: Option<SocketAddr>) -> io::Result<AgentConfig> {
        let dir = self.folder.host(&host);
        let socket = dir.join("admin.sock");
        Ok(AgentConfig {
            places: Places {
                admin_socket: self.sockets.at(socket, &format!("{host}.sock"))?,
                dir,
                garage: self.garage.path.clone(),
                gateway: Program {
                    path: self.program.clone(),
                    args: vec![OsString::from("gateway")],
                },
                reach: Reach::Loopback,
            },
            host,
            garage_version: self.garage.version.clone(),
            gateway_addr: gateway.map(|address| address.to_string()),
            node_key_seed: self.random.random(),
            clock: self.clock.clone(),
            // The coordinator is in this process: it died when the agents did.
            remembers_promises: false,
            tunnels: None,
        })
    }

    /// Hosts whose folders are here.
    fn left_over(&self) -> Vec<HostName> {
        let Ok(entries) = fs::read_dir(self.folder.hosts()) else {
            return Vec::new();
        };
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect()
    }

    /// Stops all gateways, then all else, each step on all hosts at once.
    pub(crate) async fn stop(self) {
        join_all(self.agents.values().map(AgentHandle::stop_gateway)).await;
        join_all(self.agents.into_values().map(AgentHandle::stop)).await;
        drop(self.sockets);
    }
}

/// An address that is free now. Another program may take it before a gateway does; that gateway then says so.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
