//! The Garage node that a host is: its key, the layout it follows, whether its metadata went back in time, and how it
//! ceases to be that node.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hayloft_api::NodeId;
use hayloft_api::agent::RolledBack;
use hayloft_api::question::LayoutDigest;
use hayloft_garage::layout_file::{self, LAYOUT_FILE};
use hayloft_garage::{NodeKey, NodeKeyError};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::blocks;
use crate::files::{self, WriteError};
use crate::launch::Places;

/// Node keys of this host, kept beside the metadata folder: who loses that, and has a snapshot of it elsewhere, can be
/// the same node again.
const KEYS: &str = "node-keys";
const NODE_KEY_FILE: &str = "node_key";

/// Where the key of a node is kept beside its metadata.
pub(crate) fn kept_key(places: &Places, node: NodeId) -> PathBuf {
    places.dir.join(KEYS).join(node.to_string())
}

/// Reads the node key, or makes one, and keeps a copy beside it.
pub(crate) fn ensure(places: &Places, seed: &[u8; 32]) -> Result<NodeId, NodeKeyError> {
    let metadata_dir = places.metadata_dir();
    let id = NodeKey::ensure(&metadata_dir, seed)?.id();
    let key = Zeroizing::new(fs::read(metadata_dir.join(NODE_KEY_FILE)).unwrap_or_default());
    let kept = files::private_dir(&places.dir.join(KEYS))
        .and_then(|()| files::replace(&kept_key(places, id), &key, 0o600));
    if let Err(error) = kept {
        // Only what a later restore needs is missing.
        tracing::warn!(%error, "the node key could not be kept beside the metadata");
    }
    Ok(id)
}

/// The seed of the node key that comes after `former`.
pub(crate) fn next_seed(seed: &[u8; 32], former: NodeId) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("hayloft node key after another one 1");
    hasher.update(seed);
    hasher.update(former.public_key());
    *hasher.finalize().as_bytes()
}

/// Why a node is not forgotten.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForgetError {
    #[error("the blocks are not deleted: some lie under {} still", path.display())]
    NotEmpty { path: PathBuf },
    #[error("cannot remove {}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Deletes a node's metadata, key and snapshots, and, when asked to, what is left in its data folder. Garage must not run.
/// After a crash in the middle, it is done again by [`clean_up`] and by whoever asked.
pub(crate) fn forget(places: &Places, node: NodeId, erase_blocks: bool) -> Result<(), ForgetError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| ForgetError::Io { path, source }
    };
    let data_dir = places.data_dir();
    if erase_blocks && blocks::any(&data_dir).map_err(io(&data_dir))? {
        return Err(ForgetError::NotEmpty { path: data_dir });
    }
    let key = kept_key(places, node);
    remove_file(&key).map_err(io(&key))?;
    let seen = seen_file(places);
    remove_file(&seen).map_err(io(&seen))?;
    // Renamed first: from here on it is not this node's any more, whatever happens.
    for folder in [places.metadata_dir(), places.snapshots_dir()] {
        let aside = aside(&folder);
        remove_all(&aside).map_err(io(&aside))?;
        match fs::rename(&folder, &aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(&folder)(error)),
            _ => remove_all(&aside).map_err(io(&aside))?,
        }
    }
    if erase_blocks {
        blocks::erase(&data_dir).map_err(io(&data_dir))?;
    }
    Ok(())
}

/// Ends what a crash interrupted.
pub(crate) fn clean_up(places: &Places) {
    for folder in [places.metadata_dir(), places.snapshots_dir()] {
        if let Err(error) = remove_all(&aside(&folder)) {
            tracing::warn!(folder = %folder.display(), %error, "what is left of a former node cannot be removed");
        }
    }
}

fn aside(folder: &Path) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(".forgotten");
    name.into()
}

fn remove_all(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What was seen of a node's layout, on disk beside its metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Seen {
    node: NodeId,
    version: u64,
    rolled_back: Option<RolledBack>,
}

fn seen_file(places: &Places) -> PathBuf {
    places.dir.join("layout-seen.json")
}

/// The layout that the member follows, read anew only when its file has changed.
#[derive(Debug)]
pub(crate) struct Followed {
    places: Places,
    stamp: Option<Stamp>,
    digest: Option<LayoutDigest>,
    seen: Option<Seen>,
}

/// When a file is another one than before: Garage rewrites it in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    changed: (i64, i64),
}

impl Followed {
    /// Looks at what lies there before Garage starts, while metadata that was put back still shows.
    pub(crate) fn at_start(places: &Places, node: NodeId) -> Self {
        let seen: Option<Seen> = fs::read(seen_file(places))
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .filter(|seen: &Seen| seen.node == node);
        let mut followed = Self {
            places: places.clone(),
            stamp: None,
            digest: None,
            seen,
        };
        followed.read();
        let found = followed.digest.map_or(0, |digest| digest.version);
        let had = followed.seen.as_ref().map_or(0, |seen| seen.version);
        // Without any layout it is lost, not old; Garage gets it from the other members.
        if (1..had).contains(&found) {
            tracing::error!(found, had, "the metadata is older than it was");
            followed.note(Seen {
                node,
                version: had,
                rolled_back: Some(RolledBack { had, found }),
            });
        }
        followed
    }

    /// The layout as it is now; the last one that could be read while Garage writes it.
    pub(crate) fn look(&mut self, node: NodeId) -> Option<LayoutDigest> {
        self.read();
        if let Some(LayoutDigest { version, .. }) = self.digest
            && self.seen.as_ref().is_none_or(|seen| seen.version < version)
        {
            self.note(Seen {
                node,
                version,
                rolled_back: self.rolled_back(),
            });
        }
        self.digest
    }

    pub(crate) fn rolled_back(&self) -> Option<RolledBack> {
        self.seen.as_ref()?.rolled_back
    }

    fn read(&mut self) {
        let metadata_dir = self.places.metadata_dir();
        let stamp = fs::metadata(metadata_dir.join(LAYOUT_FILE))
            .ok()
            .map(|file| Stamp {
                inode: file.ino(),
                length: file.len(),
                changed: (file.mtime(), file.mtime_nsec()),
            });
        if stamp == self.stamp {
            return;
        }
        if let Ok(facts) = layout_file::read(&metadata_dir, false) {
            self.digest = facts.and_then(|facts| facts.digest());
            self.stamp = stamp;
        }
    }

    fn note(&mut self, seen: Seen) {
        let text = serde_json::to_vec(&seen).unwrap_or_default();
        if let Err(error) = files::replace(&seen_file(&self.places), &text, 0o600) {
            let _: &WriteError = &error;
            tracing::warn!(%error, "the layout's version could not be noted");
        }
        self.seen = Some(seen);
    }
}

/// What was seen of the layout before does not count any more.
pub(crate) fn accept_age(places: &Places) {
    let path = seen_file(places);
    if let Err(error) = remove_file(&path) {
        tracing::warn!(%error, "the note of the layout's version cannot be removed");
    }
}
