//! Fills an index with made-up paths and frames, to see how one of millions behaves. The gateway never does this.

use std::path::Path;

use hayloft_nixcache::{CacheName, StorePathHash};
use hayloft_store::log::record::{CacheRecord, Record};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use crate::IndexError;
use crate::migrate::{BEFORE, FILL};

/// Frames of a pack.
const PACK: u64 = 600;
/// Rows that one statement makes.
const STEP: u64 = 1_000_000;

/// The record of a public cache.
#[must_use]
pub fn cache(name: CacheName) -> Record {
    Record::CacheCreated(CacheRecord {
        name,
        sealed_key: vec![1],
        is_public: true,
        store_dir: "/nix/store".to_owned(),
        priority: 40,
        upstream_keys: vec![],
        retention: None,
        created_at: 5,
    })
}

/// All rows of all tables of the index at `path`, as SQL literals, in order: whether two indexes are the same.
///
/// # Errors
/// When the index cannot be read.
pub async fn rows(path: &Path) -> Result<Vec<String>, IndexError> {
    let failed = IndexError::query("read all rows");
    let options = SqliteConnectOptions::new().filename(path);
    let mut db: SqliteConnection = options.connect().await.map_err(&failed)?;
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
            .fetch_all(&mut db)
            .await
            .map_err(&failed)?;
    let mut rows = Vec::new();
    for table in tables {
        let columns: String = sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT group_concat('quote(\"' || name || '\")', ' || '','' || ') FROM pragma_table_info('{table}')"
        )))
        .fetch_one(&mut db)
        .await.map_err(&failed)?;
        let query = AssertSqlSafe(format!("SELECT {columns} AS row FROM \"{table}\" ORDER BY row"));
        let of_table: Vec<String> = sqlx::query_scalar(query)
            .fetch_all(&mut db)
            .await
            .map_err(&failed)?;
        // When digests are merged is each gateway's own business.
        let table = if table == "young" { "digests" } else { &table };
        rows.extend(of_table.into_iter().map(|row| format!("{table}: {row}")));
    }
    rows.sort_unstable();
    Ok(rows)
}

