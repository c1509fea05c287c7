//! What must lie on the disk before a unit starts: its folders, its files, and whose they are.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::own::own;
use super::render::{Rendered, is_credential};
use crate::files::{self, Owner, WriteError};
use crate::unit::Unit;

/// A unit cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrepareError {
    /// A folder cannot be made or given to the unit's user.
    #[error("cannot make the folder {}", path.display())]
    Folder {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] WriteError),
}

/// Makes folders and gives them to the unit's user.
pub(super) fn folders(unit: &Unit, rendered: &Rendered, owner: Owner) -> Result<(), PrepareError> {
    for folder in &rendered.folders {
        folder_for(folder, &unit.launch.dir)
            .and_then(|()| own(folder, owner))
            .map_err(|source| PrepareError::Folder {
                path: folder.clone(),
                source,
            })?;
    }
    Ok(())
}

fn folder_for(folder: &Path, agents: &Path) -> io::Result<()> {
    if let Some(above) = folder.parent() {
        // Within the agent's folder the unit gets its own by a mount; elsewhere its user must be able to go there.
        let mode = if folder.starts_with(agents) { 0o700 } else { 0o755 };
        DirBuilder::new().recursive(true).mode(mode).create(above)?;
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Writes the unit's files: credentials are root's, what it reads while it runs is its user's. Gives whether some of the latter are
/// other ones now.
pub(super) fn files(unit: &Unit, owner: Owner) -> Result<bool, PrepareError> {
    let mut others = false;
    for file in &unit.files {
        let credential = is_credential(file);
        let owner = (!credential).then_some(owner);
        others |= files::replace_for(&file.path, &file.content, 0o600, owner)? && !credential;
    }
    Ok(others)
}
