//! Writing files so that a crash leaves the old one or the new one, never half of one.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// A file could not be made as it should be.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
pub struct WriteError {
    /// The file or folder.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// Makes a folder and those above it, each closed to other users. One that is there stays as it is.
///
/// # Errors
/// When the system refuses, with the folder's name.
pub fn private_dir(path: &Path) -> Result<(), WriteError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| WriteError {
            path: path.to_owned(),
            source,
        })
}

/// Replaces `path` by a file with this content and mode: written aside, synced, renamed, and the folder synced.
/// Returns whether the content is another than before.
///
/// # Errors
/// When the system refuses; the old file is then untouched.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> Result<bool, WriteError> {
    replace_for(path, content, mode, None)
}

/// The numbers of a user and of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The user's.
    pub uid: u32,
    /// The group's.
    pub gid: u32,
}

/// The same for a file that belongs to `owner`, from its first moment on.
///
/// # Errors
/// When the system refuses; the old file is then untouched.
pub fn replace_for(path: &Path, content: &[u8], mode: u32, owner: Option<Owner>) -> Result<bool, WriteError> {
    let fail = |source| WriteError {
        path: path.to_owned(),
        source,
    };
    if let Ok(present) = fs::read(path)
        && present == content
        && owner.is_none_or(|owner| belongs_to(path, owner))
    {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(fail)?;
        return Ok(false);
    }
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    let aside = PathBuf::from(aside);
    let write = || -> io::Result<()> {
        // A leftover of a crash may have another mode.
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(mode)
            .open(&aside)?;
        if let Some(Owner { uid, gid }) = owner {
            fchown(&file, Some(uid), Some(gid))?;
        }
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&aside, path)?;
        if let Some(dir) = path.parent() {
            File::open(dir)?.sync_all()?;
        }
        Ok(())
    };
    let result = write();
    if result.is_err() {
        let _ = fs::remove_file(&aside);
    }
    result.map(|()| true).map_err(fail)
}

/// Whether it is a plain file of that owner, and no link to one.
fn belongs_to(path: &Path, owner: Owner) -> bool {
    fs::symlink_metadata(path)
        .is_ok_and(|found| found.is_file() && (found.uid(), found.gid()) == (owner.uid, owner.gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacing_tells_whether_something_changed_and_keeps_secrets_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        assert!(replace(&path, b"one", 0o600).unwrap());
        assert!(!replace(&path, b"one", 0o600).unwrap());
        assert!(replace(&path, b"two", 0o600).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "nothing is left aside"
        );
    }

    #[test]
    fn a_folder_in_the_way_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        fs::create_dir(&path).unwrap();
        let error = replace(&path, b"one", 0o600).unwrap_err();
        assert!(error.to_string().contains("secret"));
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "nothing is left aside"
        );
    }
}
