//! Applying what is said of packs after they were added: damage, condemnation, the end of their objects.
//!
//! Held throughout: for every path that is there and every frame it needs that any pack holds, `path_packs` names at
//! least one of the packs that hold it. So whoever asks for the paths of all holders of a frame finds all that need it.

use hayloft_store::key::PackName;
use hayloft_store::log::record::DamageRecord;
use sqlx::SqliteConnection;

use crate::IndexError;
use crate::apply::want_missing;

/// Notes what is lost: the paths that it leaves incomplete count as missing.
pub(crate) async fn mark_damage(db: &mut SqliteConnection, damage: &DamageRecord) -> Result<(), IndexError> {
    let failed = IndexError::query("mark damage");
    let DamageRecord { packs, frames } = damage;
    let mut touched: Vec<i64> = Vec::new();
    for name in packs {
        // Damage in a pack that was given up is nobody's.
        let Some(pack) = pack_id(db, *name).await? else {
            continue;
        };
        spread(db, pack, None).await?;
        for sql in [
            "UPDATE packs SET damaged = 1 WHERE id = ?",
            "DELETE FROM frames WHERE pack = ?",
        ] {
            sqlx::query(sql)
                .bind(pack)
                .execute(&mut *db)
                .await
                .map_err(&failed)?;
        }
        touched.push(pack);
    }
    for (name, frame) in frames {
        let Some(pack) = pack_id(db, *name).await? else {
            continue;
        };
        spread(db, pack, Some(frame.as_bytes())).await?;
        sqlx::query("DELETE FROM frames WHERE pack = ? AND frame = ?")
            .bind(pack)
            .bind(frame.as_bytes().as_slice())
            .execute(&mut *db)
            .await
            .map_err(&failed)?;
        // What is whole in it is moved by the next collection.
        sqlx::query("UPDATE packs SET damaged = 1 WHERE id = ?")
            .bind(pack)
            .execute(&mut *db)
            .await
            .map_err(&failed)?;
        touched.push(pack);
    }
    touched.sort_unstable();
    touched.dedup();
    for pack in touched {
        for path in paths_of(db, pack).await? {
            want_missing(db, path).await?;
        }
        suspect(db, pack).await?;
    }
    Ok(())
}

/// Gives packs up: nothing is read from them any more.
pub(crate) async fn condemn(db: &mut SqliteConnection, packs: &[PackName]) -> Result<(), IndexError> {
    let failed = IndexError::query("condemn a pack");
    for name in packs {
        let Some(pack) = pack_id(db, *name).await? else {
            sqlx::query("INSERT OR IGNORE INTO condemned (name, size) VALUES (?, 0)")
                .bind(name.0.as_slice())
                .execute(&mut *db)
                .await
                .map_err(&failed)?;
            forget_stranger(db, *name).await?;
            continue;
        };
        spread(db, pack, None).await?;
        for sql in [
            "INSERT OR IGNORE INTO condemned (name, size) SELECT name, size FROM packs WHERE id = ?",
            "INSERT OR IGNORE INTO retired
             SELECT f.frame, p.name, f.offset, f.piece, f.stored, f.raw FROM frames f JOIN packs p ON p.id = f.pack WHERE f.pack = ?",
            "DELETE FROM frames WHERE pack = ?",
            "DELETE FROM packs WHERE id = ?",
            "DELETE FROM suspects WHERE pack = ?",
        ] {
            sqlx::query(sql)
                .bind(pack)
                .execute(&mut *db)
                .await
                .map_err(&failed)?;
        }
        // What nobody else holds is needed by nobody: that was checked when it was ordered. Should it be otherwise,
        // the path counts as missing and is never answered wrongly.
        let (alone,): (bool,) = sqlx::query_as(
            "SELECT EXISTS (SELECT 1 FROM retired r WHERE r.name = ?
                 AND NOT EXISTS (SELECT 1 FROM digests d CROSS JOIN frames f WHERE d.digest = substr(r.frame, 1, 8)
                                   AND f.pack = d.pack AND f.offset = d.offset AND f.frame = r.frame)
                 AND NOT EXISTS (SELECT 1 FROM young d CROSS JOIN frames f WHERE d.digest = substr(r.frame, 1, 8)
                                   AND f.pack = d.pack AND f.offset = d.offset AND f.frame = r.frame))",
        )
        .bind(name.0.as_slice())
        .fetch_one(&mut *db)
        .await
        .map_err(&failed)?;
        if alone {
            for path in paths_of(db, pack).await? {
                want_missing(db, path).await?;
            }
        }
        sqlx::query("DELETE FROM path_packs WHERE pack = ?")
            .bind(pack)
            .execute(&mut *db)
            .await
            .map_err(&failed)?;
        forget_stranger(db, *name).await?;
    }
    Ok(())
}