/// Adds so many paths to the first cache, and so many frames, to the index at `path`, which nobody has open. `tell` hears
/// how far it has come. Gives the hashes of some of the paths.
///
/// # Errors
/// When the index fails.
pub async fn fill(
    path: &Path,
    paths: u64,
    frames: u64,
    tell: impl Fn(&str),
) -> Result<Vec<StorePathHash>, IndexError> {
    let failed = IndexError::query("fill");
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Off)
        .synchronous(SqliteSynchronous::Off)
        .pragma("cache_size", "-1000000")
        .pragma("temp_store", "FILE");
    let mut db = options.connect().await.map_err(&failed)?;
    // Indexes are made at the end, from sorted rows.
    let indexes: Vec<(String, String)> =
        sqlx::query_as("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
            .fetch_all(&mut db)
            .await
            .map_err(&failed)?;
    for (name, _) in &indexes {
        run(&mut db, format!("DROP INDEX {name}")).await?;
    }
    // What a row each of them would do is done at once.
    let triggers: Vec<(String, String)> =
        sqlx::query_as("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
            .fetch_all(&mut db)
            .await
            .map_err(&failed)?;
    for (name, _) in &triggers {
        run(&mut db, format!("DROP TRIGGER {name}")).await?;
    }
    let packs = frames.div_ceil(PACK);
    tell("packs");
    run(
        &mut db,
        format!(
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n LIMIT {packs})
             INSERT INTO packs (id, name, digest, size)
             SELECT 1000000 + i, randomblob(16), randomblob(32), 16000000 FROM n"
        ),
    )
    .await?;
    for begin in (0..frames).step_by(usize::try_from(STEP).unwrap_or(usize::MAX)) {
        tell(&format!("frames: {begin} of {frames}"));
        let count = STEP.min(frames - begin);
        run(
            &mut db,
            format!(
                "WITH RECURSIVE n(i) AS (SELECT {begin} UNION ALL SELECT i + 1 FROM n LIMIT {count})
                 INSERT INTO frames (pack, offset, frame, piece, stored, raw)
                 SELECT 1000000 + i / {PACK}, 12 + (i % {PACK}) * 24000, randomblob(32), randomblob(32), 24000, 65000 FROM n"
            ),
        )
        .await?;
    }
    for begin in (0..paths).step_by(usize::try_from(STEP).unwrap_or(usize::MAX)) {
        tell(&format!("paths: {begin} of {paths}"));
        let count = STEP.min(paths - begin);
        // Hex digits that are none of Nix's are replaced.
        let rows = format!(
            "WITH RECURSIVE n(i) AS (SELECT {begin} UNION ALL SELECT i + 1 FROM n LIMIT {count}),
             h(i, hash) AS (SELECT i, replace(lower(hex(randomblob(16))), 'e', 'g') FROM n)"
        );
        run(
            &mut db,
            format!(
                "{rows} INSERT INTO paths (id, cache, hash, path, nar_hash, nar_size, refs, deriver, sigs, created_at, file_size, etag)
                 SELECT 1000000 + i, (SELECT min(id) FROM caches), hash, '/nix/store/' || hash || '-made-up-' || i, randomblob(32), 650000,
                     '[\"' || hash || '-one-1.0\",\"' || hash || '-two-2.0\",\"' || hash || '-three-3.0\",\"' || hash || '-four-4.0\"]',
                     hash || '-made-up.drv', '[]', 1700000000000, 240000, randomblob(32) FROM h"
            ),
        )
        .await?;
        let per_path = frames.checked_div(paths).unwrap_or(0).clamp(1, 1000);
        run(
            &mut db,
            format!(
                "WITH RECURSIVE n(i) AS (SELECT {begin} UNION ALL SELECT i + 1 FROM n LIMIT {count})
                 INSERT INTO manifests SELECT 1000000 + i, randomblob({per_path} * 40) FROM n"
            ),
        )
        .await?;
        run(
            &mut db,
            format!(
                "WITH RECURSIVE n(i) AS (SELECT {begin} UNION ALL SELECT i + 1 FROM n LIMIT {count})
                 INSERT INTO path_packs SELECT 1000000 + i * {per_path} / {PACK}, 1000000 + i FROM n"
            ),
        )
        .await?;
    }
    for (name, sql) in indexes {
        tell(&format!("index {name}"));
        run(&mut db, sql).await?;
    }
    tell("digests");
    run(&mut db, format!("DELETE FROM young; DELETE FROM digests; {FILL}")).await?;
    for (_, sql) in triggers {
        run(&mut db, sql).await?;
    }
    let sample: Vec<(String,)> = sqlx::query_as(
        "SELECT hash FROM paths WHERE id >= 1000000 AND id % (1 + (SELECT count(*) FROM packs) / 100) = 0 LIMIT 20000",
    )
    .fetch_all(&mut db)
    .await
    .map_err(&failed)?;
    db.close().await.map_err(&failed)?;
    sample
        .iter()
        .map(|(hash,)| {
            hash.parse().map_err(|_| IndexError::Corrupt {
                what: "store path hash",
            })
        })
        .collect()
}

/// Lets all paths that [`fill`] made but the first `old` be pushed at `now`, in milliseconds since 1970, in the index at
/// `path`, which nobody has open.
///
/// # Errors
/// When the index fails.
pub async fn push_again(path: &Path, old: u64, now: i64) -> Result<(), IndexError> {
    let failed = IndexError::query("push again");
    let options = SqliteConnectOptions::new().filename(path);
    let mut db = options.connect().await.map_err(&failed)?;
    let renew = format!("UPDATE paths SET created_at = {now} WHERE id >= 1000000 + {old}");
    run(&mut db, renew).await?;
    db.close().await.map_err(failed)
}

/// What the version before had in place of tables of digests.
pub(crate) const UNDO: &str = "DROP TRIGGER frames_come;
    DROP TRIGGER frames_go;
    DROP TABLE digests;
    DROP TABLE young;
    CREATE INDEX frames_by_frame ON frames (substr(frame, 1, 8));
    CREATE INDEX frames_by_piece ON frames (substr(piece, 1, 8));";

/// Makes the index at `path`, which nobody has open, one of the version before.
///
/// # Errors
/// When the index fails.
pub async fn make_old(path: &Path) -> Result<(), IndexError> {
    let failed = IndexError::query("make old");
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Delete);
    let mut db = options.connect().await.map_err(&failed)?;
    run(&mut db, UNDO.to_owned()).await?;
    sqlx::query("UPDATE meta SET value = ? WHERE key = 'schema'")
        .bind(BEFORE.to_le_bytes().to_vec())
        .execute(&mut db)
        .await
        .map_err(&failed)?;
    db.close().await.map_err(failed)
}

async fn run(db: &mut SqliteConnection, sql: String) -> Result<(), IndexError> {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(db)
        .await
        .map(|_| ())
        .map_err(IndexError::query("fill"))
}
