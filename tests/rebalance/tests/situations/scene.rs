//! A cluster with clients at work, and a change that is watched.

use std::time::Duration;

use anyhow::Result;
use hayloft_api::status::{ConditionType, Status};
use hayloft_api::{Document, HostName};
use hayloft_rebalance::{Change, Cluster, Load, Row, Score, host, ready};

use crate::{CHILD, TABLE};

/// Objects that lie in the bucket before anything happens: some 20 MB, in every third partition or so.
pub(crate) const OBJECTS: usize = 60;

/// What Garage could not move it tries again after one minute, then after two more (its resync backoff).
const PLACED: Duration = Duration::from_secs(300);

/// A cluster with clients at work.
pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    pub(crate) load: Load,
}

impl Scene {
    /// `hosts` hosts; the gateway that clients use knows the first three.
    pub(crate) async fn set(hosts: u8) -> Result<Self> {
        Self::with(hosts, |_| {}).await
    }

    /// The same with a say in the document.
    pub(crate) async fn with(hosts: u8, change: impl FnOnce(&mut Document)) -> Result<Self> {
        let cluster = Cluster::assemble(CHILD, hosts, hosts, change).await?;
        cluster.until("ready", ready).await?;
        let through: Vec<u8> = (1..=hosts.min(3)).collect();
        let mut load = cluster.load(&through, OBJECTS).await?;
        load.follow(cluster.host(&host(1)?)?.desired());
        if hosts > 4 {
            load.be_gentle(3);
        }
        load.begin();
        Ok(Self { cluster, load })
    }

    /// Waits until a change is settled and placed, lets clients finish, and writes the line for the table.
    pub(crate) async fn finish(&mut self, mut change: Change) -> Result<(Row, Score)> {
        change.settled(&self.cluster).await?;
        change.placed_within(PLACED, &self.cluster).await?;
        let score = self.load.end().await;
        let row = change.row(&self.cluster, &score)?;
        row.keep(TABLE)?;
        Ok((row, score))
    }

    /// Reads everything, and stops.
    pub(crate) async fn close(self) -> Result<()> {
        self.load.read_all().await?;
        self.cluster.stop().await;
        Ok(())
    }
}

/// What a condition says, if it does not hold.
pub(crate) fn trouble(status: &Status, kind: ConditionType) -> Option<String> {
    let condition = status.condition(kind)?;
    (!condition.status).then(|| condition.message.clone())
}

/// Whether a host has a role.
pub(crate) fn in_layout(status: &Status, name: &HostName) -> bool {
    status
        .hosts
        .iter()
        .any(|known| known.name == *name && known.in_layout)
}

/// Whether a host is seen to be up.
pub(crate) fn is_up(status: &Status, name: &HostName) -> bool {
    status.hosts.iter().any(|known| known.name == *name && known.up)
}

/// The names of some hosts.
pub(crate) fn hosts(numbers: &[u8]) -> Result<Vec<HostName>> {
    numbers.iter().map(|n| host(*n)).collect()
}
