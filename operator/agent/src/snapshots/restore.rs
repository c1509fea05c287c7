//! A lost database is put back from a snapshot that another host kept, so that the host is the same node again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hayloft_api::question::SnapshotInfo;
use hayloft_garage::layout_file::LAYOUT_FILE;
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::{digest, plain};
use crate::files::{self, WriteError};
use crate::launch::Places;
use crate::member;

/// Garage deletes the graves of deleted things after 24 hours, once all members have them. A database that is older brings
/// what was deleted back to life; this leaves four hours to start and to sync.
const OLDEST: Duration = Duration::from_secs(20 * 3600);

/// The database's file in a snapshot, and where Garage looks for it.
const DATABASE: &str = "db.lmdb";
const DATABASE_IN_USE: &str = "db.lmdb/data.mdb";

/// Why nothing was put back. What lay in the metadata folder lies there still.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It would bring deleted things back.
    #[error(
        "the snapshot of {taken} is older than 20 hours: what was deleted since would come back in the whole cluster. Let the \
         host join as a new one instead; only when no other host has its metadata either, restore it all the same"
    )]
    TooOld {
        /// When it was made.
        taken: Timestamp,
    },
    /// The node's key is not on this host.
    #[error("the key of the node {node} is not on this host: let it join as a new one")]
    NoKey {
        /// The node.
        node: String,
    },
    /// A file of the snapshot is not as it was.
    #[error("{file} of the snapshot is damaged or missing: use another one")]
    Damaged {
        /// The file.
        file: String,
    },
    /// A file or folder cannot be used.
    #[error("cannot use {}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("the metadata cannot be put back")]
    Write(#[source] WriteError),
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Where the metadata lies that was there before, if there was any.
    pub set_aside: Option<PathBuf>,
}

/// Puts a snapshot of this host's metadata back. `files` is the folder with the snapshot's files; the agent and its Garage
/// must not run. After the next start, tables and blocks must be repaired.
///
/// # Errors
/// When the snapshot is too old (unless `whatever_age`), is damaged, or is of a node whose key is not on this host.
pub fn restore_metadata(
    places: &Places,
    info: &SnapshotInfo,
    snapshot: &Path,
    now: Timestamp,
    whatever_age: bool,
) -> Result<Restored, RestoreError> {
    let age = now.duration_since(info.taken);
    if !whatever_age && !age.is_negative() && age.unsigned_abs() > OLDEST {
        return Err(RestoreError::TooOld { taken: info.taken });
    }
    let no_key = || RestoreError::NoKey {
        node: info.node.short(),
    };
    let key = Zeroizing::new(fs::read(member::kept_key(places, info.node)).map_err(|_| no_key())?);
    for file in &info.files {
        let damaged = || RestoreError::Damaged {
            file: file.name.clone(),
        };
        let name = plain(&file.name).map_err(|_| damaged())?;
        if digest(&snapshot.join(name)).ok() != Some(file.digest) {
            return Err(damaged());
        }
    }
    if !info.files.iter().any(|file| file.name == DATABASE) {
        return Err(RestoreError::Damaged {
            file: DATABASE.to_owned(),
        });
    }
    // Made beside, then renamed: a crash leaves the old metadata or the new.
    let metadata_dir = places.metadata_dir();
    let made = places.dir.join("meta.restored");
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| RestoreError::Io { path, source }
    };
    if made.exists() {
        fs::remove_dir_all(&made).map_err(io(&made))?;
    }
    let database = made.join(DATABASE_IN_USE);
    if let Some(folder) = database.parent() {
        files::private_dir(folder).map_err(RestoreError::Write)?;
    }
    copy(&snapshot.join(DATABASE), &database).map_err(io(&database))?;
    let layout = snapshot.join(LAYOUT_FILE);
    if layout.exists() {
        copy(&layout, &made.join(LAYOUT_FILE)).map_err(io(&layout))?;
    }
    files::replace(&made.join("node_key"), &key, 0o600).map_err(RestoreError::Write)?;
    let mut set_aside = None;
    if metadata_dir.exists() {
        let aside = places.dir.join(format!("meta.before-{}", now.as_second()));
        fs::rename(&metadata_dir, &aside).map_err(io(&metadata_dir))?;
        set_aside = Some(aside);
    }
    fs::rename(&made, &metadata_dir).map_err(io(&made))?;
    // A person decided on this age: it is no surprise to be reported.
    member::accept_age(places);
    Ok(Restored { set_aside })
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut target = fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(to)?;
    io::copy(&mut fs::File::open(from)?, &mut target)?;
    target.sync_all()
}
