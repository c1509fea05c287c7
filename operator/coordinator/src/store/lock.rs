//! One coordinator for one store: the second that is started on the same file stops at once.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use super::{Store, StoreError};

/// As long as it lives, no other coordinator can be started with this store. The system ends it with the process.
#[derive(Debug)]
pub(crate) struct StoreLock {
    file: File,
}

impl StoreLock {
    /// Tells this lock from that of any copy of the store, here or on another machine. Empty when the system does not say:
    /// then nobody is taken for a predecessor.
    pub(crate) fn place(&self) -> String {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        match (boot, self.file.metadata()) {
            (Ok(boot), Ok(file)) => format!("{} {} {}", boot.trim(), file.dev(), file.ino()),
            _ => String::new(),
        }
    }
}

impl Store {
    /// Takes the store for one coordinator.
    pub(crate) fn lock(&self) -> Result<StoreLock, StoreError> {
        let mut path = self.path.clone().into_os_string();
        path.push(".lock");
        let path = PathBuf::from(path);
        let failed = |source| StoreError::File {
            path: path.clone(),
            source,
        };
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(StoreLock { file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Taken {
                path: self.path.clone(),
            }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}
