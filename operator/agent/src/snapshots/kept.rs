//! Snapshots of other hosts: `kept/<host>/<id>`, beside each a description. Parts come in order; one that is whole and checked
//! is renamed to its place, and of each host the two newest stay.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use hayloft_api::HostName;
use hayloft_api::question::{Answer, KeptSnapshot, Refusal, SnapshotId, SnapshotInfo};

use super::{digest, failed, part, plain};
use crate::agent::one_line;
use crate::files;
use crate::report;

/// Of each host, so many are kept.
const KEEP: usize = 2;
const INFO_FILE: &str = "snapshot.json";
/// The ending of a folder that is not whole.
const PARTIAL: &str = "part";
/// A snapshot has a database and a layout.
const MOST_FILES: usize = 16;
/// So much stays free on the disk, whatever others want to be kept: 1 GiB.
const RESERVE: u64 = 1 << 30;

/// The snapshots of other hosts.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    dir: PathBuf,
    /// One writer at a time.
    writing: Arc<Mutex<()>>,
}

impl Kept {
    /// Those that lie in the host's folder.
    pub(crate) fn new(host_dir: &Path) -> Self {
        Self {
            dir: host_dir.join("kept"),
            writing: Arc::default(),
        }
    }

    fn whole(&self, of: &HostName, id: &SnapshotId) -> Result<PathBuf, Refusal> {
        Ok(self.dir.join(of.as_str()).join(plain(&id.0)?))
    }

    /// Takes the next part, or says which one that is.
    pub(crate) fn keep(
        &self,
        of: &HostName,
        info: &SnapshotInfo,
        file: &str,
        offset: u64,
        data: &[u8],
    ) -> Result<Answer, Refusal> {
        let whole = self.whole(of, &info.id)?;
        if whole.join(INFO_FILE).exists() {
            return Ok(Answer::Kept {
                file: None,
                offset: 0,
            });
        }
        sensible(info)?;
        let Ok(_writing) = self.writing.try_lock() else {
            // Another part, or the check of a whole snapshot. Nothing is lost by asking again.
            return Ok(Answer::Kept {
                file: Some(file.to_owned()),
                offset,
            });
        };
        let partial = whole.with_extension(PARTIAL);
        files::private_dir(&partial).map_err(|error| failed("a folder for snapshots", &error.source))?;
        let next = next_part(&partial, info).map_err(|error| failed("a kept snapshot", &error))?;
        let Some((wanted, at)) = next else {
            return self.finish(of, info, &partial, &whole);
        };
        if wanted != file || at != offset || data.is_empty() {
            return Ok(Answer::Kept {
                file: Some(wanted),
                offset: at,
            });
        }
        self.has_room(info)?;
        append(&partial.join(&wanted), data).map_err(|error| failed("a kept snapshot", &error))?;
        match next_part(&partial, info).map_err(|error| failed("a kept snapshot", &error))? {
            Some((file, offset)) => Ok(Answer::Kept {
                file: Some(file),
                offset,
            }),
            None => self.finish(of, info, &partial, &whole),
        }
    }

    /// What is kept here must not take the room that the host's own data needs.
    fn has_room(&self, info: &SnapshotInfo) -> Result<(), Refusal> {
        let Some(disk) = report::disk(&self.dir) else {
            return Ok(());
        };
        let needed = info.bytes().saturating_add(RESERVE);
        if disk.data_available < needed {
            return Err(Refusal::NoRoom {
                needed,
                available: disk.data_available,
            });
        }
        Ok(())
    }

    /// Checks every byte, and puts it in its place.
    fn finish(
        &self,
        of: &HostName,
        info: &SnapshotInfo,
        partial: &Path,
        whole: &Path,
    ) -> Result<Answer, Refusal> {
        let broken = |error: &io::Error| failed("a kept snapshot", error);
        for file in &info.files {
            let path = partial.join(&file.name);
            if digest(&path).map_err(|error| broken(&error))? != file.digest {
                // Begun anew by whoever sends it.
                fs::remove_dir_all(partial).map_err(|error| broken(&error))?;
                return Err(Refusal::Failed {
                    why: format!("{} did not arrive as it was sent", file.name),
                });
            }
            File::open(&path)
                .and_then(|file| file.sync_all())
                .map_err(|error| broken(&error))?;
        }
        let text = serde_json::to_vec_pretty(info).map_err(|error| Refusal::Failed {
            why: one_line(&error),
        })?;
        files::replace(&partial.join(INFO_FILE), &text, 0o600).map_err(|error| broken(&error.source))?;
        fs::rename(partial, whole).map_err(|error| broken(&error))?;
        self.prune(of).map_err(|error| broken(&error))?;
        Ok(Answer::Kept {
            file: None,
            offset: 0,
        })
    }

