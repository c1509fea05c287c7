//! Blocks, as they lie on a host's disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Names of blocks: 64 hex digits.
pub type Names = BTreeSet<String>;

/// The blocks on one disk: name and size in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blocks(pub BTreeMap<String, u64>);

impl Blocks {
    /// Looks at `data_dir/xx/yy/<name>`; what vanishes meanwhile is not there.
    #[must_use]
    pub fn under(data_dir: &Path) -> Self {
        let mut blocks = BTreeMap::new();
        let inside = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten();
        for first in inside(data_dir) {
            for second in inside(&first.path()) {
                for file in inside(&second.path()) {
                    let Ok(name) = file.file_name().into_string() else {
                        continue;
                    };
                    let name = name.strip_suffix(".zst").unwrap_or(&name);
                    if name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit()) {
                        let size = file.metadata().map_or(0, |metadata| metadata.len());
                        blocks.insert(name.to_owned(), size);
                    }
                }
            }
        }
        Self(blocks)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Their names.
    #[must_use]
    pub fn names(&self) -> Names {
        self.0.keys().cloned().collect()
    }
}

/// The partition that a block belongs to: its first byte.
#[must_use]
pub fn partition(name: &str) -> Option<u8> {
    u8::from_str_radix(name.get(..2)?, 16).ok()
}
