//! The mark by which Garage knows its data folder again: `garage-marker` in it, and `data_layout` in the metadata folder.
//! When they differ Garage does not start, so that an unmounted disk is not taken for an empty one.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::msgpack::{self, FileError};

/// The mark's name in the data folder.
pub const MARK_FILE: &str = "garage-marker";
const DATA_LAYOUT_FILE: &str = "data_layout";
const FORMAT: &[u8] = b"G09bmdl";
/// One folder's is some 10 KB.
const LONGEST: u64 = 4 << 20;

#[derive(Deserialize)]
struct DataLayout {
    markers: BTreeMap<PathBuf, String>,
}

/// What a member's metadata knows of a data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Nothing of any: Garage never ran with this metadata. It takes the folder as it is.
    Nothing,
    /// Only others, elsewhere: the host's folder was moved. Garage takes this one as it is.
    Elsewhere,
    /// That it bears this mark.
    Mark(String),
}

/// What a member's metadata knows of a data folder.
///
/// # Errors
/// When the file cannot be read or understood.
pub fn expected(metadata_dir: &Path, data_dir: &Path) -> Result<Expected, FileError> {
    let path = metadata_dir.join(DATA_LAYOUT_FILE);
    let layout: Option<DataLayout> = msgpack::read(&path, FORMAT, LONGEST)?;
    Ok(match layout {
        None => Expected::Nothing,
        Some(mut layout) => layout
            .markers
            .remove(data_dir)
            .map_or(Expected::Elsewhere, Expected::Mark),
    })
}

/// The mark that a data folder bears.
///
/// # Errors
/// What the system says, other than that there is none.
pub fn found(data_dir: &Path) -> io::Result<Option<String>> {
    match std::fs::read_to_string(data_dir.join(MARK_FILE)) {
        Ok(mark) => Ok(Some(mark)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}
