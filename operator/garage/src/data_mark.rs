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

/// The mark that a member's metadata has for a data folder. `None`: it knows no such folder, and will take it as it is.
///
/// # Errors
/// When the file cannot be read or understood.
pub fn expected(metadata_dir: &Path, data_dir: &Path) -> Result<Option<String>, FileError> {
    let path = metadata_dir.join(DATA_LAYOUT_FILE);
    let layout: Option<DataLayout> = msgpack::read(&path, FORMAT, LONGEST)?;
    Ok(layout.and_then(|mut layout| layout.markers.remove(data_dir)))
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
