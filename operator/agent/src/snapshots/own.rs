//! The snapshots that this host's Garage made of itself.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hayloft_api::NodeId;
use hayloft_api::question::{Answer, Refusal, SnapshotFile, SnapshotId, SnapshotInfo};
use hayloft_garage::layout_file::LAYOUT_FILE;
use jiff::Timestamp;

use super::{digest, failed, part, plain};
use crate::clock::Clock;
use crate::files;
use crate::launch::Places;

/// Garage writes a snapshot in place: one that was written to more recently than this may not be whole. A long one is
/// written for long, on a disk that may pause.
const STILL: Duration = Duration::from_secs(2);
const STILL_AT_MOST: Duration = Duration::from_secs(60);
/// A second more for so many bytes.
const BYTES_A_SECOND: u64 = 64 << 20;

/// This host's snapshots.
#[derive(Debug, Clone)]
pub(crate) struct Own {
    places: Places,
    clock: Clock,
    /// The last that was described: reading all of it takes a while.
    known: Arc<Mutex<Option<SnapshotInfo>>>,
}

impl Own {
    pub(crate) fn new(places: Places, clock: Clock) -> Self {
        Self {
            places,
            clock,
            known: Arc::default(),
        }
    }

    /// The newest whole snapshot of `node`. Reads it, the first time.
    pub(crate) fn newest(&self, node: NodeId) -> Result<Answer, Refusal> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(id) = self.newest_whole() else {
            return Ok(Answer::Snapshot { info: None });
        };
        if let Some(info) = known.as_ref().filter(|info| info.id == id && info.node == node) {
            return Ok(Answer::Snapshot {
                info: Some(info.clone()),
            });
        }
        let info = self.describe(id, node)?;
        *known = Some(info.clone());
        Ok(Answer::Snapshot { info: Some(info) })
    }

    fn newest_whole(&self) -> Option<SnapshotId> {
        let mut ids: Vec<String> = fs::read_dir(self.places.snapshots_dir())
            .ok()?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.parse::<Timestamp>().is_ok() && plain(name).is_ok())
            .collect();
        ids.sort();
        ids.into_iter().rev().find(|id| self.is_still(id)).map(SnapshotId)
    }

    fn is_still(&self, id: &str) -> bool {
        let database = self.places.snapshots_dir().join(id).join("db.lmdb");
        let Ok(file) = fs::metadata(database) else {
            return false;
        };
        let written = file
            .modified()
            .ok()
            .and_then(|time| Timestamp::try_from(time).ok());
        written.is_some_and(|written| {
            let since = self.clock.now().duration_since(written);
            // A clock that was set back must not hide a snapshot for long; its age is then not known.
            since.is_negative() || since.unsigned_abs() >= still(file.len())
        })
    }

    fn describe(&self, id: SnapshotId, node: NodeId) -> Result<SnapshotInfo, Refusal> {
        let dir = self.places.snapshots_dir().join(&id.0);
        let taken = id.0.parse::<Timestamp>().map_err(|_| Refusal::Gone {
            what: "such a snapshot".to_owned(),
        })?;
        // Garage deletes every file of an old snapshot, this one too.
        let layout = dir.join(LAYOUT_FILE);
        if !layout.exists()
            && let Ok(present) = fs::read(self.places.metadata_dir().join(LAYOUT_FILE))
        {
            files::replace(&layout, &present, 0o600).map_err(|error| failed("the layout", &error.source))?;
        }
        let mut names: Vec<String> = fs::read_dir(&dir)
            .map_err(|error| failed("such a snapshot", &error))?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| plain(name).is_ok())
            .collect();
        names.sort();
        let describe = |name: String| {
            let path = dir.join(&name);
            let told = fs::metadata(&path).and_then(|before| {
                let digest = digest(&path)?;
                let after = fs::metadata(&path)?;
                if (before.len(), before.modified()?) != (after.len(), after.modified()?) {
                    return Err(io::Error::other("it is being written still"));
                }
                Ok(SnapshotFile {
                    bytes: before.len(),
                    digest,
                    name,
                })
            });
            told.map_err(|error| failed("such a snapshot", &error))
        };
        Ok(SnapshotInfo {
            files: names.into_iter().map(describe).collect::<Result<_, _>>()?,
            id,
            node,
            taken,
        })
    }

    pub(crate) fn part(
        &self,
        id: &SnapshotId,
        file: &str,
        offset: u64,
        limit: u32,
    ) -> Result<Answer, Refusal> {
        let path = file_in(&self.places.snapshots_dir().join(plain(&id.0)?), file)?;
        let (data, last) = part(&path, offset, limit).map_err(|error| failed("such a snapshot", &error))?;
        Ok(Answer::Part { data, last })
    }
}

fn still(bytes: u64) -> Duration {
    (STILL + Duration::from_secs(bytes / BYTES_A_SECOND)).min(STILL_AT_MOST)
}

fn file_in(dir: &Path, file: &str) -> Result<PathBuf, Refusal> {
    Ok(dir.join(plain(file)?))
}
