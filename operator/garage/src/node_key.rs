//! A Garage node's key, made before Garage first starts, so that its id is known and the private half stays.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use hayloft_api::NodeId;
use zeroize::Zeroizing;

/// Garage's name for the file of 64 bytes: the seed, then the public key.
const KEY_FILE: &str = "node_key";
/// Garage's name for the file of 32 bytes. The daemon reads only the other, the command line only this one.
const PUBLIC_FILE: &str = "node_key.pub";

/// An Ed25519 key pair in Garage's form.
pub struct NodeKey {
    bytes: Zeroizing<[u8; 64]>,
}

/// Why a node key could not be made, read or written.
#[derive(Debug, thiserror::Error)]
pub enum NodeKeyError {
    /// A file or folder could not be used.
    #[error("cannot use {path} for Garage's node key", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{path} holds no valid node key: 64 bytes, a seed and its public key; restore it from a backup, or move the \
             whole folder away to join as a new host", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The seed was refused.
    #[error("a node key cannot be made from this seed")]
    Seed,
}

impl NodeKey {
    /// Derives the pair from 32 random bytes.
    ///
    /// # Errors
    /// When the cryptography library refuses the seed.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, NodeKeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| NodeKeyError::Seed)?;
        let public: &[u8; 32] = pair
            .public_key()
            .as_ref()
            .try_into()
            .map_err(|_| NodeKeyError::Seed)?;
        let mut bytes = Zeroizing::new([0; 64]);
        bytes[..32].copy_from_slice(seed);
        bytes[32..].copy_from_slice(public);
        Ok(Self { bytes })
    }

    /// The node's id.
    pub fn id(&self) -> NodeId {
        let mut public = [0; 32];
        public.copy_from_slice(&self.bytes[32..]);
        NodeId::from_public_key(public)
    }

    /// Reads the key that lies in a metadata folder; `None` when there is none yet.
    ///
    /// # Errors
    /// When the file cannot be read, or does not hold a seed with its public key.
    pub fn read(metadata_dir: &Path) -> Result<Option<Self>, NodeKeyError> {
        let path = metadata_dir.join(KEY_FILE);
        let malformed = || NodeKeyError::Malformed { path: path.clone() };
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(NodeKeyError::Io { path, source }),
        };
        let mut bytes = Zeroizing::new([0; 65]);
        let mut length = 0;
        while length < bytes.len() {
            match file.read(&mut bytes[length..]) {
                Ok(0) => break,
                Ok(n) => length += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(NodeKeyError::Io { path, source }),
            }
        }
        if length != 64 {
            return Err(malformed());
        }
        let mut seed = Zeroizing::new([0; 32]);
        seed.copy_from_slice(&bytes[..32]);
        let key = Self::from_seed(&seed)?;
        if key.bytes[..] == bytes[..64] {
            Ok(Some(key))
        } else {
            Err(malformed())
        }
    }

    /// Reads the key that lies in a metadata folder, or writes one made from `seed` there, with mode 0600 and on
    /// disk when this returns. Also (re)writes the public half, which Garage's command line needs.
    ///
    /// # Errors
    /// When the folder cannot be written, or holds a key that is none.
    pub fn ensure(metadata_dir: &Path, seed: &[u8; 32]) -> Result<Self, NodeKeyError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| NodeKeyError::Io { path, source }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(metadata_dir)
            .map_err(io(metadata_dir))?;
        let key = match Self::read(metadata_dir)? {
            Some(key) => key,
            None => {
                let key = Self::from_seed(seed)?;
                let path = metadata_dir.join(KEY_FILE);
                write_private(&path, &key.bytes[..]).map_err(io(&path))?;
                key
            }
        };
        let path = metadata_dir.join(PUBLIC_FILE);
        let id = key.id();
        if std::fs::read(&path).ok().as_deref() != Some(id.public_key()) {
            write_private(&path, id.public_key()).map_err(io(&path))?;
        }
        Ok(key)
    }
}

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NodeKey({}, ..)", self.id().short())
    }
}

/// Writes under another name, flushes, then renames: a crash leaves the whole file or none.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_added_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_id_is_the_public_key_of_rfc_8032() {
        // RFC 8032 section 7.1, test 1.
        let mut seed = [0; 32];
        hex::decode_to_slice(
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            &mut seed,
        )
        .unwrap();
        let id = NodeKey::from_seed(&seed).unwrap().id();
        assert_eq!(
            id.to_string(),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
    }

    #[test]
    fn a_key_is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let meta = dir.path().join("meta");
        let first = NodeKey::ensure(&meta, &[7; 32]).unwrap();
        let second = NodeKey::ensure(&meta, &[8; 32]).unwrap();
        assert_eq!(first.id(), second.id());
        for (file, length) in [("node_key", 64), ("node_key.pub", 32)] {
            let data = std::fs::metadata(meta.join(file)).unwrap();
            assert_eq!(
                (data.len(), data.permissions().mode() & 0o777),
                (length, 0o600),
                "{file}"
            );
        }
        assert_eq!(
            std::fs::read(meta.join("node_key.pub")).unwrap(),
            first.id().public_key()
        );
    }

    #[test]
    fn a_broken_key_is_never_replaced_by_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        for bad in [&[0_u8; 10][..], &[0; 64], &[0; 65]] {
            std::fs::write(dir.path().join("node_key"), bad).unwrap();
            assert!(matches!(
                NodeKey::ensure(dir.path(), &[7; 32]),
                Err(NodeKeyError::Malformed { .. })
            ));
            assert_eq!(std::fs::read(dir.path().join("node_key")).unwrap(), bad);
        }
    }

    #[test]
    fn debug_output_shows_no_seed() {
        let shown = format!("{:?}", NodeKey::from_seed(&[0x41; 32]).unwrap());
        assert!(!shown.contains("4141") && !shown.contains("65, 65"), "{shown}");
    }
}
