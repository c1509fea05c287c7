//! The driver's outside: what it needs of the machine, and how it is told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tokio::sync::{mpsc, oneshot, watch};

use super::account::{Account, AccountError};
use super::actor::{Actor, Order};
use super::manager::Manager;
use crate::driver::{Driver, UnitStates};
use crate::launch::Secrets;
use crate::unit::{Unit, UnitName};

/// Where an administrator's unit files lie, and where they lie where that folder is not to be written (NixOS).
const UNIT_FOLDERS: [&str; 2] = ["/etc/systemd/system", "/run/systemd/system"];
/// So many orders wait at most.
const ORDERS: usize = 8;

/// What the driver needs of the machine.
#[derive(Debug, Clone)]
pub struct SystemdConfig {
    /// The program `systemctl`.
    pub systemctl: PathBuf,
    /// The program `journalctl`.
    pub journalctl: PathBuf,
    /// Where unit files are written.
    pub units: PathBuf,
    /// Where the kernel tells of processes.
    pub proc: PathBuf,
    /// As whom each unit runs.
    pub accounts: BTreeMap<UnitName, Account>,
    /// The agent's own program: a unit that is of the same file runs as the same version.
    pub program: PathBuf,
    /// For the jitter of attempts.
    pub seed: [u8; 32],
}

impl SystemdConfig {
    /// What this machine has. `program` is the agent's own, `seed` random.
    ///
    /// # Errors
    /// When a user as whom units run is not there.
    pub async fn of_this_machine(program: PathBuf, seed: [u8; 32]) -> Result<Self, AccountError> {
        let mut accounts = BTreeMap::new();
        for unit in UnitName::ALL {
            accounts.insert(unit, Account::find(&Account::name_for(unit)).await?);
        }
        let [usual, volatile] = UNIT_FOLDERS.map(PathBuf::from);
        let writable = |folder: &Path| rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok();
        Ok(Self {
            systemctl: "systemctl".into(),
            journalctl: "journalctl".into(),
            units: if writable(&usual) { usual } else { volatile },
            proc: "/proc".into(),
            accounts,
            program,
            seed,
        })
    }

    /// Whether systemd runs this machine: see sd_booted(3).
    #[must_use]
    pub fn is_here() -> bool {
        Path::new("/run/systemd/system").is_dir()
    }
}

/// Has systemd run units. They go on when this is dropped, and are found again, as they are, by the next one.
#[derive(Debug)]
pub struct SystemdDriver {
    orders: mpsc::Sender<Order>,
    states: watch::Receiver<UnitStates>,
}

impl SystemdDriver {
    /// A driver that has looked at nothing yet. Must be called within a tokio runtime.
    #[must_use]
    pub fn new(config: SystemdConfig) -> Self {
        let (orders, inbox) = mpsc::channel(ORDERS);
        let (tell, states) = watch::channel(UnitStates::new());
        let manager = Manager {
            systemctl: config.systemctl.clone(),
            journalctl: config.journalctl.clone(),
            units: config.units.clone(),
        };
        tokio::spawn(Actor::new(config, manager, tell).run(inbox));
        Self { orders, states }
    }
}

impl Driver for SystemdDriver {
    fn secrets(&self) -> Secrets {
        Secrets::Credentials
    }

    fn units_outlive_it(&self) -> bool {
        true
    }

    async fn converge(&mut self, units: Vec<Unit>) {
        // The actor ends only after this is dropped.
        let _ = self.orders.send(Order::Converge(units)).await;
    }

    fn states(&self) -> watch::Receiver<UnitStates> {
        self.states.clone()
    }

    async fn stop(&mut self, name: UnitName) {
        let (done, wait) = oneshot::channel();
        if self.orders.send(Order::Stop(name, done)).await.is_ok() {
            let _ = wait.await;
        }
    }
}
