//! Comparing the block names of former and new holders, partition by partition, in the background.
//!
//! A name that a former holder lists and a new one does not is looked at again: it may be on its way, or be of a block that
//! nobody refers to any more, which Garage deletes when its delay is over. What is pushed and deleted meanwhile therefore
//! does not keep a comparison from ending.

mod merge;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hayloft_api::HostName;
use hayloft_api::question::BlockName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

use self::merge::absences;
use crate::Links;
use crate::ask_agent::AskError;

/// After each partition the comparison rests, so that hosts have their disks for clients.
const REST: Duration = Duration::from_millis(2);
/// A name that was missing for so long is asked Garage about.
const YOUNG: Duration = Duration::from_secs(3);
/// Without any progress for so long, the comparison ends with what is missing.
const PATIENCE: Duration = Duration::from_secs(20);
/// Partitions with missing names are listed again so often.
const AGAIN: Duration = Duration::from_secs(1);
/// The most names that are kept track of. Beyond it they are only counted.
const MOST: usize = 50_000;
/// Of those that are missing in the end, so many are shown in the log.
const SHOWN: usize = 5;
/// How many names Garage is asked about before partitions are listed again.
const LOOKUPS: usize = 64;

/// What is to be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    /// By partition, who must list what anybody of them lists.
    pub(crate) partitions: BTreeMap<u8, Parties>,
    /// Where an earlier try had come to.
    pub(crate) from: Comparing,
}

/// Who is compared with whom, in one partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Parties {
    /// Holders before.
    pub(crate) former: BTreeSet<HostName>,
    /// Holders now.
    pub(crate) holders: BTreeSet<HostName>,
}

/// How far a comparison has come. Kept, so that it is resumed after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Comparing {
    /// When its first list was asked for.
    pub(crate) began: Timestamp,
    /// Partitions that were listed.
    pub(crate) listed: BTreeSet<u8>,
    /// Those of them in which something was missing when they were last listed.
    pub(crate) open: BTreeSet<u8>,
    /// Blocks that were compared.
    pub(crate) of: u64,
    /// Blocks that are missing, as far as is known.
    pub(crate) missing: u64,
}

impl Comparing {
    pub(crate) fn new(began: Timestamp) -> Self {
        Self {
            began,
            listed: BTreeSet::new(),
            open: BTreeSet::new(),
            of: 0,
            missing: 0,
        }
    }
}

/// A comparison as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum View {
    /// It goes on.
    Running(Comparing),
    /// It ended.
    Done(Comparing),
    /// It could not be done.
    Failed(Comparing, String),
}

/// Tells whether anybody refers to a block, by Garage's own count.
pub(crate) trait Referred {
    /// Of these names, those that are still needed on some node.
    fn needed(&self, names: &[BlockName])
    -> impl Future<Output = Result<BTreeSet<BlockName>, String>> + Send;
}

/// Compares, and tells how far it is as it goes.
pub(crate) async fn compare<R: Referred + Sync>(
    job: Job,
    links: watch::Receiver<Links>,
    referred: R,
    view: watch::Sender<View>,
) {
    let mut work = Work {
        so_far: job.from,
        partitions: job.partitions,
        links,
        referred,
        missing: BTreeMap::new(),
        unneeded: BTreeSet::new(),
        view,
    };
    let ended = work.run().await;
    let so_far = work.so_far;
    work.view.send_replace(match ended {
        Ok(()) => View::Done(so_far),
        Err(why) => View::Failed(so_far, why),
    });
}

struct Work<R> {
    so_far: Comparing,
    partitions: BTreeMap<u8, Parties>,
    links: watch::Receiver<Links>,
    referred: R,
    /// Names that are missing, and since when they were seen to be.
    missing: BTreeMap<BlockName, Instant>,
    /// Names that nobody refers to.
    unneeded: BTreeSet<BlockName>,
    view: watch::Sender<View>,
}

impl<R: Referred + Sync> Work<R> {
    async fn run(&mut self) -> Result<(), String> {
        let todo: Vec<u8> = self.partitions.keys().copied().collect();
        for partition in todo {
            if !self.so_far.listed.contains(&partition) {
                self.list(partition).await?;
                self.tell();
                tokio::time::sleep(REST).await;
            }
        }
        let mut progress = Instant::now();
        let mut least = usize::MAX;
        while !self.so_far.open.is_empty() && progress.elapsed() < PATIENCE {
            let open: Vec<u8> = self.so_far.open.iter().copied().collect();
            for partition in open {
                self.list(partition).await?;
                tokio::time::sleep(REST).await;
            }
            self.look_up().await?;
            if self.missing.len() < least {
                least = self.missing.len();
                progress = Instant::now();
            }
            self.tell();
            if !self.so_far.open.is_empty() {
                tokio::time::sleep(AGAIN).await;
            }
        }
        for name in self.missing.keys().take(SHOWN) {
            tracing::debug!(%name, "a block is missing somewhere");
        }
        Ok(())
    }

    fn tell(&mut self) {
        self.so_far.missing = u64::try_from(self.missing.len()).unwrap_or(u64::MAX);
        self.view.send_replace(View::Running(self.so_far.clone()));
    }

    /// Lists one partition of all who hold or held it.
    async fn list(&mut self, partition: u8) -> Result<(), String> {
        let Some(parties) = self.partitions.get(&partition) else {
            return Ok(());
        };
        let links = self.links.borrow().clone();
        let found = absences(partition, parties, &links)
            .await
            .map_err(|error: AskError| match &error {
                AskError::Refused { source, .. } => format!("{error}: {source}"),
                _ => error.to_string(),
            })?;
        if self.so_far.listed.insert(partition) {
            self.so_far.of += found.compared;
        }
        let now = Instant::now();
        let absent: BTreeSet<BlockName> = found
            .absent
            .into_iter()
            .filter(|name| !self.unneeded.contains(name))
            .collect();
        self.missing
            .retain(|name, _| name.partition() != partition || absent.contains(name));
        for name in &absent {
            if self.missing.len() < MOST {
                self.missing.entry(*name).or_insert(now);
            }
        }
        if absent.is_empty() {
            self.so_far.open.remove(&partition);
        } else {
            self.so_far.open.insert(partition);
        }
        Ok(())
    }

    /// Asks Garage about names that have been missing for a while.
    async fn look_up(&mut self) -> Result<(), String> {
        let old: Vec<BlockName> = self
            .missing
            .iter()
            .filter(|(_, since)| since.elapsed() >= YOUNG)
            .map(|(name, _)| *name)
            .take(LOOKUPS)
            .collect();
        if old.is_empty() {
            return Ok(());
        }
        let needed = self.referred.needed(&old).await?;
        for name in old.into_iter().filter(|name| !needed.contains(name)) {
            self.missing.remove(&name);
            self.unneeded.insert(name);
            if self.unneeded.len() > MOST {
                self.unneeded.pop_first();
            }
        }
        self.so_far
            .open
            .retain(|partition| self.missing.keys().any(|name| name.partition() == *partition));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
