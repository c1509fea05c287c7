//! Whether a host that is no longer declared has anything left that is of use, and what becomes of its folder.

use std::fs;
use std::io;
use std::path::Path;

/// Garage's own marker in a data folder. Any other file there is, or may become, a block.
const MARKER: &str = "garage-marker";
/// What a host's Garage has as soon as it ever had a part in a cluster, and has no more once its metadata is deleted.
const LAYOUT: &str = "cluster_layout";
/// What a folder is called while it is being removed. No host can have such a name.
const AWAY: &str = ".retired-";

/// Whether the folder of a host holds neither blocks nor Garage's metadata. Everything is looked at anew: nothing that
/// anybody said counts here.
///
/// # Errors
/// When a folder cannot be read: then it is not known.
pub(crate) fn holds_nothing(host: &Path) -> io::Result<bool> {
    if host.join("meta").join(LAYOUT).try_exists()? {
        return Ok(false);
    }
    has_no_files(&host.join("data"))
}

/// Whether there are but folders, three deep at most, and the marker.
fn has_no_files(folder: &Path) -> io::Result<bool> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let is_nothing = if entry.file_type()?.is_dir() {
            has_no_files(&entry.path())?
        } else {
            entry.file_name() == MARKER
        };
        if !is_nothing {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes the folder of a host, so that an interruption leaves none that looks like a host's.
///
/// # Errors
/// When the system refuses; what is left is removed at the next start.
pub(crate) fn remove(hosts: &Path, name: &str) -> io::Result<()> {
    let away = hosts.join(format!("{AWAY}{name}"));
    if away.try_exists()? {
        fs::remove_dir_all(&away)?;
    }
    fs::rename(hosts.join(name), &away)?;
    fs::remove_dir_all(&away)
}

/// Removes what earlier removals left, as far as that can be done.
pub(crate) fn remove_left_over(hosts: &Path) {
    let Ok(entries) = fs::read_dir(hosts) else { return };
    for entry in entries.flatten() {
        if entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(AWAY))
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_a_block_or_with_metadata_is_something() {
        let temp = tempfile::tempdir().unwrap();
        let host = temp.path().join("host-4");
        fs::create_dir_all(host.join("data/ab/cd")).unwrap();
        fs::create_dir_all(host.join("meta")).unwrap();
        fs::write(host.join("data/garage-marker"), "").unwrap();
        fs::write(host.join("meta/node_key"), "").unwrap();
        assert!(holds_nothing(&host).unwrap());
        for file in [
            "data/ab/cd/abcd",
            "data/ab/cd/abcd.zst.tmp",
            "meta/cluster_layout",
        ] {
            fs::write(host.join(file), "").unwrap();
            assert!(!holds_nothing(&host).unwrap(), "{file}");
            fs::remove_file(host.join(file)).unwrap();
        }
        assert!(holds_nothing(&host).unwrap());
    }

    #[test]
    fn a_removed_folder_is_gone_also_after_an_interruption() {
        let temp = tempfile::tempdir().unwrap();
        let hosts = temp.path();
        fs::create_dir_all(hosts.join("host-4/data/ab")).unwrap();
        fs::create_dir_all(hosts.join(".retired-host-4/data")).unwrap();
        fs::create_dir_all(hosts.join("host-1/data")).unwrap();
        remove(hosts, "host-4").unwrap();
        fs::create_dir_all(hosts.join(".retired-host-5/data")).unwrap();
        remove_left_over(hosts);
        let left: Vec<_> = fs::read_dir(hosts)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["host-1"]);
    }
}