/// The objects of condemned packs are gone.
pub(crate) async fn deleted(db: &mut SqliteConnection, packs: &[PackName]) -> Result<(), IndexError> {
    for name in packs {
        for sql in [
            "UPDATE condemned SET deleted = 1 WHERE name = ?",
            "DELETE FROM retired WHERE name = ?",
            "DELETE FROM due WHERE name = ?",
        ] {
            sqlx::query(sql)
                .bind(name.0.as_slice())
                .execute(&mut *db)
                .await
                .map_err(IndexError::query("forget a pack"))?;
        }
    }
    Ok(())
}

/// Whether a pack of that name was given up.
pub(crate) async fn is_condemned(db: &mut SqliteConnection, name: PackName) -> Result<bool, IndexError> {
    let row: Option<(i64,)> = sqlx::query_as("SELECT 1 FROM condemned WHERE name = ?")
        .bind(name.0.to_vec())
        .fetch_optional(db)
        .await
        .map_err(IndexError::query("look for a condemned pack"))?;
    Ok(row.is_some())
}

pub(crate) async fn pack_id(db: &mut SqliteConnection, name: PackName) -> Result<Option<i64>, IndexError> {
    let row: Option<(i64,)> = sqlx::query_as("SELECT id FROM packs WHERE name = ?")
        .bind(name.0.to_vec())
        .fetch_optional(db)
        .await
        .map_err(IndexError::query("find a pack"))?;
    Ok(row.map(|(id,)| id))
}

/// Notes that a pack's contents may not be needed any more.
pub(crate) async fn suspect(db: &mut SqliteConnection, pack: i64) -> Result<(), IndexError> {
    sqlx::query("INSERT OR IGNORE INTO suspects VALUES (?)")
        .bind(pack)
        .execute(db)
        .await
        .map(|_| ())
        .map_err(IndexError::query("suspect a pack"))
}

/// Before `pack` loses its frames, or one of them: its paths are noted with the other packs that hold them.
async fn spread(db: &mut SqliteConnection, pack: i64, frame: Option<&[u8; 32]>) -> Result<(), IndexError> {
    let failed = IndexError::query("note where frames lie");
    let query = match frame {
        None => sqlx::query(
            "INSERT OR IGNORE INTO path_packs SELECT o.pack, pp.path FROM
                 (SELECT f2.pack FROM frames f1 CROSS JOIN digests d CROSS JOIN frames f2
                  WHERE f1.pack = ?1 AND d.digest = substr(f1.frame, 1, 8) AND f2.pack = d.pack AND f2.offset = d.offset
                    AND f2.frame = f1.frame AND f2.pack <> ?1
                  UNION SELECT f2.pack FROM frames f1 CROSS JOIN young d CROSS JOIN frames f2
                  WHERE f1.pack = ?1 AND d.digest = substr(f1.frame, 1, 8) AND f2.pack = d.pack AND f2.offset = d.offset
                    AND f2.frame = f1.frame AND f2.pack <> ?1) o
             CROSS JOIN path_packs pp WHERE pp.pack = ?1",
        )
        .bind(pack),
        Some(frame) => sqlx::query(
            "INSERT OR IGNORE INTO path_packs SELECT f.pack, pp.path FROM digests d CROSS JOIN frames f CROSS JOIN path_packs pp
             WHERE d.digest = substr(?2, 1, 8) AND f.pack = d.pack AND f.offset = d.offset AND f.frame = ?2 AND f.pack <> ?1 AND pp.pack = ?1
             UNION ALL SELECT f.pack, pp.path FROM young d CROSS JOIN frames f CROSS JOIN path_packs pp
             WHERE d.digest = substr(?2, 1, 8) AND f.pack = d.pack AND f.offset = d.offset AND f.frame = ?2 AND f.pack <> ?1 AND pp.pack = ?1",
        )
        .bind(pack)
        .bind(frame.as_slice()),
    };
    query.execute(db).await.map(|_| ()).map_err(failed)
}

async fn paths_of(db: &mut SqliteConnection, pack: i64) -> Result<Vec<i64>, IndexError> {
    let rows: Vec<(i64,)> = sqlx::query_as("SELECT path FROM path_packs WHERE pack = ?")
        .bind(pack)
        .fetch_all(db)
        .await
        .map_err(IndexError::query("paths of a pack"))?;
    Ok(rows.into_iter().map(|(path,)| path).collect())
}

async fn forget_stranger(db: &mut SqliteConnection, name: PackName) -> Result<(), IndexError> {
    sqlx::query("DELETE FROM strangers WHERE name = ?")
        .bind(name.0.to_vec())
        .execute(db)
        .await
        .map(|_| ())
        .map_err(IndexError::query("forget a stranger"))
}
