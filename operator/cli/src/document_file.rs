//! Reading a document that a person wrote.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use hayloft_api::{Document, DocumentError};

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// It is not a sound document.
    #[error("{} is not a sound document", path.display())]
    Unsound {
        path: PathBuf,
        #[source]
        source: DocumentError,
    },
}

/// Reads and checks the document in `path`; `-` is standard input.
pub(crate) fn read(path: &Path) -> Result<Document, ReadError> {
    let fail = |source| ReadError::Read {
        path: path.to_owned(),
        source,
    };
    let text = if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map_err(fail)?;
        text
    } else {
        fs::read_to_string(path).map_err(fail)?
    };
    Document::from_yaml(&text).map_err(|source| ReadError::Unsound {
        path: path.to_owned(),
        source,
    })
}
