//! Questions and notes of whoever collects. Everything is asked in portions: nothing grows with the index but one bit a path.

use std::collections::HashMap;

use hayloft_nixcache::{CacheName, StorePathHash};
use hayloft_store::Digest;
use hayloft_store::key::PackName;
use hayloft_store::pack::PackedFrame;

use crate::apply::hex_list;
use crate::ask::digest;
use crate::condemning::pack_name;
use crate::keep::hash_list;
use crate::{Index, IndexError};

/// A path that is there, and when it was wanted last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathUse {
    /// Its number in this index.
    pub id: i64,
    /// Milliseconds since 1970: when it was pushed, or the end of the last day on which it was asked for.
    pub last: i64,
    /// Bytes that are sent for it.
    pub bytes: u64,
}

/// A pin of a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Its name.
    pub name: String,
    /// What it keeps.
    pub paths: Vec<StorePathHash>,
    /// Milliseconds since 1970; none: for ever.
    pub until: Option<i64>,
}

/// How much of a pack is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackUse {
    /// Its number in this index.
    pub id: i64,
    /// Its name.
    pub name: PackName,
    /// Bytes of the object.
    pub size: u64,
    /// Something in it is known to be damaged.
    pub damaged: bool,
    /// The frames that paths need and no other pack holds, with their offsets.
    pub needed: Vec<(u64, PackedFrame)>,
}

impl PackUse {
    /// Stored bytes of what is needed.
    #[must_use]
    pub fn live(&self) -> u64 {
        self.needed.iter().map(|(_, frame)| u64::from(frame.stored)).sum()
    }
}

/// Where a frame lies in a condemned pack whose object may still be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retired {
    /// The pack.
    pub pack: PackName,
    /// Offset in bytes.
    pub offset: u64,
    /// The frame.
    pub frame: PackedFrame,
}

/// Offset, frame, piece, stored, raw.
pub(crate) type FrameRow = (i64, Vec<u8>, Vec<u8>, u32, u32);
/// Frame, pack, offset, piece, stored, raw.
type RetiredRow = (Vec<u8>, Vec<u8>, i64, Vec<u8>, u32, u32);

const DAY_MS: i64 = 86_400_000;

