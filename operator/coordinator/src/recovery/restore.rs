//! From a kit to a store that a coordinator can start with.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{Kit, KitLabel};
use crate::store::{Store, StoreError};

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There is a store already.
    #[error("{path} is there already: a coordinator ran here, and nothing is put in its place; move it away first", path = path.display())]
    Taken {
        /// The file.
        path: PathBuf,
    },
    /// The file system.
    #[error("{path} cannot be written", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What was in the kit is no store of this version.
    #[error("what is in the kit cannot be used")]
    Store(#[from] StoreError),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The kit that it came from.
    pub label: KitLabel,
    /// Join tokens that were good when the kit was made, and are void now: how often they were used since is not known.
    pub voided: usize,
}

/// Puts the store of a kit at `path`, where there must be none, and makes it ready for a coordinator: join tokens are void,
/// and it knows that it is older than the cluster. When anything fails, nothing is left at `path`.
///
/// # Errors
/// When there is a store already, it cannot be written, or cannot be opened by this version.
pub async fn restore(kit: &Kit, path: &Path, now: Timestamp) -> Result<Restored, RestoreError> {
    let write = |path: &Path| {
        let path = path.to_owned();
        move |source| RestoreError::Write { path, source }
    };
    if path.try_exists().map_err(write(path))? {
        return Err(RestoreError::Taken {
            path: path.to_owned(),
        });
    }
    let draft = path.with_extension("restoring");
    clear(&draft).map_err(write(&draft))?;
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| {
            file.write_all(&kit.store)?;
            file.sync_all()
        });
    written.map_err(write(&draft))?;
    let voided = match prepare(&draft, kit, now).await {
        Ok(voided) => voided,
        Err(error) => {
            // What went wrong is told; the draft is written over by the next attempt.
            let _ = clear(&draft);
            return Err(error.into());
        }
    };
    // It was closed, so that all of it is in this one file.
    fs::rename(&draft, path).map_err(write(path))?;
    Ok(Restored {
        label: kit.label.clone(),
        voided,
    })
}

async fn prepare(draft: &Path, kit: &Kit, now: Timestamp) -> Result<usize, StoreError> {
    // Not used: a kit of a store that has no secrets yet is never made.
    let store = Store::open(draft, [0; 32]).await?;
    let prepared = async {
        let good = |token: &hayloft_api::join::TokenSummary| {
            token.revoked.is_none() && token.limits.expires > now && token.used < token.limits.uses
        };
        let tokens = store.tokens().await?;
        store.revoke_tokens_before(Timestamp::MAX, now).await?;
        store.put_restored(&kit.label).await?;
        Ok(tokens.iter().filter(|token| good(&token.summary)).count())
    };
    let prepared = prepared.await;
    store.close().await;
    prepared
}

fn clear(draft: &Path) -> io::Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = draft.as_os_str().to_owned();
        name.push(suffix);
        match fs::remove_file(PathBuf::from(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
