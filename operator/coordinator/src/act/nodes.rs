//! What single nodes are told: repairs, how fast to move blocks; and comparing and keeping what they have.

use std::collections::BTreeSet;

use futures::future::join_all;
use hayloft_api::question::BlockName;
use hayloft_api::{HostName, NodeId};
use hayloft_engine::{MoveKey, RepairFacts, RepairKind, ResyncFacts, Upkeep};
use hayloft_garage::admin::{AdminError, Client, Repair, Scrub, Variable, Whom};

use super::{ActError, Actor, may_die};
use crate::moves::compare::{Referred, compare};
use crate::store::Kind;

impl Actor<'_> {
    /// Clears the resync queue of nodes that only receive, so that Garage's delay does not hold up what a repair finds.
    pub(super) async fn quicken(
        &mut self,
        through: &HostName,
        nodes: &BTreeSet<NodeId>,
    ) -> Result<(), ActError> {
        let client = self.client(through)?;
        for node in nodes {
            self.at(through, client.repair(*node, Repair::ClearResyncQueue).await)?;
            may_die!("after-clear");
            for record in self.memory.moves.records.values_mut() {
                let facts = &mut record.facts;
                if facts.awaits_blocks_of(*node) {
                    facts.quickened.insert(*node, self.now);
                }
            }
        }
        Ok(())
    }

    pub(super) async fn repair(
        &mut self,
        through: &HostName,
        nodes: &BTreeSet<NodeId>,
        kind: RepairKind,
    ) -> Result<(), ActError> {
        let client = self.client(through)?;
        let mut failed = None;
        for node in nodes {
            let done = match kind {
                RepairKind::Blocks => self.repair_blocks(&client, through, *node).await,
                RepairKind::Tables => {
                    let done = client.repair(*node, Repair::Tables).await;
                    for record in self.memory.moves.records.values_mut() {
                        if done.is_ok() && record.facts.placed.is_none() {
                            let launched = RepairFacts {
                                launched: self.now,
                                finished: None,
                                errors: 0,
                            };
                            record.facts.tables.insert(*node, launched);
                        }
                    }
                    self.at(through, done)
                }
                RepairKind::Scrub => {
                    let done = client.repair(*node, Repair::Scrub(Scrub::Start)).await;
                    self.memory.details.scrubbing.insert(*node);
                    self.at(through, done)
                }
            };
            match done {
                Ok(()) => self.note_upkeep(*node, kind).await?,
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn note_upkeep(&mut self, node: NodeId, kind: RepairKind) -> Result<(), ActError> {
        let Some(host) = self.memory.hosts_by_node().remove(&node) else {
            return Ok(());
        };
        let at = Some(self.now);
        let upkeep = self.memory.upkeep.entry(host.clone()).or_default();
        match kind {
            RepairKind::Blocks => upkeep.blocks = at,
            RepairKind::Tables => upkeep.tables = at,
            RepairKind::Scrub => upkeep.scrub = at,
        }
        let upkeep = upkeep.clone();
        self.store
            .put_record::<Upkeep>(Kind::Upkeep, &host, &upkeep)
            .await
            .map_err(ActError::Store)
    }

    /// Launches a repair, and finds the worker that does it: its end is the proof.
    async fn repair_blocks(
        &mut self,
        client: &Client,
        through: &HostName,
        node: NodeId,
    ) -> Result<(), ActError> {
        let name = Repair::Blocks.worker();
        let listed = || async {
            let answers = client.workers(Whom::One(node)).await?;
            let mine = answers.success.into_values().flatten();
            Ok(mine
                .filter(|worker| Some(worker.name.as_str()) == name)
                .map(|worker| worker.id)
                .collect::<BTreeSet<u64>>())
        };
        let before = self.at(through, listed().await)?;
        self.at(through, client.repair(node, Repair::Blocks).await)?;
        may_die!("after-launch");
        let after = self.at(through, listed().await)?;
        let worker = after.difference(&before).max().copied();
        let worker = worker.ok_or(ActError::Unlisted(node))?;
        let mut wanted = false;
        for record in self.memory.moves.records.values_mut() {
            let facts = &mut record.facts;
            if facts.awaits_blocks_of(node) {
                wanted = true;
                record.workers.insert(node, worker);
                facts.repairs.insert(
                    node,
                    RepairFacts {
                        launched: self.now,
                        finished: None,
                        errors: 0,
                    },
                );
            }
        }
        if !wanted {
            self.memory.details.upkeep.insert(node, worker);
        }
        Ok(())
    }

    pub(super) fn compare(&mut self, of: MoveKey) -> Result<(), ActError> {
        let Some(cluster) = &self.snapshot.cluster else {
            return Ok(());
        };
        let (current, through) = (cluster.layout.version, cluster.through.clone());
        let holders: BTreeSet<NodeId> = cluster
            .storage()
            .map(|(id, _)| id)
            .filter(|id| cluster.is_up(*id))
            .collect();
        let client = self.client(&through)?;
        let hosts = self.memory.hosts_by_node();
        let gone = self.memory.gone();
        let links = self.links.clone();
        let spawn = |job, view| {
            let referred = ByGarage { client, holders };
            tokio::spawn(compare(job, links, referred, view))
        };
        let began = self
            .memory
            .moves
            .compare(of, current, &hosts, &gone, self.now, spawn);
        began.map_err(ActError::NoComparison)
    }

    pub(super) async fn set_resync(
        &mut self,
        through: &HostName,
        nodes: &BTreeSet<NodeId>,
        setting: ResyncFacts,
    ) -> Result<(), ActError> {
        let client = self.client(through)?;
        let ResyncFacts { workers, tranquility } = setting;
        for node in nodes {
            let set = client
                .set_variable(*node, Variable::ResyncWorkers, u32::from(workers))
                .await;
            self.at(through, set)?;
            let set = client
                .set_variable(*node, Variable::ResyncTranquility, tranquility)
                .await;
            self.at(through, set)?;
            self.memory.details.resync.insert(*node, setting);
            if let Some(host) = self.memory.hosts_by_node().get(node) {
                self.memory.details.forget_speed(host);
            }
        }
        Ok(())
    }

    /// Begins to keep a snapshot elsewhere, in the background.
    pub(super) async fn keep_snapshot(&mut self, of: &HostName, on: &HostName) -> Result<(), ActError> {
        if self.memory.leftovers.contains_key(of) {
            // What is kept of the node that it was goes first, for it lies in the same place.
            return Ok(());
        }
        let node = self.memory.remembered.get(of).map(|host| host.id);
        let node = node.ok_or_else(|| ActError::Gone(of.clone()))?;
        let client = self.client(of)?;
        if self.snapshots.begin(of, on, node, client, self.links.clone()) {
            let upkeep = self.memory.upkeep.entry(of.clone()).or_default();
            upkeep.snapshot_tried = Some(self.now);
            let upkeep = upkeep.clone();
            self.store
                .put_record::<Upkeep>(Kind::Upkeep, of, &upkeep)
                .await
                .map_err(ActError::Store)?;
        }
        Ok(())
    }
}

/// Garage's own reference counts, of all who may refer to a block.
struct ByGarage {
    client: Client,
    holders: BTreeSet<NodeId>,
}

impl Referred for ByGarage {
    async fn needed(&self, names: &[BlockName]) -> Result<BTreeSet<BlockName>, String> {
        let mut needed = BTreeSet::new();
        for name in names {
            let asked = self.holders.iter().map(|node| self.client.block(*node, *name));
            for answer in join_all(asked).await {
                match answer {
                    Ok(Some(info)) if info.refcount > 0 => drop(needed.insert(*name)),
                    Ok(_) => {}
                    Err(error @ AdminError::Node { .. }) => return Err(error.to_string()),
                    Err(error) => return Err(crate::tell::chain(&error)),
                }
            }
        }
        Ok(needed)
    }
}
