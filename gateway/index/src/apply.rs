//! Applying records: what each of them means. Deterministic, so that two indexes at one position are the same.

use std::collections::{BTreeSet, HashSet};

use hayloft_nixcache::CacheName;
use hayloft_store::Digest;
use hayloft_store::key::Position;
use hayloft_store::log::record::{CacheRecord, PackRecord, PathRecord, Record};
use hayloft_store::manifest::Manifest;
use hayloft_store::pack::{self, PackedFrame};
use sqlx::SqliteConnection;

use crate::ask::digest;
use crate::digests::Large;
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
            apply(&mut tx, record, &self.large).await?;
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

async fn apply(db: &mut SqliteConnection, record: &Record, large: &Large) -> Result<(), IndexError> {
    match record {
        Record::EpochOpened(_) => Ok(()),
        Record::CacheCreated(cache) | Record::CacheConfigured(cache) => set_cache(db, cache).await,
        Record::CacheDestroyed(name) => destroy_cache(db, name).await,
        Record::PackAdded(pack) => add_pack(db, pack).await,
        Record::PathAdded(path) => add_path(db, path, large).await,
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
    sqlx::query(
        "INSERT INTO frames SELECT ?, value ->> 0, unhex(value ->> 1), unhex(value ->> 2), value ->> 3, value ->> 4 FROM json_each(?)",
    )
    .bind(id)
    .bind(frame_list(&pack.frames)?)
    .execute(&mut *db)
    .await
    .map_err(&failed)?;
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

async fn add_path(db: &mut SqliteConnection, path: &PathRecord, large: &Large) -> Result<(), IndexError> {
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
    let holders = holders(db, &manifest, Some(large)).await?;
    let packs: BTreeSet<i64> = holders.iter().map(|(pack, _)| *pack).collect();
    sqlx::query("INSERT OR IGNORE INTO path_packs SELECT value, ? FROM json_each(?)")
        .bind(id)
        .bind(serde_json::to_string(&packs).map_err(|_| IndexError::Record { what: "packs" })?)
        .execute(&mut *db)
        .await
        .map_err(&failed)?;
    // Damage may have been ordered between the commit's check and this record.
    want(db, id, &manifest, &holders).await
}

/// Removes everything that says what a path is made of.
pub(crate) async fn forget_contents(db: &mut SqliteConnection, path: i64) -> Result<(), IndexError> {
    let failed = IndexError::query("forget a path's contents");
    let manifests = sqlx::query("DELETE FROM manifests WHERE path = ?")
        .bind(path)
        .execute(&mut *db)
        .await
        .map_err(&failed)?;
    // A path has a manifest as long as it has any of these.
    if manifests.rows_affected() == 0 {
        return Ok(());
    }
    for sql in [
        "INSERT OR IGNORE INTO suspects SELECT pack FROM path_packs WHERE path = ?",
        "DELETE FROM path_packs WHERE path = ?",
        "DELETE FROM wanted WHERE path = ?",
    ] {
        let done = sqlx::query(sql).bind(path).execute(&mut *db).await;
        done.map_err(&failed)?;
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
    let holders = holders(db, &manifest, None).await?;
    want(db, path, &manifest, &holders).await
}

/// The packs that hold frames of a manifest, and these frames. What `large` does not hold is not looked for there.
async fn holders(
    db: &mut SqliteConnection,
    manifest: &Manifest,
    large: Option<&Large>,
) -> Result<Vec<(i64, Digest)>, IndexError> {
    let frames: Vec<Digest> = manifest.frames().collect();
    // Merging is the writer's business too, so nothing is merged meanwhile.
    let old = large.map_or_else(|| frames.clone(), |large| large.may_hold(&frames));
    let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(
        "SELECT f.pack, f.frame FROM json_each(?1) j CROSS JOIN digests d CROSS JOIN frames f
         WHERE d.digest = unhex(substr(j.value, 1, 16)) AND f.pack = d.pack AND f.offset = d.offset AND f.frame = unhex(j.value)
         UNION ALL SELECT f.pack, f.frame FROM json_each(?2) j CROSS JOIN young d CROSS JOIN frames f
         WHERE d.digest = unhex(substr(j.value, 1, 16)) AND f.pack = d.pack AND f.offset = d.offset AND f.frame = unhex(j.value)",
    )
    .bind(hex_list(old.into_iter()))
    .bind(hex_list(frames.into_iter()))
    .fetch_all(db)
    .await
    .map_err(IndexError::query("look for frames"))?;
    rows.into_iter()
        .map(|(pack, frame)| Ok((pack, digest(&frame)?)))
        .collect()
}

/// Notes the frames of a path that are not among those which `holders` tells of.
async fn want(
    db: &mut SqliteConnection,
    path: i64,
    manifest: &Manifest,
    holders: &[(i64, Digest)],
) -> Result<(), IndexError> {
    let held: HashSet<Digest> = holders.iter().map(|(_, frame)| *frame).collect();
    let missing: HashSet<Digest> = manifest.frames().filter(|frame| !held.contains(frame)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    sqlx::query("INSERT OR IGNORE INTO wanted SELECT unhex(value), ? FROM json_each(?)")
        .bind(path)
        .bind(hex_list(missing.into_iter()))
        .execute(db)
        .await
        .map(|_| ())
        .map_err(IndexError::query("note missing frames"))
}

/// What a pack holds, for `json_each`: offset, frame, piece, stored and raw bytes. One statement puts all of it in, where one
/// for each row took most of the time of a push's records.
fn frame_list(frames: &[PackedFrame]) -> Result<String, IndexError> {
    let rows: Vec<(u64, String, String, u32, u32)> = pack::offsets(frames)
        .map(|(at, frame)| {
            (
                at,
                frame.frame.to_hex(),
                frame.piece.to_hex(),
                frame.stored,
                frame.raw,
            )
        })
        .collect();
    serde_json::to_string(&rows).map_err(|_| IndexError::Record { what: "frames" })
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
