//! What a change of membership cost, seen from outside.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hayloft_api::status::{ConditionType, Status};
use hayloft_api::{HostName, NodeId};
use serde::{Deserialize, Serialize};

use crate::disk::{Blocks, partition};
use crate::map::LayoutMap;
use crate::{Cluster, PATIENCE, Score};

/// A change under way, with all that lay where before it began.
pub struct Change {
    what: String,
    began: Instant,
    before: LayoutMap,
    disks: BTreeMap<HostName, Blocks>,
    /// Disks that were lost meanwhile.
    gone: Vec<Blocks>,
    hosts: u64,
    settled: Option<Duration>,
    placed: Option<Duration>,
}

/// One line of the table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    /// What was changed.
    pub change: String,
    /// Storage hosts before.
    pub hosts_before: u64,
    /// Storage hosts after.
    pub hosts_after: u64,
    /// Copies of partitions that got a new holder.
    pub partitions_moved: u64,
    /// The fewest that could have.
    pub partitions_least: u64,
    /// Bytes of blocks that were there before and lie on disks now where they neither lay nor were to lie then.
    pub bytes_moved: u64,
    /// Bytes that new holders had to get.
    pub bytes_least: u64,
    /// Seconds from the declaration until metadata was synced.
    pub settled_seconds: f64,
    /// Seconds from the declaration until every block lay where the version wants it.
    pub placed_seconds: f64,
    /// Requests of clients meanwhile.
    pub requests: u64,
    /// Those that failed.
    pub failed: u64,
}

/// Whether the coordinator says that every block lies where the layout wants it, in this version or a later one.
#[must_use]
pub fn claims_placed(status: &Status, version: u64) -> bool {
    status.layout.version >= version
        && status.layout.settled
        && status
            .condition(ConditionType::Placed)
            .is_some_and(|placed| placed.status)
        && status.moves.iter().all(|one| one.placed == 1000)
}

impl Change {
    /// Looks at everything, and starts the clock.
    ///
    /// # Errors
    /// When there is no layout yet.
    pub fn begin(cluster: &Cluster, what: &str) -> Result<Self> {
        let before = cluster.layout()?;
        Ok(Self {
            what: what.to_owned(),
            hosts: before.counts().len() as u64,
            before,
            disks: cluster.disks(),
            gone: Vec::new(),
            settled: None,
            placed: None,
            began: Instant::now(),
        })
    }

