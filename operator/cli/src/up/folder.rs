//! The folder of one `hayloft up`: what lies where, and that only one process uses it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hayloft_api::{HostName, rules};
use rustix::fs::FlockOperation;

/// Less free space than this is too little to start with.
const LEAST_FREE: u64 = 512 * 1024 * 1024;

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    /// Something that is no folder is in the way, or the system refuses.
    #[error("cannot make the folder {}: {why}; choose another with --dir", path.display())]
    Make { path: PathBuf, why: io::Error },
    /// Files cannot be made in it.
    #[error("cannot write in the folder {}: {why}; make it writable, or choose another with --dir", path.display())]
    NotWritable { path: PathBuf, why: io::Error },
    /// Another process has it.
    #[error("{} is in use by another `hayloft up`{}; stop that one, or choose another folder with --dir", path.display(), pid_words(.pid.as_ref()))]
    InUse { path: PathBuf, pid: Option<u32> },
    /// The lock itself failed.
    #[error("cannot lock {}: {why}", path.display())]
    Lock { path: PathBuf, why: io::Error },
    /// The disk is full, or nearly.
    #[error("only {} are free for {}, and at least {} are needed; free some space, or choose another folder with --dir",
        crate::words::bytes(*free), path.display(), crate::words::bytes(LEAST_FREE))]
    DiskFull { path: PathBuf, free: u64 },
    /// The disk could never hold what a host lends at least.
    #[error("the disk of {} holds {}, and a host lends {} at least; choose a folder on a larger disk with --dir",
        path.display(), crate::words::bytes(*total), crate::words::bytes(rules::MIN_PLEDGE.0))]
    DiskSmall { path: PathBuf, total: u64 },
    /// The disk cannot be asked.
    #[error("cannot see how much space {} has: {why}", path.display())]
    Disk { path: PathBuf, why: io::Error },
}

fn pid_words(pid: Option<&u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

/// Where things lie in a folder.
#[derive(Debug, Clone)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Names a folder; makes and asks nothing.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
    pub(crate) fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }
    pub(crate) fn store(&self) -> PathBuf {
        self.0.join("coordinator.sqlite")
    }
    pub(crate) fn document(&self) -> PathBuf {
        self.0.join("document.yaml")
    }
    pub(crate) fn source(&self) -> PathBuf {
        self.0.join("document.source")
    }
    pub(crate) fn control_socket(&self) -> PathBuf {
        self.0.join("control.sock")
    }
    pub(crate) fn client(&self) -> PathBuf {
        self.0.join("client.json")
    }
    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("hayloft.log")
    }
    pub(crate) fn hosts(&self) -> PathBuf {
        self.0.join("hosts")
    }
    pub(crate) fn host(&self, name: &HostName) -> PathBuf {
        self.hosts().join(name.as_str())
    }
}

/// A folder that this process alone uses, until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct LockedFolder {
    folder: Folder,
    _lock: File,
}

impl LockedFolder {
    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }
}

/// Makes the folder where it is missing, and takes it for this process.
pub(crate) fn take(folder: Folder) -> Result<LockedFolder, FolderError> {
    let path = folder.path().to_owned();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&path)
        .map_err(|why| FolderError::Make {
            path: path.clone(),
            why,
        })?;
    if !path.is_dir() {
        let why = io::Error::from(io::ErrorKind::NotADirectory);
        return Err(FolderError::Make { path, why });
    }
    let mut lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(folder.lock())
        .map_err(|why| FolderError::NotWritable {
            path: path.clone(),
            why,
        })?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            let _ = lock.read_to_string(&mut text);
            return Err(FolderError::InUse {
                path,
                pid: text.trim().parse().ok(),
            });
        }
        Err(error) => {
            return Err(FolderError::Lock {
                path,
                why: error.into(),
            });
        }
    }
    check_space(&path)?;
    note_pid(&mut lock).map_err(|why| FolderError::NotWritable { path, why })?;
    Ok(LockedFolder { folder, _lock: lock })
}

fn note_pid(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

fn check_space(path: &Path) -> Result<(), FolderError> {
    let (free, total) = space(path)?;
    if total < rules::MIN_PLEDGE.0 {
        return Err(FolderError::DiskSmall {
            path: path.to_owned(),
            total,
        });
    }
    if free < LEAST_FREE {
        return Err(FolderError::DiskFull {
            path: path.to_owned(),
            free,
        });
    }
    Ok(())
}

/// Bytes that can be written on the disk of `path`.
pub(crate) fn free_space(path: &Path) -> Result<u64, FolderError> {
    space(path).map(|(free, _)| free)
}

fn space(path: &Path) -> Result<(u64, u64), FolderError> {
    let space = rustix::fs::statvfs(path).map_err(|error| FolderError::Disk {
        path: path.to_owned(),
        why: error.into(),
    })?;
    Ok((
        space.f_bavail.saturating_mul(space.f_frsize),
        space.f_blocks.saturating_mul(space.f_frsize),
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_folder_is_taken_by_one_and_free_again_when_that_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::at(dir.path().join("a/b"));
        let first = take(folder.clone()).unwrap();
        let error = take(folder.clone()).unwrap_err();
        assert!(
            error
                .to_string()
                .contains(&format!("(process {})", std::process::id())),
            "{error}"
        );
        drop(first);
        take(folder).unwrap();
    }

    #[test]
    fn a_file_in_place_of_the_folder_is_refused_in_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, b"precious").unwrap();
        let error = take(Folder::at(path.clone())).unwrap_err().to_string();
        assert!(error.contains("--dir") && !error.contains('\n'), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }
}
