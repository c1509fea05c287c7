//! Questions of whoever checks that the index and the bucket agree.

use hayloft_store::Digest;
use hayloft_store::key::PackName;
use hayloft_store::manifest::Manifest;
use hayloft_store::pack::PackedFrame;
use tokio_util::sync::CancellationToken;

use crate::apply::hex_list;
use crate::ask::digest;
use crate::collect::FrameRow;
use crate::condemning::pack_name;
use crate::{Index, IndexError};

/// A pack that is registered and not known to be damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownPack {
    /// Its name.
    pub name: PackName,
    /// Bytes of the object.
    pub size: u64,
    /// BLAKE3 of the object.
    pub digest: Digest,
}

/// Paths whose contents are looked at at a time.
const PAGE: i64 = 100;

impl Index {
    /// Up to `limit` packs behind `after`, in the order of their names. Those that are known to be damaged are left
    /// out: what is whole in them is moved by the next collection.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn packs_behind(
        &self,
        after: Option<PackName>,
        limit: u32,
    ) -> Result<Vec<KnownPack>, IndexError> {
        let after = after.map_or_else(Vec::new, |name| name.0.to_vec());
        let rows: Vec<(Vec<u8>, i64, Vec<u8>)> = sqlx::query_as(
            "SELECT name, size, digest FROM packs WHERE name > ? AND damaged = 0 ORDER BY name LIMIT ?",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(&self.readers)
        .await
        .map_err(IndexError::query("packs"))?;
        rows.iter()
            .map(|(name, size, hash)| {
                Ok(KnownPack {
                    name: pack_name(name)?,
                    size: u64::try_from(*size).map_err(|_| IndexError::Corrupt { what: "size" })?,
                    digest: digest(hash)?,
                })
            })
            .collect()
    }

    /// Whether a pack is registered and not condemned.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn is_registered(&self, name: PackName) -> Result<bool, IndexError> {
        let row: Option<(i64,)> = sqlx::query_as("SELECT 1 FROM packs WHERE name = ?")
            .bind(name.0.to_vec())
            .fetch_optional(&self.readers)
            .await
            .map_err(IndexError::query("a pack"))?;
        Ok(row.is_some())
    }

    /// The frames of a pack that are not known to be damaged, with their offsets, in order.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn frames_in(&self, name: PackName) -> Result<Vec<(u64, PackedFrame)>, IndexError> {
        let rows: Vec<FrameRow> = sqlx::query_as(
            "SELECT f.offset, f.frame, f.piece, f.stored, f.raw FROM packs p CROSS JOIN frames f
             WHERE p.name = ? AND f.pack = p.id ORDER BY f.offset",
        )
        .bind(name.0.to_vec())
        .fetch_all(&self.readers)
        .await
        .map_err(IndexError::query("frames of a pack"))?;
        rows.iter()
            .map(|(offset, frame, piece, stored, raw)| {
                let frame = PackedFrame {
                    piece: digest(piece)?,
                    frame: digest(frame)?,
                    stored: *stored,
                    raw: *raw,
                };
                let offset = u64::try_from(*offset).map_err(|_| IndexError::Corrupt { what: "offset" })?;
                Ok((offset, frame))
            })
            .collect()
    }

    /// How many paths are reported missing because something of them is damaged.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn paths_missing(&self) -> Result<u64, IndexError> {
        let (count,): (i64,) = sqlx::query_as("SELECT count(DISTINCT path) FROM wanted")
            .fetch_one(&self.readers)
            .await
            .map_err(IndexError::query("missing paths"))?;
        u64::try_from(count).map_err(|_| IndexError::Corrupt { what: "number" })
    }

    /// How many paths need a frame that no pack holds without being known to. There are none, unless the index is broken.
    /// Stops early when told to.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn paths_wrong(&self, stop: &CancellationToken) -> Result<u64, IndexError> {
        let failed = IndexError::query("check of paths");
        let (mut after, mut wrong) = (0_i64, 0);
        while !stop.is_cancelled() {
            let rows: Vec<(i64, Vec<u8>)> =
                sqlx::query_as("SELECT path, body FROM manifests WHERE path > ? ORDER BY path LIMIT ?")
                    .bind(after)
                    .bind(PAGE)
                    .fetch_all(&self.readers)
                    .await
                    .map_err(&failed)?;
            let Some((last, _)) = rows.last() else { break };
            after = *last;
            for (path, body) in rows {
                let manifest =
                    Manifest::decode(&body).map_err(|_| IndexError::Corrupt { what: "manifest" })?;
                let (lost,): (bool,) = sqlx::query_as(
                    "SELECT EXISTS (SELECT 1 FROM json_each(?) j
                         WHERE NOT EXISTS (SELECT 1 FROM digests d CROSS JOIN frames f WHERE d.digest = unhex(substr(j.value, 1, 16))
                                             AND f.pack = d.pack AND f.offset = d.offset AND f.frame = unhex(j.value))
                           AND NOT EXISTS (SELECT 1 FROM young d CROSS JOIN frames f WHERE d.digest = unhex(substr(j.value, 1, 16))
                                             AND f.pack = d.pack AND f.offset = d.offset AND f.frame = unhex(j.value))
                           AND NOT EXISTS (SELECT 1 FROM wanted w WHERE w.frame = unhex(j.value) AND w.path = ?))",
                )
                .bind(hex_list(manifest.frames()))
                .bind(path)
                .fetch_one(&self.readers)
                .await
                .map_err(&failed)?;
                wrong += u64::from(lost);
            }
        }
        Ok(wrong)
    }
}
