//! Which version each Garage program is that this host ran or was to run: of one that runs still, and is no longer the one that is
//! installed, nobody else knows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::files;

/// More are not remembered.
const MOST: usize = 8;

/// Versions by program.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    known: BTreeMap<PathBuf, String>,
}

impl Versions {
    /// What the file says, with this program added.
    pub(crate) fn with(file: &Path, program: &Path, version: &str) -> Self {
        let kept = std::fs::read(file).ok();
        let kept = kept.and_then(|kept| serde_json::from_slice::<BTreeMap<PathBuf, String>>(&kept).ok());
        let before = kept.unwrap_or_default();
        let mut known = before.clone();
        known.insert(program.to_owned(), version.to_owned());
        while known.len() > MOST
            && let Some(gone) = known
                .keys()
                .find(|path| *path != program && !path.exists())
                .cloned()
        {
            known.remove(&gone);
        }
        if known != before {
            let text = serde_json::to_vec(&known).unwrap_or_default();
            if let Err(error) = files::replace(file, &text, 0o600) {
                tracing::warn!(%error, "the version of this Garage is not remembered");
            }
        }
        Self { known }
    }

    /// The version of a program, if it was ever known here.
    pub(crate) fn of(&self, program: &Path) -> Option<&str> {
        self.known.get(program).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_known_by_the_next_agent_too() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("versions.json");
        Versions::with(&file, Path::new("/old"), "2.5.0");
        let versions = Versions::with(&file, Path::new("/new"), "2.6.0");
        assert_eq!(versions.of(Path::new("/old")), Some("2.5.0"));
        assert_eq!(versions.of(Path::new("/new")), Some("2.6.0"));
        assert_eq!(versions.of(Path::new("/other")), None);
    }

    #[test]
    fn no_more_are_remembered_than_are_of_use() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("versions.json");
        for n in 0..20 {
            let versions = Versions::with(&file, &PathBuf::from(format!("/garage-{n}")), "2.5.0");
            assert!(versions.known.len() <= MOST);
        }
    }
}
