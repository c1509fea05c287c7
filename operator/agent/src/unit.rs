//! What a host shall run, as a value: programs with their arguments, files and folders.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::child::spawn::Launch;

/// The units that an agent knows, in the order in which they start; they stop in the opposite one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnitName {
    /// The Garage daemon.
    Garage,
    /// The gateway that Nix clients talk to.
    Gateway,
}

impl UnitName {
    /// All of them, in the order in which they start.
    pub const ALL: [Self; 2] = [Self::Garage, Self::Gateway];

    /// The name as it stands in reports and names of log files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Garage => "garage",
            Self::Gateway => "gateway",
        }
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// When a started unit counts as running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// As soon as its process is there.
    AtOnce,
    /// When it has said on its standard output where it listens: one JSON line with the key `listening`.
    SaysListening,
}

/// A file that a unit needs before it starts. Many are secrets, so its content never shows in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct UnitFile {
    /// Where it lies.
    pub path: PathBuf,
    /// What is in it.
    pub content: Zeroizing<Vec<u8>>,
    /// What of it asks for a restart when it changes, where that is not all of it.
    pub significant: Option<Zeroizing<Vec<u8>>>,
    /// Where the unit finds it: at `path`, or among its credentials, see [`crate::launch::Secrets`].
    pub seen: PathBuf,
}

impl UnitFile {
    fn asks_for_restart(&self, other: &Self) -> bool {
        self.path != other.path
            || self.seen != other.seen
            || match (&self.significant, &other.significant) {
                (Some(ours), Some(theirs)) => ours != theirs,
                _ => self.content != other.content,
            }
    }
}

impl fmt::Debug for UnitFile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("UnitFile")
            .field("path", &self.path)
            .field("bytes", &self.content.len())
            .finish()
    }
}

/// One thing that shall run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Which one it is.
    pub name: UnitName,
    /// How it is started.
    pub launch: Launch,
    /// Folders it needs, made closed to other users.
    pub folders: Vec<PathBuf>,
    /// Files it needs, written with mode 0600.
    pub files: Vec<UnitFile>,
    /// Sockets that it makes and that a killed predecessor may have left.
    pub sockets: Vec<PathBuf>,
    /// Where its output goes.
    pub log: PathBuf,
    /// When it counts as running.
    pub ready: Ready,
    /// The address at which it is reached. The socket stays open from one process to the next, which get it as their
    /// standard input, so that clients wait for a moment instead of being refused.
    pub door: Option<String>,
    /// Whether it reads its files anew at SIGHUP, once it is ready; else at its start only.
    pub rereads: bool,
    /// How long it may take to stop before it is killed.
    pub grace: Duration,
    /// Where it outlives the agent: it goes on with the program that it has, though it shall be another one.
    pub hold: bool,
}

impl Unit {
    /// Whether a process that runs as `self` must be started anew to be as `other`.
    #[must_use]
    pub fn asks_for_restart(&self, other: &Self) -> bool {
        let Self {
            name,
            launch,
            folders,
            files,
            sockets,
            log,
            ready,
            door,
            rereads: _,
            grace: _,
            hold: _,
        } = self;
        *name != other.name
            || *launch != other.launch
            || *folders != other.folders
            || *sockets != other.sockets
            || *log != other.log
            || *ready != other.ready
            || *door != other.door
            || files.len() != other.files.len()
            || files
                .iter()
                .zip(&other.files)
                .any(|(ours, theirs)| ours.asks_for_restart(theirs))
    }
}
