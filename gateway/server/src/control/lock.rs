//! One process works with a state folder at a time.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

const PAUSE: Duration = Duration::from_millis(200);

/// Why a state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// It cannot be locked at all.
    #[error("cannot lock the folder {}", path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// Another process has it.
    #[error("another hayloft-gateway uses the folder {}: stop it, or wait until it serves", path.display())]
    Taken { path: PathBuf },
}

/// Held by the process that works with a state folder.
#[derive(Debug)]
pub(crate) struct FolderLock(#[expect(dead_code, reason = "the lock ends with the file")] File);

impl FolderLock {
    /// Takes the folder; waits up to `patience` for one who is about to leave.
    ///
    /// # Errors
    /// When another process has it.
    pub(crate) async fn take(folder: &Path, patience: Duration) -> Result<Self, LockError> {
        let open = |path: &Path| {
            std::fs::OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .open(path)
        };
        let path = folder.join("lock");
        let file = open(&path).map_err(|source| LockError::Open {
            path: folder.to_owned(),
            source,
        })?;
        let deadline = tokio::time::Instant::now() + patience;
        while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            if tokio::time::Instant::now() >= deadline {
                return Err(LockError::Taken {
                    path: folder.to_owned(),
                });
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(Self(file))
    }
}