    /// Only the newest whole ones stay, and what is newer than them and not yet whole.
    fn prune(&self, of: &HostName) -> io::Result<()> {
        let mut all = self.of_host(of)?;
        all.sort_by(|one, other| other.info.id.cmp(&one.info.id));
        let dir = self.dir.join(of.as_str());
        for old in all.iter().skip(KEEP) {
            fs::remove_dir_all(dir.join(&old.info.id.0))?;
        }
        if let Some(newest) = all.first() {
            for entry in fs::read_dir(&dir)? {
                let path = entry?.path();
                let older = path
                    .file_stem()
                    .and_then(|stem| stem.to_str())
                    .is_some_and(|stem| stem <= newest.info.id.0.as_str());
                if older && path.extension().is_some_and(|ending| ending == PARTIAL) {
                    fs::remove_dir_all(path)?;
                }
            }
        }
        Ok(())
    }

    fn of_host(&self, of: &HostName) -> io::Result<Vec<KeptSnapshot>> {
        let mut kept = Vec::new();
        for entry in folder(&self.dir.join(of.as_str()))? {
            let read = fs::read(entry?.path().join(INFO_FILE)).ok();
            if let Some(info) = read.and_then(|text| serde_json::from_slice(&text).ok()) {
                kept.push(KeptSnapshot {
                    of: of.clone(),
                    info,
                    whole: true,
                });
            }
        }
        Ok(kept)
    }

    /// All whole ones.
    pub(crate) fn all(&self) -> Result<Answer, Refusal> {
        let list = || -> io::Result<Vec<KeptSnapshot>> {
            let mut kept = Vec::new();
            for entry in folder(&self.dir)? {
                if let Some(of) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
                    kept.extend(self.of_host(&of)?);
                }
            }
            kept.sort_by(|one, other| (&one.of, &one.info.id).cmp(&(&other.of, &other.info.id)));
            Ok(kept)
        };
        let kept = list().map_err(|error| failed("the kept snapshots", &error))?;
        Ok(Answer::KeptSnapshots { kept })
    }

    pub(crate) fn part(
        &self,
        of: &HostName,
        id: &SnapshotId,
        file: &str,
        offset: u64,
        limit: u32,
    ) -> Result<Answer, Refusal> {
        let path = self.whole(of, id)?.join(plain(file)?);
        let (data, last) = part(&path, offset, limit).map_err(|error| failed("such a snapshot", &error))?;
        Ok(Answer::Part { data, last })
    }

    pub(crate) fn drop_all(&self, of: &HostName) -> Result<Answer, Refusal> {
        match fs::remove_dir_all(self.dir.join(of.as_str())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("the kept snapshots", &error))
            }
            _ => Ok(Answer::Done),
        }
    }
}

fn folder(dir: &Path) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => Some(entries),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    Ok(entries.into_iter().flatten())
}

fn sensible(info: &SnapshotInfo) -> Result<(), Refusal> {
    let names = info.files.iter().map(|file| plain(&file.name));
    names.collect::<Result<Vec<_>, _>>()?;
    // Garage's names are times, to the second. Another could be that of a folder of this store.
    if info.id.0.parse::<jiff::Timestamp>().is_err() || info.id.0.contains('.') {
        return Err(Refusal::Senseless {
            why: "a snapshot's name is a time".to_owned(),
        });
    }
    if info.files.is_empty() || info.files.len() > MOST_FILES {
        return Err(Refusal::Senseless {
            why: "a snapshot has 1 to 16 files".to_owned(),
        });
    }
    Ok(())
}

/// The file that is not whole yet, and how much of it is here; `None` when all are.
fn next_part(partial: &Path, info: &SnapshotInfo) -> io::Result<Option<(String, u64)>> {
    for file in &info.files {
        let have = match fs::metadata(partial.join(&file.name)) {
            Ok(present) => present.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        if have > file.bytes {
            // Of another snapshot of that name, or not ours: begun anew.
            fs::remove_file(partial.join(&file.name))?;
            return Ok(Some((file.name.clone(), 0)));
        }
        if have < file.bytes {
            return Ok(Some((file.name.clone(), have)));
        }
    }
    Ok(None)
}

fn append(path: &Path, data: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(data)
}
