//! One host: an agent in a runtime of its own, so that it can be killed with all that it runs, and its daemon.

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use hayloft_agent::child::ChildDriver;
use hayloft_agent::child::spawn::{Shim, Spawner};
use hayloft_agent::launch::{Places, Program};
use hayloft_agent::reach::Reach;
use hayloft_agent::{Agent, AgentConfig, AgentHandle, Clock};
use hayloft_api::agent::{GARAGE_UNIT, HostDesired, HostReport, UnitState};
use hayloft_api::{HostName, NodeId};
use hayloft_coordinator::AgentLink;
use rustix::process::{Pid, Signal};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cluster::clock;
use crate::disk::Blocks;

/// Where a host is found when it comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Return {
    /// Where it was.
    SameAddress,
    /// At other ports; somebody else has the old ones.
    OtherAddress,
}

/// What all hosts have in common.
#[derive(Debug, Clone)]
pub(crate) struct Outfit {
    pub(crate) dir: PathBuf,
    pub(crate) garage: PathBuf,
    /// The program that stands in as `hayloft exec-child`.
    pub(crate) child: PathBuf,
}

struct Life {
    runtime: Runtime,
    handle: AgentHandle,
}

/// A host that runs, or is down.
pub struct Host {
    name: HostName,
    dir: PathBuf,
    link: AgentLink,
    report: watch::Receiver<HostReport>,
    life: Option<Life>,
    /// Ports that it had and must not get again.
    taken: Vec<TcpListener>,
    slow: Option<JoinHandle<()>>,
}

