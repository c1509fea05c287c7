//! Who wrote the document that is followed. What a person wrote is not edited by commands.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

use crate::up::Folder;

/// Who wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Source {
    /// Hayloft itself, when the folder was new. Commands may edit it.
    BuiltIn,
    /// A person, with `--spec` or `apply`. It wins over commands.
    Person,
}

/// The note of it cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot note who wrote the document")]
pub(crate) struct NoteError(#[source] hayloft_agent::files::WriteError);

impl Source {
    const BUILT_IN: &'static str = "built-in\n";
    const PERSON: &'static str = "person\n";

    /// What the folder notes. Without a note it is a person's: then nothing is edited that somebody else keeps.
    ///
    /// # Errors
    /// When the note is there and cannot be read.
    pub(crate) fn of(folder: &Folder) -> io::Result<Self> {
        match fs::read_to_string(folder.source()) {
            Ok(text) if text == Self::BUILT_IN => Ok(Self::BuiltIn),
            Ok(_) => Ok(Self::Person),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::Person),
            Err(error) => Err(error),
        }
    }

    /// Notes it. Written before the document itself is kept: an interruption between the two may at worst protect a
    /// document that needs no protection.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn note(self, folder: &Folder) -> Result<(), NoteError> {
        let text = match self {
            Self::BuiltIn => Self::BUILT_IN,
            Self::Person => Self::PERSON,
        };
        hayloft_agent::files::replace(&folder.source(), text.as_bytes(), 0o600)
            .map(drop)
            .map_err(NoteError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_a_persons() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::at(temp.path().to_owned());
        assert_eq!(Source::of(&folder).unwrap(), Source::Person);
        Source::BuiltIn.note(&folder).unwrap();
        assert_eq!(Source::of(&folder).unwrap(), Source::BuiltIn);
        Source::Person.note(&folder).unwrap();
        assert_eq!(Source::of(&folder).unwrap(), Source::Person);
        fs::write(folder.source(), "garbage").unwrap();
        assert_eq!(Source::of(&folder).unwrap(), Source::Person);
    }
}
