//! Where sockets lie: their paths must be short, folders of people may be deep.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::folder::Folder;

/// `sun_path` holds 108 bytes; some programs use fewer.
const LONGEST: usize = 100;

/// Where the sockets of one `hayloft up` lie.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// A folder of our own under the system's folder for temporary files, once one was needed.
    short: Option<PathBuf>,
    /// Where that would be.
    would_be: PathBuf,
    note: PathBuf,
}

impl Sockets {
    /// Places for the sockets of `folder`. `temp` is the folder for temporary files, `random` part of a new folder's name
    /// in it, so that nobody can have made it before.
    ///
    /// # Errors
    /// When the note of an earlier start cannot be removed.
    pub(crate) fn place(folder: &Folder, temp: &Path, random: u64) -> io::Result<Self> {
        let note = note(folder);
        remove_left_over(&note);
        remove_if_there(&note)?;
        Ok(Self {
            short: None,
            would_be: temp.join(format!("hayloft-{random:016x}")),
            note,
        })
    }

    /// The place of a socket: as wanted where that fits, else under `name` in the short folder.
    ///
    /// # Errors
    /// When that folder or the note of it cannot be made.
    pub(crate) fn at(&mut self, wanted: PathBuf, name: &str) -> io::Result<PathBuf> {
        if wanted.as_os_str().len() <= LONGEST {
            return Ok(wanted);
        }
        let short = match &self.short {
            Some(short) => short.clone(),
            None => {
                // Not recursive: it must be new, and thereby ours.
                DirBuilder::new().mode(0o700).create(&self.would_be)?;
                let path = self.would_be.as_os_str().as_encoded_bytes();
                hayloft_agent::files::replace(&self.note, path, 0o600).map_err(|error| error.source)?;
                self.short.insert(self.would_be.clone()).clone()
            }
        };
        Ok(short.join(name))
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        if let Some(short) = &self.short {
            let _ = fs::remove_dir_all(short);
            let _ = fs::remove_file(&self.note);
        }
    }
}

/// Removes the short folder of a start that was killed. Only one that has our kind of name is touched.
fn remove_left_over(note: &Path) {
    let Ok(short) = fs::read_to_string(note) else {
        return;
    };
    let short = Path::new(&short);
    let ours = short
        .file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.starts_with("hayloft-"));
    if ours && short.is_absolute() {
        let _ = fs::remove_dir_all(short);
    }
}

/// Where the control socket of a folder's `hayloft up` is.
pub(crate) fn control_socket(folder: &Folder) -> PathBuf {
    let wanted = folder.control_socket();
    if wanted.as_os_str().len() <= LONGEST {
        return wanted;
    }
    match fs::read_to_string(note(folder)) {
        Ok(short) => Path::new(&short).join("control.sock"),
        Err(_) => wanted,
    }
}

fn note(folder: &Folder) -> PathBuf {
    folder.path().join("sockets.path")
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deep_folder_gets_short_sockets_that_others_find_and_that_go_away() {
        let temp = tempfile::tempdir().unwrap();
        let deep = temp.path().join("d".repeat(90));
        fs::create_dir(&deep).unwrap();
        let folder = Folder::at(deep);
        let mut sockets = Sockets::place(&folder, temp.path(), 7).unwrap();
        let at = sockets.at(folder.control_socket(), "control.sock").unwrap();
        assert!(at.as_os_str().len() <= LONGEST);
        assert_eq!(control_socket(&folder), at);
        drop(sockets);
        assert!(!at.parent().unwrap().exists());
    }

    #[test]
    fn a_short_folder_holds_its_own_sockets() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::at(temp.path().to_owned());
        let wanted = folder.control_socket();
        let mut sockets = Sockets::place(&folder, temp.path(), 7).unwrap();
        assert_eq!(sockets.at(wanted.clone(), "control.sock").unwrap(), wanted);
        assert!(!temp.path().join("hayloft-0000000000000007").exists());
    }
}
