//! Talking to the gateway that runs on this machine: a socket in the state folder, for its owner alone. One request a
//! connection, a line of JSON; the answer is lines of JSON, the last of which ends it. Whoever hangs up stops the work.

mod ask;
mod listen;
mod lock;
mod perform;

pub(crate) use ask::{AskError, ask};
pub(crate) use listen::listen;
pub(crate) use lock::{FolderLock, LockError};
pub(crate) use perform::perform;

use std::path::{Path, PathBuf};

use hayloft_nixcache::{CacheName, StorePathHash};
use serde::{Deserialize, Serialize};

use crate::depot::{CollectReport, FsckOptions, FsckReport};

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Request {
    /// Collect what nothing keeps.
    Collect {
        /// Only look.
        dry_run: bool,
    },
    /// Check what is stored.
    Check(FsckOptions),
    /// Keep paths under a name.
    Pin {
        cache: CacheName,
        name: String,
        paths: Vec<StorePathHash>,
        /// Milliseconds since 1970.
        until: Option<i64>,
    },
    /// Keep them no longer.
    Unpin { cache: CacheName, name: String },
    /// What is kept under which names.
    Pins { cache: CacheName },
}

/// A line of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Line {
    /// It goes on.
    Progress(String),
    /// It is done.
    Done(Outcome),
    /// It is not done, and why.
    Failed(String),
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Outcome {
    Collected(CollectReport),
    Checked(FsckReport),
    Changed,
    Pins(Vec<PinLine>),
}

/// A pin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PinLine {
    pub(crate) name: String,
    pub(crate) paths: Vec<StorePathHash>,
    /// Milliseconds since 1970; none: for ever.
    pub(crate) until: Option<i64>,
}

/// The longest name that a socket may have, with room to spare.
const LONGEST: usize = 100;

/// The socket in a state folder, named so shortly that the system takes it. The folder is held open as long as the
/// name is used.
fn socket(state_dir: &Path) -> std::io::Result<(PathBuf, Option<std::fs::File>)> {
    const NAME: &str = "control.sock";
    let path = state_dir.join(NAME);
    if path.as_os_str().len() <= LONGEST {
        return Ok((path, None));
    }
    let folder = std::fs::File::open(state_dir)?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&folder);
    Ok((
        PathBuf::from(format!("/proc/self/fd/{number}/{NAME}")),
        Some(folder),
    ))
}
