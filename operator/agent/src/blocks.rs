//! The blocks on this host's disk, as Garage lays them out: `data_dir/h0/h1/<64 hex digits>`, with `.zst` where compressed.
//! The first byte of a name is its layout partition.

mod census;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hayloft_api::question::BlockName;

pub(crate) use census::{Counter, Counting};

/// A block's name, when a file is one. Garage's leftovers (`.tmp…`, `.corrupted`) are none.
fn block_name(file: &str) -> Option<BlockName> {
    let name = file.strip_suffix(".zst").unwrap_or(file);
    // Parsing takes capitals too; Garage writes none.
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    name.parse().ok()
}

/// Whether a name is that of a folder for one byte of block names.
fn is_byte(name: &str) -> bool {
    name.len() == 2
        && name
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// What lies in a folder; nothing when there is none.
fn entries(dir: &Path) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>>> {
    match fs::read_dir(dir) {
        Ok(entries) => Ok(Some(entries)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
    .map(|entries| entries.into_iter().flatten())
}

/// One file of a block.
struct Found {
    name: BlockName,
    path: PathBuf,
}

/// The blocks whose names begin with two bytes, sorted, each once (a block may lie there compressed and not).
fn in_folder(data_dir: &Path, first: u8, second: u8) -> io::Result<Vec<Found>> {
    let dir = data_dir
        .join(format!("{first:02x}"))
        .join(format!("{second:02x}"));
    let mut found = Vec::new();
    for entry in entries(&dir)? {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().and_then(block_name) else {
            continue;
        };
        // Elsewhere Garage would not find it.
        if name.as_bytes().starts_with(&[first, second]) {
            found.push(Found {
                name,
                path: entry.path(),
            });
        }
    }
    found.sort_unstable_by_key(|block| block.name);
    found.dedup_by_key(|block| block.name);
    Ok(found)
}

/// At most `limit` names of a partition above `after`, sorted, and whether there are more. Looks only into folders that can
/// hold one of them.
pub(crate) fn names(
    data_dir: &Path,
    partition: u8,
    after: Option<BlockName>,
    limit: usize,
) -> io::Result<(Vec<BlockName>, bool)> {
    let first = match after.map(|name| *name.as_bytes()) {
        Some([byte, ..]) if byte > partition => return Ok((Vec::new(), false)),
        Some([byte, second, ..]) if byte == partition => second,
        _ => 0,
    };
    let mut names = Vec::new();
    for second in first..=u8::MAX {
        let found = in_folder(data_dir, partition, second)?;
        names.extend(
            found
                .into_iter()
                .map(|block| block.name)
                .filter(|name| after.is_none_or(|after| *name > after)),
        );
        if names.len() > limit {
            names.truncate(limit);
            return Ok((names, true));
        }
    }
    Ok((names, false))
}

/// Bytes of what lies in a data folder; what cannot be read counts as none.
pub(crate) fn bytes_in(data_dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(data_dir) else {
        return 0;
    };
    let bytes = entries
        .filter_map(Result::ok)
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => bytes_in(&entry.path()),
            Ok(found) if found.is_file() => found.len(),
            _ => 0,
        });
    bytes.sum()
}

/// Whether any block lies under a data folder.
pub(crate) fn any(data_dir: &Path) -> io::Result<bool> {
    for first in entries(data_dir)? {
        let Some(first) = byte_of(&first?) else { continue };
        for second in entries(&data_dir.join(format!("{first:02x}")))? {
            if let Some(second) = byte_of(&second?)
                && !in_folder(data_dir, first, second)?.is_empty()
            {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn byte_of(entry: &fs::DirEntry) -> Option<u8> {
    let name = entry.file_name();
    let name = name.to_str().filter(|name| is_byte(name))?;
    u8::from_str_radix(name, 16).ok()
}

/// Deletes all that Garage laid into a data folder, which may be a disk of its own and so stays.
///
/// # Errors
/// What the system says.
pub(crate) fn erase(data_dir: &Path) -> io::Result<()> {
    for entry in entries(data_dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if byte_of(&entry).is_some() {
            fs::remove_dir_all(entry.path())?;
        } else if name.to_str() == Some(hayloft_garage::data_mark::MARK_FILE) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Lays an empty block there, and gives its name.
    pub(crate) fn lay(data_dir: &Path, digits: &str, suffix: &str, content: &[u8]) -> BlockName {
        let name = format!("{digits}{}", "0".repeat(64 - digits.len()));
        let dir = data_dir.join(&name[..2]).join(&name[2..4]);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(format!("{name}{suffix}")), content).unwrap();
        name.parse().unwrap()
    }

    #[test]
    fn names_are_told_in_order_and_in_portions() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path();
        let mut all = Vec::new();
        for digits in ["ab01", "abff77", "ab0102", "ab5511", "ab5512", "ab5513"] {
            all.push(lay(data, digits, "", b""));
        }
        lay(data, "ac00", "", b"");
        all.sort();
        assert_eq!(names(data, 0xab, None, 100).unwrap(), (all.clone(), false));
        let mut told = Vec::new();
        loop {
            let (portion, more) = names(data, 0xab, told.last().copied(), 2).unwrap();
            assert!(portion.len() <= 2);
            told.extend(portion);
            if !more {
                break;
            }
        }
        assert_eq!(told, all);
        assert_eq!(names(data, 0x11, None, 9).unwrap(), (vec![], false));
        assert_eq!(
            names(data, 0xab, all.last().copied(), 9).unwrap(),
            (vec![], false)
        );
    }

    #[test]
    fn only_blocks_count_and_each_once() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path();
        assert!(!any(&data.join("nowhere")).unwrap());
        fs::write(data.join("garage-marker"), "x").unwrap();
        lay(data, "ab01", ".corrupted", b"");
        lay(data, "ab02", ".zst.corrupted", b"");
        lay(data, "ab03", ".tmp1234", b"");
        assert!(!any(data).unwrap());
        let plain = lay(data, "ab04", "", b"");
        lay(data, "ab04", ".zst", b"");
        let packed = lay(data, "ab05", ".zst", b"");
        assert!(any(data).unwrap());
        assert_eq!(names(data, 0xab, None, 9).unwrap().0, [plain, packed]);
        fs::create_dir(data.join("lost+found")).unwrap();
        erase(data).unwrap();
        assert!(!any(data).unwrap());
        let left: Vec<_> = fs::read_dir(data)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["lost+found"], "what is not Garage's stays");
    }
}
