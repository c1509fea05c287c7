//! Applying what decides how long paths are kept: uses, pins, limits; and their end.

use hayloft_nixcache::{CacheName, StorePath, StorePathHash};
use sqlx::SqliteConnection;

use crate::IndexError;
use crate::apply::{forget_contents, signed};

/// Paths were asked for on a day.
pub(crate) async fn use_paths(
    db: &mut SqliteConnection,
    day: u32,
    cache: &CacheName,
    paths: &[StorePathHash],
) -> Result<(), IndexError> {
    sqlx::query(
        "INSERT INTO uses SELECT p.id, ?1 FROM json_each(?2) j CROSS JOIN paths p
         WHERE p.cache = (SELECT id FROM caches WHERE name = ?3) AND p.hash = j.value AND p.removed = 0
         ON CONFLICT (path) DO UPDATE SET day = max(day, excluded.day)",
    )
    .bind(day)
    .bind(hash_list(paths)?)
    .bind(cache.as_str())
    .execute(db)
    .await
    .map(|_| ())
    .map_err(IndexError::query("note uses"))
}

/// Sets a pin; one of that name is replaced.
pub(crate) async fn pin(
    db: &mut SqliteConnection,
    cache: &CacheName,
    name: &str,
    paths: &[StorePathHash],
    until: Option<i64>,
) -> Result<(), IndexError> {
    let failed = IndexError::query("set a pin");
    unpin(db, cache, name).await?;
    let row: Option<(i64,)> = sqlx::query_as(
        "INSERT INTO pins (cache, name, until) SELECT id, ?, ? FROM caches WHERE name = ? RETURNING id",
    )
    .bind(name)
    .bind(until)
    .bind(cache.as_str())
    .fetch_optional(&mut *db)
    .await
    .map_err(&failed)?;
    let Some((pin,)) = row else {
        return Err(IndexError::Record {
            what: "pin of an unknown cache",
        });
    };
    sqlx::query("INSERT OR IGNORE INTO pinned SELECT ?, value FROM json_each(?)")
        .bind(pin)
        .bind(hash_list(paths)?)
        .execute(db)
        .await
        .map(|_| ())
        .map_err(failed)
}

/// Takes a pin away, if it is there.
pub(crate) async fn unpin(
    db: &mut SqliteConnection,
    cache: &CacheName,
    name: &str,
) -> Result<(), IndexError> {
    for sql in [
        "DELETE FROM pinned WHERE pin IN (SELECT p.id FROM pins p JOIN caches c ON p.cache = c.id WHERE c.name = ? AND p.name = ?)",
        "DELETE FROM pins WHERE cache = (SELECT id FROM caches WHERE name = ?) AND name = ?",
    ] {
        sqlx::query(sql)
            .bind(cache.as_str())
            .bind(name)
            .execute(&mut *db)
            .await
            .map_err(IndexError::query("take a pin away"))?;
    }
    Ok(())
}

/// Sets how large a cache may become.
pub(crate) async fn limit(
    db: &mut SqliteConnection,
    cache: &CacheName,
    max_bytes: Option<u64>,
) -> Result<(), IndexError> {
    let failed = IndexError::query("limit a cache");
    sqlx::query("DELETE FROM limits WHERE cache = (SELECT id FROM caches WHERE name = ?)")
        .bind(cache.as_str())
        .execute(&mut *db)
        .await
        .map_err(&failed)?;
    let Some(max_bytes) = max_bytes else { return Ok(()) };
    sqlx::query("INSERT INTO limits SELECT id, ? FROM caches WHERE name = ?")
        .bind(signed(max_bytes, "size")?)
        .bind(cache.as_str())
        .execute(db)
        .await
        .map(|_| ())
        .map_err(failed)
}

/// Notes a push that was refused.
pub(crate) async fn conflict(
    db: &mut SqliteConnection,
    cache: &CacheName,
    path: &StorePath,
    known: &[u8; 32],
    given: &[u8; 32],
) -> Result<(), IndexError> {
    sqlx::query("INSERT OR IGNORE INTO conflicts SELECT id, ?, ?, ? FROM caches WHERE name = ?")
        .bind(path.as_str())
        .bind(given.as_slice())
        .bind(known.as_slice())
        .bind(cache.as_str())
        .execute(db)
        .await
        .map(|_| ())
        .map_err(IndexError::query("note a conflict"))
}

/// Removes paths; their NAR hashes stay.
pub(crate) async fn remove_paths(
    db: &mut SqliteConnection,
    cache: &CacheName,
    paths: &[StorePathHash],
) -> Result<(), IndexError> {
    let rows: Vec<(i64,)> = sqlx::query_as(
        "UPDATE paths SET removed = 1 WHERE cache = (SELECT id FROM caches WHERE name = ?)
             AND hash IN (SELECT value FROM json_each(?)) AND removed = 0 RETURNING id",
    )
    .bind(cache.as_str())
    .bind(hash_list(paths)?)
    .fetch_all(&mut *db)
    .await
    .map_err(IndexError::query("remove paths"))?;
    for (path,) in rows {
        forget_contents(db, path).await?;
        sqlx::query("DELETE FROM uses WHERE path = ?")
            .bind(path)
            .execute(&mut *db)
            .await
            .map_err(IndexError::query("forget uses"))?;
    }
    Ok(())
}

/// Removes what belongs to a cache that is destroyed, before the cache itself goes.
pub(crate) async fn forget_cache(db: &mut SqliteConnection, cache: &CacheName) -> Result<(), IndexError> {
    for sql in [
        "DELETE FROM uses WHERE path IN (SELECT p.id FROM paths p JOIN caches c ON p.cache = c.id WHERE c.name = ?)",
        "DELETE FROM pinned WHERE pin IN (SELECT p.id FROM pins p JOIN caches c ON p.cache = c.id WHERE c.name = ?)",
        "DELETE FROM pins WHERE cache = (SELECT id FROM caches WHERE name = ?)",
        "DELETE FROM limits WHERE cache = (SELECT id FROM caches WHERE name = ?)",
        "DELETE FROM conflicts WHERE cache = (SELECT id FROM caches WHERE name = ?)",
        "INSERT OR IGNORE INTO suspects SELECT pp.pack FROM paths p JOIN caches c ON p.cache = c.id
             JOIN path_packs pp ON pp.path = p.id WHERE c.name = ?",
    ] {
        sqlx::query(sql)
            .bind(cache.as_str())
            .execute(&mut *db)
            .await
            .map_err(IndexError::query("destroy cache"))?;
    }
    Ok(())
}

/// Hashes as a JSON list, for `json_each`.
pub(crate) fn hash_list(hashes: &[StorePathHash]) -> Result<String, IndexError> {
    serde_json::to_string(hashes).map_err(|_| IndexError::Record { what: "hashes" })
}
