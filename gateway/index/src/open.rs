//! Opening the file, and making it anew.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hayloft_store::key::Position;
use sqlx::Connection as _;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use crate::IndexError;
use crate::arrivals::Arrivals;
use crate::digests::Large;
use crate::hot::Hot;
use crate::migrate;

/// Changed with every change of the tables: a file of the version before is migrated, one of any other is made again from
/// the bucket.
pub const SCHEMA: i64 = 4;
const READERS: u32 = 6;
/// Memory for the pages that are written, in KiB, negative as `SQLite` wants it.
const WRITER_CACHE: &str = "-32768";
/// Pages of 4 KiB that gather in the write-ahead log until they are copied to the file and both are synced.
const WAL_PAGES: &str = "16384";

/// The index. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Index {
    pub(crate) writer: SqlitePool,
    pub(crate) readers: SqlitePool,
    pub(crate) path: PathBuf,
    pub(crate) arrivals: Arc<Arrivals>,
    pub(crate) hot: Arc<Hot>,
    pub(crate) large: Arc<Large>,
}

impl Index {
    /// Opens the index at `path`; one of the version before is migrated in place; a missing file, a damaged one or one of
    /// any other version begins empty.
    ///
    /// # Errors
    /// When the file can be neither used nor made.
    pub async fn open(path: &Path) -> Result<Self, IndexError> {
        match Self::connect(path).await {
            Ok(Some(index)) => Ok(index),
            Ok(None) => Self::create(path).await,
            Err(error) => {
                tracing::warn!(error = %error, "the index cannot be used and is made again from the bucket");
                Self::create(path).await
            }
        }
    }

    /// Removes what is there and begins empty.
    ///
    /// # Errors
    /// When the file can be neither removed nor made.
    pub async fn create(path: &Path) -> Result<Self, IndexError> {
        for suffix in ["", "-wal", "-shm"] {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            match tokio::fs::remove_file(&name).await {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(IndexError::Remove {
                        path: name.into(),
                        source,
                    });
                }
            }
        }
        let failed = |source| IndexError::Open {
            path: path.to_owned(),
            source,
        };
        // SQLite gives the files beside it the same mode.
        tokio::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .await
            .map_err(|error| failed(sqlx::Error::Io(error)))?;
        let index = Self::pools(path).await.map_err(failed)?;
        let mut tx = index.writer.begin().await.map_err(failed)?;
        for sql in [
            include_str!("schema.sql"),
            include_str!("digests.sql"),
            include_str!("collect.sql"),
        ] {
            sqlx::raw_sql(sql).execute(&mut *tx).await.map_err(failed)?;
        }
        sqlx::query("INSERT INTO meta VALUES ('schema', ?)")
            .bind(SCHEMA.to_le_bytes().to_vec())
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
        tx.commit().await.map_err(failed)?;
        Ok(index)
    }

    /// Makes this index empty: a new file in the old one's place.
    ///
    /// # Errors
    /// When the file can be neither removed nor made.
    pub async fn reset(self) -> Result<Self, IndexError> {
        self.close().await;
        Self::create(&self.path).await
    }

    /// Closes the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// How far the log has been applied; none: nothing of it.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn position(&self) -> Result<Option<Position>, IndexError> {
        let row: Option<(Vec<u8>,)> = sqlx::query_as("SELECT value FROM meta WHERE key = 'position'")
            .fetch_optional(&self.readers)
            .await
            .map_err(IndexError::query("position"))?;
        row.map(|(bytes,)| postcard::from_bytes(&bytes).map_err(|_| IndexError::Corrupt { what: "position" }))
            .transpose()
    }

    async fn connect(path: &Path) -> Result<Option<Self>, IndexError> {
        if !tokio::fs::try_exists(path).await.unwrap_or(false) {
            return Ok(None);
        }
        let failed = |source| IndexError::Open {
            path: path.to_owned(),
            source,
        };
        // Earlier versions made it readable to all.
        let _ = tokio::fs::set_permissions(path, Permissions::from_mode(0o600)).await;
        let index = Self::pools(path).await.map_err(failed)?;
        let row: Result<Option<(Vec<u8>,)>, _> =
            sqlx::query_as("SELECT value FROM meta WHERE key = 'schema'")
                .fetch_optional(&index.readers)
                .await;
        match row {
            Ok(Some((schema,))) if schema == SCHEMA.to_le_bytes() => Ok(Some(index)),
            Ok(Some((schema,))) if schema == migrate::BEFORE.to_le_bytes() => {
                index.close().await;
                migrate::migrate(path).await?;
                Self::pools(path).await.map(Some).map_err(failed)
            }
            Ok(_) => {
                tracing::info!("the index was made by another version and is made again from the bucket");
                index.close().await;
                Ok(None)
            }
            Err(error) => {
                index.close().await;
                Err(failed(error))
            }
        }
    }

    async fn pools(path: &Path) -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            // The bucket is the truth: what a power loss takes from the file is applied again.
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(Duration::from_secs(10))
            .pragma("cache_size", "-8192");
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            // A transaction that failed for want of room may be half over: sqlx would count what follows as a part of it, and
            // never commit again. Such a connection is not used any more.
            .before_acquire(|connection, _| {
                let clean = !connection.is_in_transaction();
                Box::pin(async move { Ok(clean) })
            })
            .connect_with(
                options
                    .clone()
                    .pragma("cache_size", WRITER_CACHE)
                    .pragma("wal_autocheckpoint", WAL_PAGES),
            )
            .await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(Duration::from_secs(20))
            .connect_with(options.pragma("query_only", "on"))
            .await?;
        Ok(Self {
            writer,
            readers,
            path: path.to_owned(),
            arrivals: Arc::default(),
            hot: Arc::default(),
            large: Arc::default(),
        })
    }
}
