//! Garage's form of small files: a mark of the format, then MessagePack with named fields.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use hayloft_api::NodeId;
use serde::de::{DeserializeOwned, Error as _, Visitor};
use serde::{Deserialize, Deserializer};

/// Why such a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system does not let it be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// It is longer than any such file.
    #[error("{} is longer than {limit} bytes: it is not Garage's", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The most that is read.
        limit: u64,
    },
    /// It is of another release of Garage, or not Garage's.
    #[error("{} is not in the form of Garage 2.x", path.display())]
    OtherFormat {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be understood. Garage writes it in place, so this may be so for a moment.
    #[error("{} cannot be understood", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: rmp_serde::decode::Error,
    },
    /// It contradicts itself.
    #[error("{} contradicts itself: {why}", path.display())]
    Senseless {
        /// The file.
        path: PathBuf,
        /// In what.
        why: String,
    },
}

/// Reads such a file; `None` when there is none. Fields that are not asked for are left out.
pub(crate) fn read<T: DeserializeOwned>(
    path: &Path,
    mark: &[u8],
    limit: u64,
) -> Result<Option<T>, FileError> {
    let fail = |source| FileError::Read {
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(fail(source)),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(fail)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > limit) {
        let path = path.to_owned();
        return Err(FileError::TooLong { path, limit });
    }
    let Some(body) = bytes.strip_prefix(mark) else {
        return Err(FileError::OtherFormat {
            path: path.to_owned(),
        });
    };
    rmp_serde::from_slice(body)
        .map(Some)
        .map_err(|source| FileError::Damaged {
            path: path.to_owned(),
            source,
        })
}

/// A node id as 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RawId(pub(crate) NodeId);

impl<'de> Deserialize<'de> for RawId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(Bytes).and_then(|bytes| {
            let key = <[u8; 32]>::try_from(bytes.as_slice());
            key.map(|key| Self(NodeId::from_public_key(key)))
                .map_err(|_| D::Error::custom("an id is not 32 bytes"))
        })
    }
}

/// Bytes as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawBytes(pub(crate) Vec<u8>);

impl<'de> Deserialize<'de> for RawBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(Bytes).map(Self)
    }
}

struct Bytes;

impl Visitor<'_> for Bytes {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }
}