impl Index {
    /// The highest number that a path has.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn last_path(&self) -> Result<i64, IndexError> {
        let (last,): (i64,) = sqlx::query_as("SELECT coalesce(max(id), 0) FROM paths")
            .fetch_one(&self.readers)
            .await
            .map_err(IndexError::query("last path"))?;
        Ok(last)
    }

    /// The highest number that a pack has.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn last_pack(&self) -> Result<i64, IndexError> {
        let (last,): (i64,) = sqlx::query_as("SELECT coalesce(max(id), 0) FROM packs")
            .fetch_one(&self.readers)
            .await
            .map_err(IndexError::query("last pack"))?;
        Ok(last)
    }

    /// Up to `limit` paths of a cache that are there, in the order of their numbers, behind `after`.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn path_uses(
        &self,
        cache: &CacheName,
        after: i64,
        limit: u32,
    ) -> Result<Vec<PathUse>, IndexError> {
        // `+`: by number. By the index over caches, all paths of the cache would be sorted for every page.
        let rows: Vec<(i64, i64, Option<i64>, i64)> = sqlx::query_as(
            "SELECT p.id, p.created_at, u.day, p.file_size FROM paths p LEFT JOIN uses u ON u.path = p.id
             WHERE p.id > ? AND +p.cache = (SELECT id FROM caches WHERE name = ?) AND p.removed = 0
             ORDER BY p.id LIMIT ?",
        )
        .bind(after)
        .bind(cache.as_str())
        .bind(limit)
        .fetch_all(&self.readers)
        .await
        .map_err(IndexError::query("uses of paths"))?;
        rows.into_iter()
            .map(|(id, created, day, bytes)| {
                let used = day.map_or(i64::MIN, |day| (day + 1).saturating_mul(DAY_MS));
                Ok(PathUse {
                    id,
                    last: created.max(used),
                    bytes: unsigned(bytes)?,
                })
            })
            .collect()
    }

    /// The paths that those of `paths` refer to and that are there, each with the bytes that are sent for it.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn references_of(&self, paths: &[i64]) -> Result<Vec<(i64, u64)>, IndexError> {
        let rows: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT DISTINCT t.id, t.file_size FROM json_each(?) j CROSS JOIN paths p CROSS JOIN json_each(p.refs) r CROSS JOIN paths t
             WHERE p.id = j.value AND t.cache = p.cache AND t.hash = substr(r.value, 1, 32) AND t.removed = 0",
        )
        .bind(id_list(paths)?)
        .fetch_all(&self.readers)
        .await
        .map_err(IndexError::query("references"))?;
        rows.into_iter()
            .map(|(id, bytes)| Ok((id, unsigned(bytes)?)))
            .collect()
    }

    /// The paths of a cache that are there and have these hashes, each with the bytes that are sent for it.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn ids_of(
        &self,
        cache: &CacheName,
        hashes: &[StorePathHash],
    ) -> Result<Vec<(i64, u64)>, IndexError> {
        let rows: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT DISTINCT p.id, p.file_size FROM json_each(?) j CROSS JOIN paths p
             WHERE p.cache = (SELECT id FROM caches WHERE name = ?) AND p.hash = j.value AND p.removed = 0",
        )
        .bind(hash_list(hashes)?)
        .bind(cache.as_str())
        .fetch_all(&self.readers)
        .await
        .map_err(IndexError::query("numbers of paths"))?;
        rows.into_iter()
            .map(|(id, bytes)| Ok((id, unsigned(bytes)?)))
            .collect()
    }

    /// Bytes that are sent for those of `paths` that are there.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn sizes_of(&self, paths: &[i64]) -> Result<Vec<(i64, u64)>, IndexError> {
        let rows: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT p.id, p.file_size FROM json_each(?) j CROSS JOIN paths p WHERE p.id = j.value AND p.removed = 0",
        )
        .bind(id_list(paths)?)
        .fetch_all(&self.readers)
        .await
        .map_err(IndexError::query("sizes of paths"))?;
        rows.into_iter()
            .map(|(id, bytes)| Ok((id, unsigned(bytes)?)))
            .collect()
    }

    /// The packs that are noted with `paths`.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn packs_of(&self, paths: &[i64]) -> Result<Vec<i64>, IndexError> {
        let rows: Vec<(i64,)> = sqlx::query_as(
            "SELECT DISTINCT pp.pack FROM json_each(?) j CROSS JOIN path_packs pp WHERE pp.path = j.value",
        )
        .bind(id_list(paths)?)
        .fetch_all(&self.readers)
        .await
        .map_err(IndexError::query("packs of paths"))?;
        Ok(rows.into_iter().map(|(pack,)| pack).collect())
    }

    /// How many packs behind `after` are suspects.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn suspects_behind(&self, after: i64) -> Result<u64, IndexError> {
        let (count,): (i64,) = sqlx::query_as("SELECT count(*) FROM suspects WHERE pack > ?")
            .bind(after)
            .fetch_one(&self.readers)
            .await
            .map_err(IndexError::query("suspects"))?;
        unsigned(count)
    }

    /// The hashes of paths that are there.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn hashes_of(&self, paths: &[i64]) -> Result<Vec<StorePathHash>, IndexError> {
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT p.hash FROM json_each(?) j CROSS JOIN paths p WHERE p.id = j.value AND p.removed = 0",
        )
        .bind(id_list(paths)?)
        .fetch_all(&self.readers)
        .await
        .map_err(IndexError::query("hashes of paths"))?;
        rows.iter()
            .map(|(hash,)| {
                hash.parse().map_err(|_| IndexError::Corrupt {
                    what: "store path hash",
                })
            })
            .collect()
    }

    /// Those of `hashes` that were not noted as used on `day` or later.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn unused_since(
        &self,
        cache: &CacheName,
        hashes: &[StorePathHash],
        day: u32,
    ) -> Result<Vec<StorePathHash>, IndexError> {
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT p.hash FROM json_each(?) j CROSS JOIN paths p LEFT JOIN uses u ON u.path = p.id
             WHERE p.cache = (SELECT id FROM caches WHERE name = ?) AND p.hash = j.value AND p.removed = 0
               AND coalesce(u.day, -1) < ?",
        )
        .bind(hash_list(hashes)?)
        .bind(cache.as_str())
        .bind(day)
        .fetch_all(&self.readers)
        .await
        .map_err(IndexError::query("uses of a day"))?;
        rows.iter()
            .map(|(hash,)| {
                hash.parse().map_err(|_| IndexError::Corrupt {
                    what: "store path hash",
                })
            })
            .collect()
    }

    /// The pins of a cache, by name.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn pins(&self, cache: &CacheName) -> Result<Vec<Pin>, IndexError> {
        let failed = IndexError::query("pins");
        let rows: Vec<(i64, String, Option<i64>)> = sqlx::query_as(
            "SELECT id, name, until FROM pins WHERE cache = (SELECT id FROM caches WHERE name = ?) ORDER BY name",
        )
        .bind(cache.as_str())
        .fetch_all(&self.readers)
        .await
        .map_err(&failed)?;
        let mut pins = Vec::with_capacity(rows.len());
        for (id, name, until) in rows {
            let paths: Vec<(String,)> = sqlx::query_as("SELECT hash FROM pinned WHERE pin = ? ORDER BY hash")
                .bind(id)
                .fetch_all(&self.readers)
                .await
                .map_err(&failed)?;
            let paths: Result<Vec<StorePathHash>, _> = paths.iter().map(|(hash,)| hash.parse()).collect();
            let paths = paths.map_err(|_| IndexError::Corrupt {
                what: "store path hash",
            })?;
            pins.push(Pin { name, paths, until });
        }
        Ok(pins)
    }

    /// How large a cache may become.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn limit_of(&self, cache: &CacheName) -> Result<Option<u64>, IndexError> {
        let row: Option<(i64,)> = sqlx::query_as(
            "SELECT max_bytes FROM limits WHERE cache = (SELECT id FROM caches WHERE name = ?)",
        )
        .bind(cache.as_str())
        .fetch_optional(&self.readers)
        .await
        .map_err(IndexError::query("limit of a cache"))?;
        row.map(|(bytes,)| unsigned(bytes)).transpose()
    }

    /// Whether a refused push of this NAR hash was noted before.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn knows_conflict(
        &self,
        cache: &CacheName,
        path: &str,
        given: &[u8; 32],
    ) -> Result<bool, IndexError> {
        let (known,): (bool,) = sqlx::query_as(
            "SELECT EXISTS (SELECT 1 FROM conflicts WHERE cache = (SELECT id FROM caches WHERE name = ?) AND path = ? AND given = ?)",
        )
        .bind(cache.as_str())
        .bind(path)
        .bind(given.to_vec())
        .fetch_one(&self.readers)
        .await
        .map_err(IndexError::query("known conflicts"))?;
        Ok(known)
    }

    /// Up to `limit` packs whose contents may not be needed any more, by number, behind `after` and up to `upto`.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn suspects(&self, after: i64, upto: i64, limit: u32) -> Result<Vec<i64>, IndexError> {
        let rows: Vec<(i64,)> =
            sqlx::query_as("SELECT pack FROM suspects WHERE pack > ? AND pack <= ? ORDER BY pack LIMIT ?")
                .bind(after)
                .bind(upto)
                .bind(limit)
                .fetch_all(&self.readers)
                .await
                .map_err(IndexError::query("suspects"))?;
        Ok(rows.into_iter().map(|(pack,)| pack).collect())
    }

    /// A pack was looked at: it is no suspect until something happens to it again.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn clear_suspect(&self, pack: i64) -> Result<(), IndexError> {
        sqlx::query("DELETE FROM suspects WHERE pack = ?")
            .bind(pack)
            .execute(&self.writer)
            .await
            .map(|_| ())
            .map_err(IndexError::query("clear a suspect"))
    }

    /// How much of a pack is needed by paths that count; none: there is no such pack any more.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn pack_use(
        &self,
        pack: i64,
        counts: impl Fn(i64) -> bool,
    ) -> Result<Option<PackUse>, IndexError> {
        let failed = IndexError::query("use of a pack");
        let row: Option<(Vec<u8>, i64, bool)> =
            sqlx::query_as("SELECT name, size, damaged FROM packs WHERE id = ?")
                .bind(pack)
                .fetch_optional(&self.readers)
                .await
                .map_err(&failed)?;
        let Some((name, size, damaged)) = row else {
            return Ok(None);
        };
        let name = pack_name(&name)?;
        let rows: Vec<FrameRow> = sqlx::query_as(
            "SELECT f.offset, f.frame, f.piece, f.stored, f.raw FROM frames f WHERE f.pack = ?1
               AND NOT EXISTS (SELECT 1 FROM digests d CROSS JOIN frames f2 WHERE d.digest = substr(f.frame, 1, 8)
                                 AND f2.pack = d.pack AND f2.offset = d.offset AND f2.frame = f.frame AND f2.pack <> ?1)
               AND NOT EXISTS (SELECT 1 FROM young d CROSS JOIN frames f2 WHERE d.digest = substr(f.frame, 1, 8)
                                 AND f2.pack = d.pack AND f2.offset = d.offset AND f2.frame = f.frame AND f2.pack <> ?1)
             ORDER BY f.offset",
        )
        .bind(pack)
        .fetch_all(&self.readers)
        .await
        .map_err(&failed)?;
        let mut frames: HashMap<Digest, (u64, PackedFrame)> = HashMap::with_capacity(rows.len());
        for (offset, frame, piece, stored, raw) in rows {
            let frame = PackedFrame {
                piece: digest(&piece)?,
                frame: digest(&frame)?,
                stored,
                raw,
            };
            frames.insert(frame.frame, (unsigned(offset)?, frame));
        }
        let among = frames.keys().copied().collect();
        let needed = self.needed_of(&[name], &among, counts).await?;
        let mut needed: Vec<(u64, PackedFrame)> = needed
            .iter()
            .filter_map(|frame| frames.get(frame).copied())
            .collect();
        needed.sort_unstable_by_key(|(offset, _)| *offset);
        Ok(Some(PackUse {
            id: pack,
            name,
            size: unsigned(size)?,
            damaged,
            needed,
        }))
    }

    /// Where `frames` lie in condemned packs whose objects may still be there.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn retired(&self, frames: &[Digest]) -> Result<HashMap<Digest, Retired>, IndexError> {
        let rows: Vec<RetiredRow> = sqlx::query_as(
            "SELECT r.frame, r.name, r.offset, r.piece, r.stored, r.raw FROM json_each(?) j CROSS JOIN retired r
             WHERE r.frame = unhex(j.value)",
        )
        .bind(hex_list(frames.iter().copied()))
        .fetch_all(&self.readers)
        .await
        .map_err(IndexError::query("retired frames"))?;
        rows.iter()
            .map(|(frame, name, offset, piece, stored, raw)| {
                let frame = PackedFrame {
                    piece: digest(piece)?,
                    frame: digest(frame)?,
                    stored: *stored,
                    raw: *raw,
                };
                let retired = Retired {
                    pack: pack_name(name)?,
                    offset: unsigned(*offset)?,
                    frame,
                };
                Ok((frame.frame, retired))
            })
            .collect()
    }

    /// Gives every condemned pack whose object is to go a time to go, unless it has one. Gives how many there are, and
    /// the bytes of their objects.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn set_due(&self, at: i64) -> Result<(u64, u64), IndexError> {
        let failed = IndexError::query("when condemned packs go");
        sqlx::query("INSERT OR IGNORE INTO due SELECT name, ? FROM condemned WHERE deleted = 0")
            .bind(at)
            .execute(&self.writer)
            .await
            .map_err(&failed)?;
        self.waiting().await
    }

    /// How many condemned packs wait for their objects to go, and the bytes of these.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn waiting(&self) -> Result<(u64, u64), IndexError> {
        let (packs, bytes): (i64, i64) =
            sqlx::query_as("SELECT count(*), coalesce(sum(size), 0) FROM condemned WHERE deleted = 0")
                .fetch_one(&self.readers)
                .await
                .map_err(IndexError::query("condemned packs"))?;
        Ok((unsigned(packs)?, unsigned(bytes)?))
    }

    /// Up to `limit` condemned packs whose objects may go now.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn due(&self, now: i64, limit: u32) -> Result<Vec<(PackName, u64)>, IndexError> {
        let rows: Vec<(Vec<u8>, i64)> = sqlx::query_as(
            "SELECT c.name, c.size FROM due d JOIN condemned c ON c.name = d.name WHERE d.at <= ? AND c.deleted = 0 LIMIT ?",
        )
        .bind(now)
        .bind(limit)
        .fetch_all(&self.readers)
        .await
        .map_err(IndexError::query("due packs"))?;
        rows.iter()
            .map(|(name, size)| Ok((pack_name(name)?, unsigned(*size)?)))
            .collect()
    }

    /// Sorts packs that were seen in the bucket: those that no record names, and condemned ones whose objects should be
    /// gone.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn sort_packs(&self, seen: &[PackName]) -> Result<(Vec<PackName>, Vec<PackName>), IndexError> {
        let failed = IndexError::query("packs in the bucket");
        let list = name_list(seen);
        let strangers: Vec<(Vec<u8>,)> = sqlx::query_as(
            "SELECT unhex(j.value) FROM json_each(?) j
             WHERE NOT EXISTS (SELECT 1 FROM packs p WHERE p.name = unhex(j.value))
               AND NOT EXISTS (SELECT 1 FROM condemned c WHERE c.name = unhex(j.value))",
        )
        .bind(list.clone())
        .fetch_all(&self.readers)
        .await
        .map_err(&failed)?;
        let back: Vec<(Vec<u8>,)> = sqlx::query_as(
            "SELECT c.name FROM json_each(?) j CROSS JOIN condemned c WHERE c.name = unhex(j.value) AND c.deleted = 1",
        )
        .bind(list)
        .fetch_all(&self.readers)
        .await
        .map_err(&failed)?;
        let names = |rows: Vec<(Vec<u8>,)>| -> Result<Vec<PackName>, IndexError> {
            rows.iter().map(|(name,)| pack_name(name)).collect()
        };
        Ok((names(strangers)?, names(back)?))
    }

    /// Notes packs that no record names, and gives those of them that were first seen at `before` or earlier.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn note_strangers(
        &self,
        names: &[PackName],
        now: i64,
        before: i64,
    ) -> Result<Vec<PackName>, IndexError> {
        let failed = IndexError::query("note packs without records");
        let list = name_list(names);
        sqlx::query("INSERT OR IGNORE INTO strangers SELECT unhex(value), ? FROM json_each(?)")
            .bind(now)
            .bind(list)
            .execute(&self.writer)
            .await
            .map_err(&failed)?;
        self.old_strangers(names, before).await
    }

    /// Those of `names` that were noted as strangers at `before` or earlier.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn old_strangers(&self, names: &[PackName], before: i64) -> Result<Vec<PackName>, IndexError> {
        let failed = IndexError::query("packs without records");
        let rows: Vec<(Vec<u8>,)> = sqlx::query_as(
            "SELECT s.name FROM json_each(?) j CROSS JOIN strangers s WHERE s.name = unhex(j.value) AND s.seen <= ?",
        )
        .bind(name_list(names))
        .bind(before)
        .fetch_all(&self.readers)
        .await
        .map_err(&failed)?;
        rows.iter().map(|(name,)| pack_name(name)).collect()
    }

    /// Where a task that takes long has come to.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn note(&self, key: &str) -> Result<Option<Vec<u8>>, IndexError> {
        let row: Option<(Vec<u8>,)> = sqlx::query_as("SELECT value FROM notes WHERE key = ?")
            .bind(key.to_owned())
            .fetch_optional(&self.readers)
            .await
            .map_err(IndexError::query("a note"))?;
        Ok(row.map(|(value,)| value))
    }

    /// Notes where a task that takes long has come to.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn set_note(&self, key: &str, value: &[u8]) -> Result<(), IndexError> {
        sqlx::query("INSERT INTO notes VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value")
            .bind(key.to_owned())
            .bind(value.to_vec())
            .execute(&self.writer)
            .await
            .map(|_| ())
            .map_err(IndexError::query("a note"))
    }
}

fn id_list(ids: &[i64]) -> Result<String, IndexError> {
    serde_json::to_string(ids).map_err(|_| IndexError::Record { what: "paths" })
}

fn name_list(names: &[PackName]) -> String {
    let mut list = String::from("[");
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            list.push(',');
        }
        list.push('"');
        list.push_str(&name.to_string());
        list.push('"');
    }
    list.push(']');
    list
}

fn unsigned(number: i64) -> Result<u64, IndexError> {
    u64::try_from(number).map_err(|_| IndexError::Corrupt { what: "number" })
}
