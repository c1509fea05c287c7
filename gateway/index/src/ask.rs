//! Questions.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use hayloft_nixcache::{CacheName, NarHash, StorePath, StorePathHash};
use hayloft_store::Digest;
use hayloft_store::commit::Facts;
use hayloft_store::key::PackName;
use hayloft_store::log::record::{CacheRecord, Record};
use hayloft_store::manifest::Manifest;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::{Index, IndexError};

/// Piece, frame, stored and raw bytes.
type PieceRow = (Vec<u8>, Vec<u8>, u32, u32);
/// Frame, name of the pack, offset, stored bytes, number of the pack.
type PlaceRow = (Vec<u8>, Vec<u8>, i64, u32, i64);

/// A path of a cache, but for its manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPath {
    /// The path.
    pub path: StorePath,
    /// SHA-256 of the NAR.
    pub nar_hash: NarHash,
    /// Bytes of the NAR.
    pub nar_size: u64,
    /// Base names, sorted, each once.
    pub references: Vec<String>,
    /// Base name of the derivation.
    pub deriver: Option<String>,
    /// Content address.
    pub ca: Option<String>,
    /// Signatures that came with the upload.
    pub sigs: Vec<String>,
    /// Who pushed it.
    pub created_by: Option<String>,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Bytes that are sent for the NAR.
    pub file_size: u64,
    /// BLAKE3 of the manifest.
    pub etag: Digest,
    /// Some of its frames are lost: it counts as missing.
    pub damaged: bool,
    /// It was removed: only its NAR hash still matters.
    pub removed: bool,
}

/// A stored frame of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownFrame {
    /// The frame.
    pub frame: Digest,
    /// Stored bytes.
    pub stored: u32,
    /// Bytes when decompressed.
    pub raw: u32,
}

/// Where a frame lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The pack.
    pub pack: PackName,
    /// Offset in bytes.
    pub offset: u64,
    /// Stored bytes.
    pub stored: u32,
}

