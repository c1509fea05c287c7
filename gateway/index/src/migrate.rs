//! A file of the version before becomes one of this version, in place.

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::{IndexError, SCHEMA};

/// The version that can be migrated.
pub(crate) const BEFORE: i64 = SCHEMA - 1;

/// What changed since: the indexes over digests hold eight bytes of them.
const STEPS: &str = "
    DROP INDEX frames_by_frame;
    DROP INDEX frames_by_piece;
    CREATE INDEX frames_by_frame ON frames (substr(frame, 1, 8));
    CREATE INDEX frames_by_piece ON frames (substr(piece, 1, 8));
";

/// Whether [`crate::Index::open`] keeps what a file of this version holds: this one's and the one before's.
#[must_use]
pub const fn can_open(schema: i64) -> bool {
    schema == SCHEMA || schema == BEFORE
}

/// Makes the file at `path`, of the version before and open nowhere, one of this version: all or nothing, also when it is cut
/// off.
///
/// # Errors
/// When the file cannot be changed, for want of room for example.
pub(crate) async fn migrate(path: &Path) -> Result<(), IndexError> {
    let failed = IndexError::query("bring the index to this version");
    let begin = Instant::now();
    tracing::info!("the index is brought to this version");
    let mut db = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(Duration::from_secs(10))
        // What is new goes to the file once, and not to a write-ahead log of its size before.
        .journal_mode(SqliteJournalMode::Delete)
        .synchronous(SqliteSynchronous::Full)
        .pragma("cache_size", "-65536")
        .connect()
        .await
        .map_err(&failed)?;
    let mut tx = db.begin().await.map_err(&failed)?;
    sqlx::raw_sql(STEPS).execute(&mut *tx).await.map_err(&failed)?;
    sqlx::query("UPDATE meta SET value = ? WHERE key = 'schema'")
        .bind(SCHEMA.to_le_bytes().to_vec())
        .execute(&mut *tx)
        .await
        .map_err(&failed)?;
    tx.commit().await.map_err(&failed)?;
    db.close().await.map_err(&failed)?;
    tracing::info!(
        took_ms = begin.elapsed().as_millis(),
        "the index is of this version now"
    );
    Ok(())
}
