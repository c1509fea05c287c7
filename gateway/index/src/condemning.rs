//! What the committer must know before packs are condemned.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use hayloft_store::Digest;
use hayloft_store::commit::{Facts, HeldFrame, PackState};
use hayloft_store::key::PackName;
use hayloft_store::log::record::Record;
use hayloft_store::manifest::Manifest;

use crate::ask::digest;
use crate::{Index, IndexError};

/// Manifests that are read at a time.
const MANIFESTS: usize = 50;

impl Index {
    /// Adds what a record about packs or collected paths must be checked against.
    pub(crate) async fn pack_facts(&self, record: &Record, facts: &mut Facts) -> Result<(), IndexError> {
        match record {
            Record::PackAdded(pack) => {
                if let Some(state) = self.pack_state(pack.name).await? {
                    facts.packs.insert(pack.name, state);
                }
            }
            Record::PacksCondemned(packs) => {
                for pack in packs {
                    if let Some(state) = self.pack_state(*pack).await? {
                        facts.packs.insert(*pack, state);
                    }
                }
                facts.condemning.extend(self.held(packs).await?);
            }
            Record::PathsCollected { .. } => facts.unseen |= self.arrivals.unseen(),
            _ => {}
        }
        Ok(())
    }

    async fn pack_state(&self, name: PackName) -> Result<Option<PackState>, IndexError> {
        let (registered, condemned): (bool, bool) = sqlx::query_as(
            "SELECT EXISTS (SELECT 1 FROM packs WHERE name = ?1), EXISTS (SELECT 1 FROM condemned WHERE name = ?1)",
        )
        .bind(name.0.to_vec())
        .fetch_one(&self.readers)
        .await
        .map_err(IndexError::query("state of a pack"))?;
        Ok(match (registered, condemned) {
            (_, true) => Some(PackState::Condemned),
            (true, false) => Some(PackState::Registered),
            (false, false) => None,
        })
    }

    /// What `packs` hold, where else it lies, and whether a path needs it.
    pub(crate) async fn held(
        &self,
        packs: &[PackName],
    ) -> Result<BTreeMap<PackName, Vec<HeldFrame>>, IndexError> {
        let failed = IndexError::query("what packs hold");
        let mut held: BTreeMap<PackName, HashMap<Digest, Vec<PackName>>> = BTreeMap::new();
        for pack in packs {
            let rows: Vec<(Vec<u8>, Option<Vec<u8>>)> = sqlx::query_as(
                "SELECT f.frame, NULL FROM packs p CROSS JOIN frames f WHERE p.name = ?1 AND f.pack = p.id
                 UNION ALL SELECT f.frame, o.name FROM packs p CROSS JOIN frames f CROSS JOIN digests d CROSS JOIN frames f2 CROSS JOIN packs o
                 WHERE p.name = ?1 AND f.pack = p.id AND d.digest = substr(f.frame, 1, 8) AND f2.pack = d.pack AND f2.offset = d.offset
                   AND f2.frame = f.frame AND f2.pack <> f.pack AND o.id = f2.pack
                 UNION ALL SELECT f.frame, o.name FROM packs p CROSS JOIN frames f CROSS JOIN young d CROSS JOIN frames f2 CROSS JOIN packs o
                 WHERE p.name = ?1 AND f.pack = p.id AND d.digest = substr(f.frame, 1, 8) AND f2.pack = d.pack AND f2.offset = d.offset
                   AND f2.frame = f.frame AND f2.pack <> f.pack AND o.id = f2.pack",
            )
            .bind(pack.0.to_vec())
            .fetch_all(&self.readers)
            .await
            .map_err(&failed)?;
            let frames = held.entry(*pack).or_default();
            for (frame, other) in rows {
                let elsewhere = frames.entry(digest(&frame)?).or_default();
                elsewhere.extend(other.map(|name| pack_name(&name)).transpose()?);
            }
        }
        let going: HashSet<PackName> = packs.iter().copied().collect();
        // Only of what nobody else holds it matters whether it is needed.
        let alone: HashSet<Digest> = held
            .values()
            .flatten()
            .filter(|(_, elsewhere)| elsewhere.iter().all(|other| going.contains(other)))
            .map(|(frame, _)| *frame)
            .collect();
        let needed = self.needed_of(packs, &alone, |_| true).await?;
        Ok(held
            .into_iter()
            .map(|(pack, frames)| {
                let frames = frames.into_iter().map(|(frame, elsewhere)| HeldFrame {
                    frame,
                    elsewhere,
                    needed: needed.contains(&frame),
                });
                (pack, frames.collect())
            })
            .collect())
    }

    /// Those of the frames `among` that paths need which are noted with `packs`, as far as `counts` says that the
    /// path, by its number, counts. Memory: the numbers of the paths, and a few manifests.
    pub(crate) async fn needed_of(
        &self,
        packs: &[PackName],
        among: &HashSet<Digest>,
        counts: impl Fn(i64) -> bool,
    ) -> Result<HashSet<Digest>, IndexError> {
        let failed = IndexError::query("who needs packs");
        let mut needed = HashSet::new();
        if among.is_empty() {
            return Ok(needed);
        }
        let mut paths: BTreeSet<i64> = BTreeSet::new();
        for pack in packs {
            let rows: Vec<(i64,)> = sqlx::query_as(
                "SELECT pp.path FROM packs p CROSS JOIN path_packs pp WHERE p.name = ? AND pp.pack = p.id",
            )
            .bind(pack.0.to_vec())
            .fetch_all(&self.readers)
            .await
            .map_err(&failed)?;
            paths.extend(rows.into_iter().map(|(path,)| path).filter(|path| counts(*path)));
        }
        let paths: Vec<i64> = paths.into_iter().collect();
        for some in paths.chunks(MANIFESTS) {
            let list = serde_json::to_string(some).map_err(|_| IndexError::Record { what: "paths" })?;
            let rows: Vec<(Vec<u8>,)> = sqlx::query_as(
                "SELECT m.body FROM json_each(?) j CROSS JOIN manifests m WHERE m.path = j.value",
            )
            .bind(list)
            .fetch_all(&self.readers)
            .await
            .map_err(&failed)?;
            for (body,) in rows {
                let manifest =
                    Manifest::decode(&body).map_err(|_| IndexError::Corrupt { what: "manifest" })?;
                needed.extend(manifest.frames().filter(|frame| among.contains(frame)));
            }
            if needed.len() == among.len() {
                break;
            }
        }
        Ok(needed)
    }
}

pub(crate) fn pack_name(bytes: &[u8]) -> Result<PackName, IndexError> {
    bytes
        .try_into()
        .map(PackName)
        .map_err(|_| IndexError::Corrupt { what: "pack name" })
}
