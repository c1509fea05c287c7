//! How the index can fail.

use std::path::PathBuf;

/// Why the index did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The file cannot be opened or made.
    #[error("{} cannot be opened as an index", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What `SQLite` said.
        #[source]
        source: sqlx::Error,
    },
    /// The file cannot be removed to be made again.
    #[error("{} cannot be removed to be made again", path.display())]
    Remove {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A statement failed.
    #[error("the index failed ({what})")]
    Query {
        /// What it was for.
        what: &'static str,
        /// What `SQLite` said.
        #[source]
        source: sqlx::Error,
    },
    /// A row holds what was never put there: the file is damaged.
    #[error(
        "the index holds a {what} that makes no sense: delete the file, it is made again from the bucket"
    )]
    Corrupt {
        /// What was read.
        what: &'static str,
    },
    /// A record cannot be applied.
    #[error("a record cannot be applied ({what})")]
    Record {
        /// What is wrong with it.
        what: &'static str,
    },
}

impl IndexError {
    pub(crate) const fn query(what: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |source| Self::Query { what, source }
    }
}
