//! The whole index as one file: made for a checkpoint, and put in place from one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hayloft_store::key::Position;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::{Index, IndexError};

/// What a gateway notes for itself alone, and must not take from another.
const OWN_NOTES: &str = "DELETE FROM due; DELETE FROM strangers; DELETE FROM notes;";

impl Index {
    /// Writes the index as it is now to a new file at `to`, for its owner only; others read and write on meanwhile. Gives
    /// the position that the file is at; none: it is empty.
    ///
    /// # Errors
    /// When the index fails, or the file cannot be written.
    pub async fn snapshot(&self, to: &Path) -> Result<Option<Position>, IndexError> {
        let failed = IndexError::query("write a snapshot");
        create(to).await?;
        let mut db = connect(&self.path, false).await.map_err(&failed)?;
        // One reading transaction: all of it is of one moment.
        sqlx::query("VACUUM INTO ?")
            .bind(to.to_string_lossy().into_owned())
            .execute(&mut db)
            .await
            .map_err(&failed)?;
        db.close().await.map_err(&failed)?;
        let mut db = connect(to, true).await.map_err(&failed)?;
        sqlx::raw_sql(OWN_NOTES).execute(&mut db).await.map_err(&failed)?;
        let position = position(&mut db).await?;
        db.close().await.map_err(&failed)?;
        Ok(position)
    }

    /// Puts a file that [`Index::snapshot`] wrote in the place of the index at `path`, which must not be open.
    ///
    /// # Errors
    /// When the files cannot be moved.
    pub async fn adopt(file: &Path, path: &Path) -> Result<(), IndexError> {
        remove(path).await?;
        tokio::fs::rename(file, path)
            .await
            .map_err(|error| IndexError::Open {
                path: path.to_owned(),
                source: sqlx::Error::Io(error),
            })
    }
}

/// Removes a file of an index, and those that `SQLite` lays beside it.
pub(crate) async fn remove(path: &Path) -> Result<(), IndexError> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match tokio::fs::remove_file(&name).await {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => {
                return Err(IndexError::Remove {
                    path: PathBuf::from(name),
                    source,
                });
            }
        }
    }
    Ok(())
}

async fn create(path: &Path) -> Result<(), IndexError> {
    remove(path).await?;
    tokio::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .await
        .map(|_| ())
        .map_err(|error| IndexError::Open {
            path: path.to_owned(),
            source: sqlx::Error::Io(error),
        })
}

/// A connection of its own; a snapshot that is `fresh` needs no protection from a power cut.
async fn connect(path: &Path, fresh: bool) -> Result<SqliteConnection, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(Duration::from_secs(10))
        .synchronous(SqliteSynchronous::Off)
        .pragma("cache_size", "-16384");
    let options = if fresh {
        options.journal_mode(SqliteJournalMode::Delete)
    } else {
        options
    };
    options.connect().await
}

async fn position(db: &mut SqliteConnection) -> Result<Option<Position>, IndexError> {
    let row: Option<(Vec<u8>,)> = sqlx::query_as("SELECT value FROM meta WHERE key = 'position'")
        .fetch_optional(db)
        .await
        .map_err(IndexError::query("position"))?;
    row.map(|(bytes,)| postcard::from_bytes(&bytes).map_err(|_| IndexError::Corrupt { what: "position" }))
        .transpose()
}