impl Index {
    /// All caches, by name.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn caches(&self) -> Result<Vec<CacheRecord>, IndexError> {
        let rows: Vec<(Vec<u8>,)> = sqlx::query_as("SELECT record FROM caches ORDER BY name")
            .fetch_all(&self.readers)
            .await
            .map_err(IndexError::query("caches"))?;
        rows.iter()
            .map(|(record,)| postcard::from_bytes(record).map_err(|_| IndexError::Corrupt { what: "cache" }))
            .collect()
    }

    /// A path of a cache, also one that is damaged or removed.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn path(
        &self,
        cache: &CacheName,
        hash: &StorePathHash,
    ) -> Result<Option<StoredPath>, IndexError> {
        let row = sqlx::query(
            "SELECT p.path, nar_hash, nar_size, refs, deriver, ca, sigs, created_by, created_at, file_size, etag, removed,
                    EXISTS (SELECT 1 FROM wanted w WHERE w.path = p.id) AS damaged
             FROM paths p JOIN caches c ON p.cache = c.id WHERE c.name = ? AND p.hash = ?",
        )
        .bind(cache.as_str())
        .bind(hash.as_str())
        .fetch_optional(&self.readers)
        .await
        .map_err(IndexError::query("path"))?;
        row.as_ref().map(stored_path).transpose()
    }

    /// The manifest of a path that is there.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn manifest(
        &self,
        cache: &CacheName,
        hash: &StorePathHash,
    ) -> Result<Option<Vec<u8>>, IndexError> {
        let row: Option<(Vec<u8>,)> = sqlx::query_as(
            "SELECT m.body FROM manifests m JOIN paths p ON m.path = p.id JOIN caches c ON p.cache = c.id
             WHERE c.name = ? AND p.hash = ? AND p.removed = 0",
        )
        .bind(cache.as_str())
        .bind(hash.as_str())
        .fetch_optional(&self.readers)
        .await
        .map_err(IndexError::query("manifest"))?;
        Ok(row.map(|(body,)| body))
    }

    /// Those of `hashes` that the cache holds whole.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn present(
        &self,
        cache: &CacheName,
        hashes: &[StorePathHash],
    ) -> Result<HashSet<StorePathHash>, IndexError> {
        let list: Vec<&str> = hashes.iter().map(StorePathHash::as_str).collect();
        let list = serde_json::to_string(&list).map_err(|_| IndexError::Record { what: "hashes" })?;
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT p.hash FROM json_each(?) j CROSS JOIN paths p
             WHERE p.cache = (SELECT id FROM caches WHERE name = ?) AND p.hash = j.value
               AND p.removed = 0 AND NOT EXISTS (SELECT 1 FROM wanted w WHERE w.path = p.id)",
        )
        .bind(list)
        .bind(cache.as_str())
        .fetch_all(&self.readers)
        .await
        .map_err(IndexError::query("present paths"))?;
        rows.iter()
            .map(|(hash,)| {
                hash.parse().map_err(|_| IndexError::Corrupt {
                    what: "store path hash",
                })
            })
            .collect()
    }

    /// For each of `pieces` that is stored, a frame of it.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn frames_of(&self, pieces: &[Digest]) -> Result<HashMap<Digest, KnownFrame>, IndexError> {
        let rows: Vec<PieceRow> = self.ask_digests("frames of pieces", "SELECT f.piece, f.frame, f.stored, f.raw FROM json_each(?1) j CROSS JOIN digests d CROSS JOIN frames f
                 WHERE d.digest = unhex(substr(j.value, 1, 16)) AND f.pack = d.pack AND f.offset = d.offset AND f.piece = unhex(j.value)
                 UNION ALL SELECT f.piece, f.frame, f.stored, f.raw FROM json_each(?2) j CROSS JOIN young d CROSS JOIN frames f
                 WHERE d.digest = unhex(substr(j.value, 1, 16)) AND f.pack = d.pack AND f.offset = d.offset AND f.piece = unhex(j.value)", pieces).await?;
        rows.iter()
            .map(|(piece, frame, stored, raw)| {
                Ok((
                    digest(piece)?,
                    KnownFrame {
                        frame: digest(frame)?,
                        stored: *stored,
                        raw: *raw,
                    },
                ))
            })
            .collect()
    }

    /// Where each of `frames` lies, as far as it is stored.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn places(&self, frames: &[Digest]) -> Result<HashMap<Digest, Place>, IndexError> {
        let mut rows: Vec<PlaceRow> = self.ask_digests("places of frames", "SELECT f.frame, p.name, f.offset, f.stored, f.pack FROM json_each(?1) j CROSS JOIN digests d CROSS JOIN frames f CROSS JOIN packs p
                 WHERE d.digest = unhex(substr(j.value, 1, 16)) AND f.pack = d.pack AND f.offset = d.offset AND f.frame = unhex(j.value)
                   AND p.id = f.pack
                 UNION ALL SELECT f.frame, p.name, f.offset, f.stored, f.pack FROM json_each(?2) j CROSS JOIN young d CROSS JOIN frames f CROSS JOIN packs p
                 WHERE d.digest = unhex(substr(j.value, 1, 16)) AND f.pack = d.pack AND f.offset = d.offset AND f.frame = unhex(j.value)
                   AND p.id = f.pack", frames).await?;
        // Ordered so that of several copies the one in the oldest pack stays.
        rows.sort_unstable_by_key(|(.., pack)| std::cmp::Reverse(*pack));
        rows.iter()
            .map(|(frame, pack, offset, stored, _)| {
                let name = pack
                    .as_slice()
                    .try_into()
                    .map_err(|_| IndexError::Corrupt { what: "pack name" })?;
                let offset = u64::try_from(*offset).map_err(|_| IndexError::Corrupt { what: "offset" })?;
                Ok((
                    digest(frame)?,
                    Place {
                        pack: PackName(name),
                        offset,
                        stored: *stored,
                    },
                ))
            })
            .collect()
    }

    /// What the index knows about a request, for [`hayloft_store::commit::Admission`].
    ///
    /// # Errors
    /// When the index fails.
    pub async fn facts(&self, records: &[Record]) -> Result<Facts, IndexError> {
        let mut facts = Facts {
            caches: self.cache_names().await?,
            frames: HashSet::new(),
            nar_hashes: BTreeMap::new(),
            ..Facts::default()
        };
        for record in records {
            self.pack_facts(record, &mut facts).await?;
            let Record::PathAdded(path) = record else { continue };
            if let Some(known) = self.path(&path.cache, &path.path.hash()).await? {
                let at = (path.cache.clone(), path.path.hash());
                facts.nar_hashes.insert(at, *known.nar_hash.as_bytes());
            }
            // A manifest that does not parse is refused by the admission itself.
            let Ok(manifest) = Manifest::decode(&path.manifest) else {
                continue;
            };
            let frames: Vec<Digest> = manifest.frames().collect();
            let rows: Vec<(Vec<u8>,)> = self.ask_digests("known frames", "SELECT f.frame FROM json_each(?1) j CROSS JOIN digests d CROSS JOIN frames f
                     WHERE d.digest = unhex(substr(j.value, 1, 16)) AND f.pack = d.pack AND f.offset = d.offset AND f.frame = unhex(j.value)
                     UNION ALL SELECT f.frame FROM json_each(?2) j CROSS JOIN young d CROSS JOIN frames f
                     WHERE d.digest = unhex(substr(j.value, 1, 16)) AND f.pack = d.pack AND f.offset = d.offset AND f.frame = unhex(j.value)", &frames).await?;
            for (frame,) in rows {
                facts.frames.insert(digest(&frame)?);
            }
        }
        Ok(facts)
    }

    async fn cache_names(&self) -> Result<BTreeSet<CacheName>, IndexError> {
        let rows: Vec<(String,)> = sqlx::query_as("SELECT name FROM caches")
            .fetch_all(&self.readers)
            .await
            .map_err(IndexError::query("cache names"))?;
        rows.iter()
            .map(|(name,)| {
                name.parse()
                    .map_err(|_| IndexError::Corrupt { what: "cache name" })
            })
            .collect()
    }
}