impl Host {
    pub(crate) async fn start(outfit: &Outfit, name: HostName, gateway: bool) -> Result<Self> {
        let dir = outfit.dir.join(name.as_str());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name(format!("agent-{name}"))
            .enable_all()
            .build()?;
        // The stand-in for a gateway says that it listens, and does nothing else.
        let script = r#"trap '' HUP; echo '{"listening":"127.0.0.1:1"}'; exec sleep 3600"#;
        let config = AgentConfig {
            host: name.clone(),
            places: Places {
                admin_socket: dir.join("admin.sock"),
                dir: dir.clone(),
                garage: outfit.garage.clone(),
                gateway: Program {
                    path: "/bin/sh".into(),
                    args: vec!["-c".into(), script.into(), "gateway".into()],
                },
                reach: Reach::Loopback,
            },
            garage_version: "2.5.0".parse().ok().context("no version")?,
            gateway_addr: gateway.then(|| "127.0.0.1:0".to_owned()),
            node_key_seed: rand::random(),
            clock: Clock::new(clock),
            remembers_promises: true,
            tunnels: None,
        };
        let shim = Shim {
            program: outfit.child.clone(),
            args: vec![OsString::from("exec-child")],
        };
        let started = runtime.spawn(async move {
            let spawner = Spawner::start(shim)?;
            let driver = ChildDriver::new(spawner, rand::random());
            Ok::<_, anyhow::Error>(Agent::start(config, driver).await?)
        });
        let handle = match started.await.map_err(Into::into).and_then(|started| started) {
            Ok(handle) => handle,
            Err(error) => {
                runtime.shutdown_background();
                return Err(error);
            }
        };
        Ok(Self {
            name,
            dir,
            link: AgentLink {
                desired: handle.desired.clone(),
                report: handle.report.clone(),
                questions: handle.questions.clone(),
            },
            report: handle.report.clone(),
            life: Some(Life { runtime, handle }),
            taken: Vec::new(),
            slow: None,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &HostName {
        &self.name
    }

    /// Its folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What its agent said last.
    #[must_use]
    pub fn report(&self) -> HostReport {
        self.report.borrow().clone()
    }

    /// Its Garage node.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.report.borrow().garage_id
    }

    /// Where its S3 is.
    #[must_use]
    pub fn s3(&self) -> String {
        format!("http://{}", self.report.borrow().s3_addr)
    }

    /// The blocks on its disk.
    #[must_use]
    pub fn blocks(&self) -> Blocks {
        Blocks::under(&self.dir.join("data"))
    }

    /// Whether its agent runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.life.is_some()
    }

    /// The process of its Garage.
    #[must_use]
    pub fn garage_pid(&self) -> Option<u32> {
        self.life.as_ref()?;
        match self.report.borrow().unit(GARAGE_UNIT)?.state {
            UnitState::Running { pid } | UnitState::Starting { pid } => Some(pid),
            _ => None,
        }
    }

    /// Tells it what it shall run, where no coordinator does.
    pub(crate) fn tell(&self, desired: HostDesired) {
        self.link.desired.send_replace(Some(desired));
    }

    /// What it is told.
    #[must_use]
    pub fn desired(&self) -> watch::Receiver<Option<HostDesired>> {
        self.link.desired.subscribe()
    }

    pub(crate) fn link(&self) -> AgentLink {
        self.link.clone()
    }

    /// Ends agent and daemons at once, in the middle of what they do.
    ///
    /// # Errors
    /// When a process outlives it.
    pub async fn kill(&mut self) -> Result<()> {
        self.stop_being_slow();
        let Some(life) = self.life.take() else {
            return Ok(());
        };
        let pids: Vec<u32> = self.report.borrow().units.iter().filter_map(pid).collect();
        life.runtime.shutdown_background();
        for pid in &pids {
            signal(*pid, Signal::KILL);
        }
        drop(life.handle);
        let began = Instant::now();
        while pids.iter().any(|pid| runs(*pid)) {
            if began.elapsed() > Duration::from_secs(10) {
                bail!("{} outlives its own death", self.name);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Stops it as a person would.
    pub async fn stop(&mut self) {
        self.stop_being_slow();
        if let Some(Life { runtime, handle }) = self.life.take() {
            let _ = runtime.spawn(handle.stop()).await;
            runtime.shutdown_background();
        }
    }

    /// Makes it come back at other ports. To be called while it is down.
    ///
    /// # Errors
    /// When its folder cannot be read.
    pub(crate) fn prepare_return(&mut self, how: Return) -> Result<()> {
        if how == Return::OtherAddress {
            let report = self.report.borrow().clone();
            for address in [&report.rpc_addr, &report.s3_addr] {
                self.taken.extend(TcpListener::bind(address.as_str()).ok());
            }
            let ports = self.dir.join("ports.json");
            if ports.exists() {
                fs::remove_file(ports)?;
            }
        }
        Ok(())
    }

    pub(crate) fn keep_taken(&mut self, before: &mut Self) {
        self.taken.append(&mut before.taken);
    }

    /// Takes away its metadata, and with it its identity. Its blocks stay.
    ///
    /// # Errors
    /// When that fails.
    pub fn lose_metadata(&self) -> Result<()> {
        Ok(fs::remove_dir_all(self.dir.join("meta"))?)
    }

    /// Takes away its blocks and the marker beside them. Its metadata stays.
    ///
    /// # Errors
    /// When that fails.
    pub fn lose_data(&self) -> Result<()> {
        fs::remove_dir_all(self.dir.join("data"))?;
        Ok(fs::create_dir(self.dir.join("data"))?)
    }

    /// Takes away all that it has.
    ///
    /// # Errors
    /// When that fails.
    pub fn lose_everything(&self) -> Result<()> {
        Ok(fs::remove_dir_all(&self.dir)?)
    }

    /// Its Garage hangs until it is thawed; its agent goes on.
    pub fn freeze(&self) {
        if let Some(pid) = self.garage_pid() {
            signal(pid, Signal::STOP);
        }
    }

    /// Ends [`Host::freeze`].
    pub fn thaw(&self) {
        if let Some(pid) = self.garage_pid() {
            signal(pid, Signal::CONT);
        }
    }

    /// Its Garage gets only a part of the time from now on: it runs for `runs` and hangs for `hangs`, again and again.
    pub fn be_slow(&mut self, runs: Duration, hangs: Duration) {
        self.stop_being_slow();
        let Some(pid) = self.garage_pid() else { return };
        self.slow = Some(tokio::spawn(async move {
            loop {
                signal(pid, Signal::STOP);
                tokio::time::sleep(hangs).await;
                signal(pid, Signal::CONT);
                tokio::time::sleep(runs).await;
            }
        }));
    }

    /// Ends [`Host::be_slow`].
    pub fn stop_being_slow(&mut self) {
        if let Some(slow) = self.slow.take() {
            slow.abort();
            self.thaw();
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop_being_slow();
        if let Some(life) = self.life.take() {
            let pids: Vec<u32> = self.report.borrow().units.iter().filter_map(pid).collect();
            life.runtime.shutdown_background();
            for pid in pids {
                signal(pid, Signal::KILL);
            }
        }
    }
}

fn pid(unit: &hayloft_api::agent::UnitReport) -> Option<u32> {
    match unit.state {
        UnitState::Running { pid } | UnitState::Starting { pid } => Some(pid),
        _ => None,
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Whether a process is there and is more than a zombie.
fn runs(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| {
            stat.rsplit_once(')')
                .map(|(_, rest)| rest.trim_start().to_owned())
        })
        .is_some_and(|rest| !rest.starts_with(['Z', 'X']))
}
