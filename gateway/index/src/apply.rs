//! Applying records: what each of them means. Deterministic, so that two indexes at one position are the same.

use hayloft_nixcache::CacheName;
use hayloft_store::Digest;
use hayloft_store::key::Position;
use hayloft_store::log::record::{CacheRecord, PackRecord, PathRecord, Record};
use hayloft_store::manifest::Manifest;
use hayloft_store::pack;
use sqlx::SqliteConnection;

use crate::{Index, IndexError, keep, retire};

impl Index {
    /// Applies the records of one log object, all or none, and moves to the position after it.
    ///
    /// # Errors
    /// When the index fails, or a record makes no sense; then nothing is changed.
    pub async fn apply(&self, records: &[Record], position: Position) -> Result<(), IndexError> {
        let failed = IndexError::query("apply");
        let mut tx = self.writer.begin().await.map_err(&failed)?;
        for record in records {
            apply(&mut tx, record).await?;
        }
        let place = postcard::to_stdvec(&position).map_err(|_| IndexError::Record { what: "position" })?;
        sqlx::query(
            "INSERT INTO meta VALUES ('position', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )
        .bind(place)
        .execute(&mut *tx)
        .await
        .map_err(&failed)?;
        self.hot.coming(records);
        tx.commit().await.map_err(failed)?;
        self.hot.changed(records);
        self.arrivals.note(records);
        Ok(())
    }
}

async fn apply(db: &mut SqliteConnection, record: &Record) -> Result<(), IndexError> {
    match record {
        Record::EpochOpened(_) => Ok(()),
        Record::CacheCreated(cache) | Record::CacheConfigured(cache) => set_cache(db, cache).await,
        Record::CacheDestroyed(name) => destroy_cache(db, name).await,
        Record::PackAdded(pack) => add_pack(db, pack).await,
        Record::PathAdded(path) => add_path(db, path).await,
        Record::PathRemoved { cache, path } => keep::remove_paths(db, cache, &[path.hash()]).await,
        Record::Damaged(damage) => retire::mark_damage(db, damage).await,
        Record::PacksCondemned(packs) => retire::condemn(db, packs).await,
        Record::PathsUsed { day, cache, paths } => keep::use_paths(db, *day, cache, paths).await,
        Record::Pinned {
            cache,
            name,
            paths,
            until,
        } => keep::pin(db, cache, name, paths, *until).await,
        Record::Unpinned { cache, name } => keep::unpin(db, cache, name).await,
        Record::NarHashConflict {
            cache,
            path,
            known,
            given,
        } => keep::conflict(db, cache, path, known, given).await,
        Record::CacheLimited { name, max_bytes } => keep::limit(db, name, *max_bytes).await,
        Record::PacksDeleted(packs) => retire::deleted(db, packs).await,
        Record::PathsCollected { cache, paths } => keep::remove_paths(db, cache, paths).await,
    }
}

async fn set_cache(db: &mut SqliteConnection, cache: &CacheRecord) -> Result<(), IndexError> {
    let record = postcard::to_stdvec(cache).map_err(|_| IndexError::Record { what: "cache" })?;
    sqlx::query("INSERT INTO caches (name, record) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET record = excluded.record")
        .bind(cache.name.as_str())
        .bind(record)
        .execute(db)
        .await
        .map(|_| ())
        .map_err(IndexError::query("set cache"))
}

async fn destroy_cache(db: &mut SqliteConnection, name: &CacheName) -> Result<(), IndexError> {
    let failed = IndexError::query("destroy cache");
    keep::forget_cache(db, name).await?;
    for sql in [
        "DELETE FROM manifests WHERE path IN (SELECT p.id FROM paths p JOIN caches c ON p.cache = c.id WHERE c.name = ?)",
        "DELETE FROM path_packs WHERE path IN (SELECT p.id FROM paths p JOIN caches c ON p.cache = c.id WHERE c.name = ?)",
        "DELETE FROM wanted WHERE path IN (SELECT p.id FROM paths p JOIN caches c ON p.cache = c.id WHERE c.name = ?)",
        "DELETE FROM paths WHERE cache = (SELECT id FROM caches WHERE name = ?)",
        "DELETE FROM caches WHERE name = ?",
    ] {
        sqlx::query(sql)
            .bind(name.as_str())
            .execute(&mut *db)
            .await
            .map_err(&failed)?;
    }
    Ok(())
}

async fn add_pack(db: &mut SqliteConnection, pack: &PackRecord) -> Result<(), IndexError> {
    let failed = IndexError::query("add pack");
    // A name that is known says the same again; one that was given up never comes back.
    if retire::pack_id(db, pack.name).await?.is_some() || retire::is_condemned(db, pack.name).await? {
        return Ok(());
    }
    let (id,): (i64,) =
        sqlx::query_as("INSERT INTO packs (name, digest, size) VALUES (?, ?, ?) RETURNING id")
            .bind(pack.name.0.as_slice())
            .bind(pack.digest.as_bytes().as_slice())
            .bind(signed(pack.size, "size")?)
            .fetch_one(&mut *db)
            .await
            .map_err(&failed)?;
    for (offset, frame) in pack::offsets(&pack.frames) {
        sqlx::query("INSERT INTO frames VALUES (?, ?, ?, ?, ?, ?)")
            .bind(id)
            .bind(signed(offset, "offset")?)
            .bind(frame.frame.as_bytes().as_slice())
            .bind(frame.piece.as_bytes().as_slice())
            .bind(frame.stored)
            .bind(frame.raw)
            .execute(&mut *db)
            .await
            .map_err(&failed)?;
    }
    // What was damaged may be whole again.
    for sql in [
        "INSERT OR IGNORE INTO path_packs SELECT f.pack, w.path FROM frames f CROSS JOIN wanted w
             WHERE f.pack = ? AND EXISTS (SELECT 1 FROM wanted) AND w.frame = f.frame",
        "DELETE FROM wanted WHERE frame IN (SELECT frame FROM frames WHERE pack = ? AND EXISTS (SELECT 1 FROM wanted))",
        "DELETE FROM strangers WHERE name = (SELECT name FROM packs WHERE id = ?)",
    ] {
        sqlx::query(sql)
            .bind(id)
            .execute(&mut *db)
            .await
            .map_err(&failed)?;
    }
    // Its upload may come to nothing.
    retire::suspect(db, id).await
}

async fn add_path(db: &mut SqliteConnection, path: &PathRecord) -> Result<(), IndexError> {
    let failed = IndexError::query("add path");
    // Destructured, so that a new field is not forgotten here.
    let PathRecord {
        cache,
        path: store_path,
        nar_hash,
        nar_size,
        references,
        deriver,
        ca,
        sigs,
        created_by,
        created_at,
        manifest: body,
    } = path;
    let manifest = Manifest::decode(body).map_err(|_| IndexError::Record { what: "manifest" })?;
    let json = |list: &[String]| {
        serde_json::to_string(list).map_err(|_| IndexError::Record {
            what: "list of a path",
        })
    };
    let row: Option<(i64,)> = sqlx::query_as(
        "INSERT INTO paths (cache, hash, path, nar_hash, nar_size, refs, deriver, ca, sigs, created_by, created_at, file_size, etag)
         SELECT id, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM caches WHERE name = ?
         ON CONFLICT (cache, hash) DO UPDATE SET
             path = excluded.path, nar_hash = excluded.nar_hash, nar_size = excluded.nar_size, refs = excluded.refs,
             deriver = excluded.deriver, ca = excluded.ca, sigs = excluded.sigs, created_by = excluded.created_by,
             created_at = excluded.created_at, file_size = excluded.file_size, etag = excluded.etag, removed = 0
         RETURNING id",
    )
    .bind(store_path.hash().as_str())
    .bind(store_path.as_str())
    .bind(nar_hash.as_slice())
    .bind(signed(*nar_size, "size")?)
    .bind(json(references)?)
    .bind(deriver)
    .bind(ca)
    .bind(json(sigs)?)
    .bind(created_by)
    .bind(created_at)
    .bind(signed(manifest.sent(), "size")?)
    .bind(Digest::of(body).as_bytes().as_slice())
    .bind(cache.as_str())
    .fetch_optional(&mut *db)
    .await
    .map_err(&failed)?;
    let Some((id,)) = row else {
        return Err(IndexError::Record {
            what: "path of an unknown cache",
        });
    };
    forget_contents(db, id).await?;
    sqlx::query("INSERT INTO manifests VALUES (?, ?)")
        .bind(id)
        .bind(body)
        .execute(&mut *db)
        .await
        .map_err(&failed)?;
    sqlx::query(
        "INSERT OR IGNORE INTO path_packs
         SELECT f.pack, ? FROM json_each(?) j CROSS JOIN frames f
         WHERE substr(f.frame, 1, 8) = unhex(substr(j.value, 1, 16)) AND f.frame = unhex(j.value)",
    )
    .bind(id)
    .bind(hex_list(manifest.frames()))
    .execute(&mut *db)
    .await
    .map_err(&failed)?;
    // Damage may have been ordered between the commit's check and this record.
    want_missing(db, id).await
}

/// Removes everything that says what a path is made of.
pub(crate) async fn forget_contents(db: &mut SqliteConnection, path: i64) -> Result<(), IndexError> {
    for sql in [
        "INSERT OR IGNORE INTO suspects SELECT pack FROM path_packs WHERE path = ?",
        "DELETE FROM manifests WHERE path = ?",
        "DELETE FROM path_packs WHERE path = ?",
        "DELETE FROM wanted WHERE path = ?",
    ] {
        let done = sqlx::query(sql).bind(path).execute(&mut *db).await;
        done.map_err(IndexError::query("forget a path's contents"))?;
    }
    Ok(())
}

/// Notes which frames of a path no pack holds.
pub(crate) async fn want_missing(db: &mut SqliteConnection, path: i64) -> Result<(), IndexError> {
    let failed = IndexError::query("look for missing frames");
    let row: Option<(Vec<u8>,)> = sqlx::query_as("SELECT body FROM manifests WHERE path = ?")
        .bind(path)
        .fetch_optional(&mut *db)
        .await
        .map_err(&failed)?;
    let Some((body,)) = row else { return Ok(()) };
    let manifest = Manifest::decode(&body).map_err(|_| IndexError::Corrupt { what: "manifest" })?;
    sqlx::query(
        "INSERT OR IGNORE INTO wanted
         SELECT unhex(j.value), ? FROM json_each(?) j
         WHERE NOT EXISTS (SELECT 1 FROM frames f WHERE substr(f.frame, 1, 8) = unhex(substr(j.value, 1, 16)) AND f.frame = unhex(j.value))",
    )
    .bind(path)
    .bind(hex_list(manifest.frames()))
    .execute(db)
    .await
    .map(|_| ())
    .map_err(failed)
}

/// Digests as a JSON list of hex, for `json_each`: one statement for any number of them.
pub(crate) fn hex_list(digests: impl Iterator<Item = Digest>) -> String {
    let mut list = String::from("[");
    for (index, digest) in digests.enumerate() {
        if index > 0 {
            list.push(',');
        }
        list.push('"');
        list.push_str(&digest.to_hex());
        list.push('"');
    }
    list.push(']');
    list
}

pub(crate) fn signed(number: u64, what: &'static str) -> Result<i64, IndexError> {
    i64::try_from(number).map_err(|_| IndexError::Record { what })
}