    /// The version that was in force before.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.before.version
    }

    /// A host's disk is empty since then: all that it gets back is moved.
    pub fn lost(&mut self, host: &HostName) {
        if let Some(disk) = self.disks.remove(host) {
            self.gone.push(disk);
        }
    }

    /// All blocks that lay anywhere, with their sizes.
    #[must_use]
    pub fn blocks(&self) -> Blocks {
        let disks = self.disks.values().chain(&self.gone);
        Blocks(disks.flat_map(|disk| disk.0.clone()).collect())
    }

    /// Waits until the version after the one before, or a later one, is settled.
    ///
    /// # Errors
    /// When it is not in time.
    pub async fn settled(&mut self, cluster: &Cluster) -> Result<Status> {
        let next = self.version() + 1;
        let status = cluster
            .until("settled", |status| {
                status.layout.version >= next && status.layout.settled
            })
            .await?;
        self.settled = Some(self.began.elapsed());
        Ok(status)
    }

    /// Blocks that were there before and that their holders of now do not have: `partition of holder`. While the version is the same,
    /// a copy that was still under way when counting began is not looked for: the layout asks nobody to bring it soon.
    ///
    /// # Errors
    /// When a holder is no host of this cluster.
    pub fn missing(&self, cluster: &Cluster) -> Result<Vec<String>> {
        let (after, nodes, disks) = (cluster.layout()?, cluster.nodes(), cluster.disks());
        let moved = after.version != self.before.version;
        let mut missing = Vec::new();
        for name in self.blocks().0.keys() {
            let holders = partition(name).and_then(|p| after.holders.get(usize::from(p)));
            for id in holders.context("no such partition")? {
                let host = nodes.get(id).with_context(|| format!("who is {id}?"))?;
                let had = || self.disks.get(host).is_none_or(|disk| disk.0.contains_key(name));
                let has = disks.get(host).is_some_and(|disk| disk.0.contains_key(name));
                if !has && (moved || had()) {
                    missing.push(format!("{} on {host}", name.get(..8).unwrap_or(name)));
                }
            }
        }
        Ok(missing)
    }

    /// Waits until the coordinator says that all is placed, and looks whether it is.
    ///
    /// # Errors
    /// When it does not say so in time, or says so too early.
    pub async fn placed(&mut self, cluster: &Cluster) -> Result<Status> {
        self.placed_within(PATIENCE, cluster).await
    }

    /// The same within another time.
    ///
    /// # Errors
    /// As [`Change::placed`].
    pub async fn placed_within(&mut self, patience: Duration, cluster: &Cluster) -> Result<Status> {
        let next = self.version() + 1;
        let status = cluster
            .until_within(patience, "placed", |status| claims_placed(status, next))
            .await
            .with_context(|| format!("of what was there before is missing: {:?}", self.missing(cluster)))?;
        self.placed = Some(self.began.elapsed());
        let missing = self.missing(cluster)?;
        ensure!(missing.is_empty(), "said to be placed, and is not: {missing:?}");
        Ok(status)
    }

    /// The line for the table. To be called when everything is placed.
    ///
    /// # Errors
    /// When the change is not over.
    pub fn row(&self, cluster: &Cluster, score: &Score) -> Result<Row> {
        let after = cluster.layout()?;
        let (nodes, disks) = (cluster.nodes(), cluster.disks());
        let gains = self.before.gains(&after);
        let mut bytes_least = 0;
        for (name, size) in self.blocks().0 {
            let new = partition(&name).and_then(|p| gains.get(usize::from(p)));
            let held = |host: &HostName| {
                self.disks
                    .get(host)
                    .is_some_and(|disk| disk.0.contains_key(&name))
            };
            let lacking = new
                .into_iter()
                .flatten()
                .filter(|id| !nodes.get(id).is_some_and(held));
            bytes_least += size * lacking.count() as u64;
        }
        let blocks = self.blocks();
        let mut bytes_moved = 0;
        for (host, disk) in &disks {
            let had = self.disks.get(host);
            for (name, size) in &disk.0 {
                let new = !had.is_some_and(|had| had.0.contains_key(name));
                // An upload is acknowledged with two copies: the third, to a holder of before, was under way, and is no move.
                let owed = had.is_some() && self.held(&nodes, host, name);
                if new && !owed && blocks.0.contains_key(name) {
                    bytes_moved += size;
                }
            }
        }
        Ok(Row {
            change: self.what.clone(),
            hosts_before: self.hosts,
            hosts_after: after.counts().len() as u64,
            partitions_moved: self.before.moved(&after),
            partitions_least: self.before.least(&after),
            bytes_moved,
            bytes_least,
            settled_seconds: self.settled.context("not settled")?.as_secs_f64(),
            placed_seconds: self.placed.context("not placed")?.as_secs_f64(),
            requests: score.requests(),
            failed: score.failures.len() as u64,
        })
    }

    /// Whether a host was to hold a block before the change.
    fn held(&self, nodes: &BTreeMap<NodeId, HostName>, host: &HostName, name: &str) -> bool {
        let holders = partition(name).and_then(|p| self.before.holders.get(usize::from(p)));
        let mut holders = holders.into_iter().flatten();
        holders.any(|id| nodes.get(id) == Some(host))
    }
}

impl Row {
    /// Writes the line into a folder, for the table.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep(&self, dir: &str) -> Result<()> {
        let dir = Path::new(dir).join("rebalance");
        std::fs::create_dir_all(&dir)?;
        let name: String = self
            .change
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        Ok(std::fs::write(
            dir.join(format!("{name}.json")),
            serde_json::to_vec_pretty(self)?,
        )?)
    }
}
