//! A file of the version before becomes one of this version, in place.

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::{IndexError, SCHEMA};

/// The version that can be migrated.
pub(crate) const BEFORE: i64 = SCHEMA - 1;

/// What changed since: two tables of digests in place of two indexes.
const STEPS: [&str; 3] = [
    "DROP INDEX frames_by_frame; DROP INDEX frames_by_piece;",
    include_str!("digests.sql"),
    FILL,
];
/// Fills the large table from the frames, in the order of digests.
pub(crate) const FILL: &str = "INSERT OR IGNORE INTO digests
    SELECT substr(frame, 1, 8) AS digest, pack, offset FROM frames
    UNION ALL SELECT substr(piece, 1, 8), pack, offset FROM frames
    ORDER BY digest, pack, offset;";
/// How often the log says that it goes on.
const TELL: Duration = Duration::from_secs(10);

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
    let bytes = tokio::fs::metadata(path).await.map_or(0, |file| file.len());
    tracing::info!(
        megabytes = bytes / 1_000_000,
        "the index is brought to this version; nothing is answered until then"
    );
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
    for (number, step) in (1..).zip(STEPS) {
        let work = sqlx::raw_sql(step).execute(&mut *tx);
        telling(number, begin, work).await.map_err(&failed)?;
    }
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

/// Says now and then, while `work` goes on, which step it is and how long all took so far.
async fn telling<T>(step: usize, begin: Instant, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        match tokio::time::timeout(TELL, &mut work).await {
            Ok(done) => return done,
            Err(_) => tracing::info!(
                step,
                of = STEPS.len(),
                seconds = begin.elapsed().as_secs(),
                "the index is still being brought to this version"
            ),
        }
    }
}
