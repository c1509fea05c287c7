//! Which node holds which partition: read from the file that Garage keeps, for its API does not tell.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hayloft_api::NodeId;
use rmpv::Value;

const MARKER: &[u8] = b"G010lh";

/// One version of the layout, partition by partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayoutMap {
    /// Its number.
    pub version: u64,
    /// The holders of each of the 256 partitions.
    pub holders: Vec<BTreeSet<NodeId>>,
}

impl LayoutMap {
    /// The newest version in `metadata_dir/cluster_layout`.
    ///
    /// # Errors
    /// When there is no such file, or it is not what Garage 2 writes.
    pub fn newest(metadata_dir: &Path) -> Result<Self> {
        let mut all = Self::all(metadata_dir);
        // Garage writes the file in place: it may be read half written, for long on a busy disk.
        for _ in 0..250 {
            if all.is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
            all = Self::all(metadata_dir);
        }
        all?.into_iter()
            .max_by_key(|map| map.version)
            .context("no version in the file")
    }

    /// All versions in the file, also those of no effect any more.
    ///
    /// # Errors
    /// As [`LayoutMap::newest`].
    pub fn all(metadata_dir: &Path) -> Result<Vec<Self>> {
        let bytes = fs::read(metadata_dir.join("cluster_layout"))?;
        let packed = bytes.strip_prefix(MARKER).context("not a layout of Garage 2")?;
        let history = rmpv::decode::read_value(&mut &*packed)?;
        let mut maps = Vec::new();
        for part in ["versions", "old_versions"] {
            for version in field(&history, part)?.as_array().context("no list")? {
                let map = Self::read(version)?;
                if !map.holders.is_empty() {
                    maps.push(map);
                }
            }
        }
        Ok(maps)
    }

    fn read(version: &Value) -> Result<Self> {
        let number = field(version, "version")?.as_u64().context("no number")?;
        let factor = field(version, "replication_factor")?
            .as_u64()
            .context("no factor")?;
        let factor = usize::try_from(factor)?;
        let ids: Vec<NodeId> = field(version, "node_id_vec")?
            .as_array()
            .context("no nodes")?
            .iter()
            .map(|id| {
                let bytes: [u8; 32] = id.as_slice().context("no id")?.try_into()?;
                Ok(NodeId::from_public_key(bytes))
            })
            .collect::<Result<_>>()?;
        let ring = field(version, "ring_assignment_data")?
            .as_slice()
            .context("no ring")?;
        let holders: Vec<BTreeSet<NodeId>> = ring
            .chunks(factor.max(1))
            .map(|places| {
                places
                    .iter()
                    .map(|place| ids.get(usize::from(*place)).copied().context("no such node"))
                    .collect::<Result<_>>()
            })
            .collect::<Result<_>>()?;
        ensure!(
            holders.is_empty() || holders.len() == 256,
            "{} partitions",
            holders.len()
        );
        Ok(Self {
            version: number,
            holders,
        })
    }

    /// How many partitions each node holds.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<NodeId, u64> {
        let mut counts = BTreeMap::new();
        for id in self.holders.iter().flatten() {
            *counts.entry(*id).or_default() += 1;
        }
        counts
    }

    /// Copies of partitions that get a new holder when `self` is followed by `next`.
    #[must_use]
    pub fn moved(&self, next: &Self) -> u64 {
        self.gains(next).iter().map(|new| new.len() as u64).sum()
    }

    /// Per partition, who holds it in `next` and not in `self`.
    #[must_use]
    pub fn gains(&self, next: &Self) -> Vec<BTreeSet<NodeId>> {
        next.holders
            .iter()
            .enumerate()
            .map(|(partition, after)| match self.holders.get(partition) {
                Some(before) => after.difference(before).copied().collect(),
                None => after.clone(),
            })
            .collect()
    }

    /// The fewest copies that must move so that every node holds as many partitions as in `next`.
    #[must_use]
    pub fn least(&self, next: &Self) -> u64 {
        let before = self.counts();
        next.counts()
            .iter()
            .map(|(id, after)| after.saturating_sub(before.get(id).copied().unwrap_or(0)))
            .sum()
    }
}

fn field<'a>(map: &'a Value, name: &str) -> Result<&'a Value> {
    map.as_map()
        .and_then(|pairs| pairs.iter().find(|(key, _)| key.as_str() == Some(name)))
        .map(|(_, value)| value)
        .with_context(|| format!("no field {name}"))
}
