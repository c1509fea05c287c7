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
    /// A folder of our own under the system's folder for temporary files, when one was needed.
    short: Option<PathBuf>,
    note: PathBuf,
}

impl Sockets {
    /// Makes a short folder if the longest of `wanted` does not fit. `temp` is the folder for temporary files, `random`
    /// part of the new folder's name, so that nobody can have made it before.
    ///
    /// # Errors
    /// When that folder or the note of it cannot be made.
    pub(crate) fn place(folder: &Folder, temp: &Path, random: u64, wanted: &[PathBuf]) -> io::Result<Self> {
        let note = note(folder);
        remove_left_over(&note);
        let short = if wanted.iter().any(|path| path.as_os_str().len() > LONGEST) {
            let short = temp.join(format!("hayloft-{random:016x}"));
            // Not recursive: it must be new, and thereby ours.
            DirBuilder::new().mode(0o700).create(&short)?;
            hayloft_agent::files::replace(&note, short.as_os_str().as_encoded_bytes(), 0o600)
                .map_err(|error| error.source)?;
            Some(short)
        } else {
            remove_if_there(&note)?;
            None
        };
        Ok(Self { short, note })
    }

    /// The place of a socket: as wanted where that fits, else under `name` in the short folder.
    pub(crate) fn at(&self, wanted: PathBuf, name: &str) -> PathBuf {
        match &self.short {
            Some(short) if wanted.as_os_str().len() > LONGEST => short.join(name),
            _ => wanted,
        }
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
        let wanted = folder.control_socket();
        let sockets = Sockets::place(&folder, temp.path(), 7, std::slice::from_ref(&wanted)).unwrap();
        let at = sockets.at(wanted, "control.sock");
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
        let sockets = Sockets::place(&folder, temp.path(), 7, std::slice::from_ref(&wanted)).unwrap();
        assert_eq!(sockets.at(wanted.clone(), "control.sock"), wanted);
    }
}
