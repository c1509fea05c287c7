//! Snapshots of metadata: this host's own, those that it keeps for others, and how a lost database is put back.

mod kept;
mod own;
mod restore;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path};

use hayloft_api::question::{Digest, LARGEST_PART, Refusal};

pub(crate) use kept::Kept;
pub(crate) use own::Own;
pub use restore::{RestoreError, Restored, restore_metadata};

/// Whether a text that came from elsewhere is the name of a file and nothing else.
fn is_plain_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!(components.next(), Some(Component::Normal(only)) if only == name)
        && components.next().is_none()
        && name.len() <= 200
        && !name.starts_with('.')
}

fn plain(name: &str) -> Result<&str, Refusal> {
    if is_plain_name(name) {
        Ok(name)
    } else {
        Err(Refusal::Senseless {
            why: "a file's name is needed".to_owned(),
        })
    }
}

/// Bytes of a file, and whether it ends with them.
fn part(path: &Path, offset: u64, limit: u32) -> io::Result<(Vec<u8>, bool)> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(offset))?;
    let limit = u64::from(limit.min(LARGEST_PART));
    let mut data = Vec::new();
    file.take(limit).read_to_end(&mut data)?;
    let end = offset.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
    Ok((data, end >= length))
}

/// The BLAKE3 hash of a file.
fn digest(path: &Path) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(Digest::new(*hasher.finalize().as_bytes()))
}

fn failed(what: &str, error: &io::Error) -> Refusal {
    if error.kind() == io::ErrorKind::NotFound {
        return Refusal::Gone {
            what: what.to_owned(),
        };
    }
    Refusal::Failed {
        why: format!("{what}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_from_elsewhere_leads_nowhere_else() {
        for good in ["db.lmdb", "cluster_layout", "2026-01-01T00:00:00Z"] {
            assert!(is_plain_name(good), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "/a", "../a", "a/", ".part", "./a"] {
            assert!(!is_plain_name(bad), "{bad}");
        }
    }
}
