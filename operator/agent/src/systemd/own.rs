//! Giving folders to the user of a unit.
//!
//! The user may write in them, so links are never followed: each folder is opened from the one above it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, chownat, fchown, fstat, openat, statat,
};

use crate::files::Owner;

/// Makes `folder` and what is in it the owner's. A folder that is so already is looked at only two levels deep, and not where
/// Garage keeps blocks (`ab/cd/…`), for those may be millions of files that nobody else writes.
///
/// # Errors
/// When the system refuses.
pub(super) fn own(folder: &Path, owner: Owner) -> io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = openat(CWD, folder, flags, Mode::empty())?;
    let found = fstat(&top)?;
    let foreign = is_foreign(&found, owner);
    if foreign {
        fchown(
            &top,
            Some(Uid::from_raw(owner.uid)),
            Some(Gid::from_raw(owner.gid)),
        )?;
    }
    walk(top.as_fd(), owner, foreign, 0)
}

fn walk(folder: BorrowedFd<'_>, owner: Owner, all: bool, depth: u32) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let found = match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            // Its owner works in there meanwhile.
            Err(rustix::io::Errno::NOENT) => continue,
            found => found?,
        };
        let foreign = is_foreign(&found, owner);
        if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
            // A second name may be that of a file elsewhere.
            if foreign && found.st_nlink == 1 {
                chownat(folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            continue;
        }
        if !(all || foreign || (depth == 0 && !is_of_blocks(name.to_bytes()))) {
            continue;
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let inner = openat(folder, name, flags, Mode::empty())?;
        if foreign {
            fchown(&inner, Some(uid), Some(gid))?;
        }
        walk(inner.as_fd(), owner, all || foreign, depth + 1)?;
    }
    Ok(())
}

fn is_foreign(found: &Stat, owner: Owner) -> bool {
    (found.st_uid, found.st_gid) != (owner.uid, owner.gid)
}

fn is_of_blocks(name: &[u8]) -> bool {
    name.len() == 2 && name.iter().all(u8::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    const OTHER: Owner = Owner { uid: 4321, gid: 4322 };

    fn owner(path: &Path) -> (u32, u32) {
        let found = fs::symlink_metadata(path).unwrap();
        (found.uid(), found.gid())
    }

    /// Only root may give files away.
    fn may_give() -> bool {
        rustix::process::geteuid().is_root()
    }

    #[test]
    fn a_folder_is_given_with_all_that_is_in_it_and_links_are_not_followed() {
        if !may_give() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("data/ab/cd")).unwrap();
        fs::write(at("data/ab/cd/block"), "").unwrap();
        fs::write(at("outside"), "").unwrap();
        symlink(at("outside"), at("data/link")).unwrap();
        fs::hard_link(at("outside"), at("data/second-name")).unwrap();
        own(&at("data"), OTHER).unwrap();
        for name in ["data", "data/ab", "data/ab/cd", "data/ab/cd/block"] {
            assert_eq!(owner(&at(name)), (OTHER.uid, OTHER.gid), "{name}");
        }
        assert_ne!(owner(&at("outside")).0, OTHER.uid);
    }

    #[test]
    fn a_file_that_the_agent_put_there_is_given_later() {
        if !may_give() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("meta/db.lmdb")).unwrap();
        own(&at("meta"), OTHER).unwrap();
        fs::write(at("meta/node_key"), "").unwrap();
        fs::write(at("meta/db.lmdb/data.mdb"), "").unwrap();
        own(&at("meta"), OTHER).unwrap();
        assert_eq!(owner(&at("meta/node_key")).0, OTHER.uid);
        assert_eq!(owner(&at("meta/db.lmdb/data.mdb")).0, OTHER.uid);
    }
}
