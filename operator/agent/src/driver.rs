//! What runs units: child processes here and in containers, systemd on hosts that have it.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use hayloft_api::agent::ProgramStanding;
use tokio::sync::watch;

use crate::cause::Cause;
use crate::launch::Secrets;
use crate::unit::{Unit, UnitName};

/// What a unit is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// It is not there and shall not be.
    Stopped,
    /// It was started and has not yet said that it serves.
    Starting {
        /// Its process.
        pid: u32,
    },
    /// It runs.
    Running {
        /// Its process.
        pid: u32,
    },
    /// It died and is started again after a while.
    BackingOff {
        /// How long it waits, counted from its death.
        wait: Duration,
    },
    /// It is being stopped.
    Stopping {
        /// Its process.
        pid: u32,
    },
}

impl Phase {
    /// The process, if there is one.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        match *self {
            Self::Starting { pid } | Self::Running { pid } | Self::Stopping { pid } => Some(pid),
            Self::Stopped | Self::BackingOff { .. } => None,
        }
    }
}

/// All that a driver knows of one unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitState {
    /// What it is doing.
    pub phase: Phase,
    /// How often it was started again after a death, since the driver started.
    pub restarts: u32,
    /// Why it died last, in one line.
    pub last_error: Option<String>,
    /// The same as a cause, where it is a known one.
    pub cause: Option<Cause>,
    /// Where it says that it listens.
    pub listening: Option<String>,
    /// Another program than the one that it shall run as.
    pub other: Option<OtherProgram>,
}

/// A unit does not run the program that it shall, or that one has yet to prove itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherProgram {
    /// The one that ran before, and runs now unless the other is being tried.
    pub former: PathBuf,
    /// How far the one is that it shall run.
    pub standing: ProgramStanding,
}

impl UnitState {
    /// A unit that nobody has asked for.
    #[must_use]
    pub fn stopped() -> Self {
        Self {
            phase: Phase::Stopped,
            restarts: 0,
            last_error: None,
            cause: None,
            listening: None,
            other: None,
        }
    }
}

/// The states of all units of a host.
pub type UnitStates = BTreeMap<UnitName, UnitState>;

/// Makes it so that certain units run, and keeps it so.
pub trait Driver: Send + 'static {
    /// How its units get what they read at their start only.
    fn secrets(&self) -> Secrets {
        Secrets::Files
    }

    /// Whether units go on when the driver ends, for the next one to find.
    fn units_outlive_it(&self) -> bool {
        false
    }

    /// Makes it so that exactly these units run from now on: starts, stops and restarts what must be, and what dies later is
    /// started again. Gives back once the wish is known, not once it is fulfilled: [`Driver::states`] tells that.
    fn converge(&mut self, units: Vec<Unit>) -> impl Future<Output = ()> + Send;

    /// What the units are doing, as it changes.
    fn states(&self) -> watch::Receiver<UnitStates>;

    /// Stops one unit and gives back when its process is gone.
    fn stop(&mut self, name: UnitName) -> impl Future<Output = ()> + Send;
}