fn stored_path(row: &SqliteRow) -> Result<StoredPath, IndexError> {
    let failed = IndexError::query("read a path");
    let corrupt = |what| move |_| IndexError::Corrupt { what };
    let list = |text: String| -> Result<Vec<String>, IndexError> {
        serde_json::from_str(&text).map_err(|_| IndexError::Corrupt {
            what: "list of a path",
        })
    };
    let path: String = row.try_get("path").map_err(&failed)?;
    let nar_hash: Vec<u8> = row.try_get("nar_hash").map_err(&failed)?;
    let nar_size: i64 = row.try_get("nar_size").map_err(&failed)?;
    let file_size: i64 = row.try_get("file_size").map_err(&failed)?;
    let etag: Vec<u8> = row.try_get("etag").map_err(&failed)?;
    Ok(StoredPath {
        path: path
            .parse()
            .map_err(|_| IndexError::Corrupt { what: "store path" })?,
        nar_hash: NarHash::new(*digest(&nar_hash)?.as_bytes()),
        nar_size: u64::try_from(nar_size).map_err(corrupt("size"))?,
        references: list(row.try_get("refs").map_err(&failed)?)?,
        deriver: row.try_get("deriver").map_err(&failed)?,
        ca: row.try_get("ca").map_err(&failed)?,
        sigs: list(row.try_get("sigs").map_err(&failed)?)?,
        created_by: row.try_get("created_by").map_err(&failed)?,
        created_at: row.try_get("created_at").map_err(&failed)?,
        file_size: u64::try_from(file_size).map_err(corrupt("size"))?,
        etag: digest(&etag)?,
        damaged: row.try_get("damaged").map_err(&failed)?,
        removed: row.try_get("removed").map_err(&failed)?,
    })
}

pub(crate) fn digest(bytes: &[u8]) -> Result<Digest, IndexError> {
    Digest::from_slice(bytes).ok_or(IndexError::Corrupt { what: "digest" })
}
