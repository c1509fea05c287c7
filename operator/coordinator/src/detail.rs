//! What is asked about single nodes, and less often than the rest: queues, resync settings, repairs, request counters.
//! Every question has its own bound, so that a node that hangs holds up only what is about it.

mod tables;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use hayloft_api::{HostName, NodeId, Rate};
use hayloft_engine::{RepairFacts, ResyncFacts};
use hayloft_garage::admin::{AdminError, Client, Repair, Variable, Whom, Worker, WorkerState};
use jiff::{SignedDuration, Timestamp};

use self::tables::Resting;
use crate::moves::Moves;

/// One question about a node may take so long.
const WITHIN: Duration = Duration::from_secs(5);
/// While data moves, queues are asked for so often.
const MOVING: SignedDuration = SignedDuration::from_secs(3);
/// Else so often, as settings are at any time.
const CALM: SignedDuration = SignedDuration::from_secs(60);
/// Scrubs find damage over days.
const SCRUBS: SignedDuration = SignedDuration::from_secs(600);

/// A node's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Queue {
    pub(crate) length: u64,
    pub(crate) errors: u64,
}

/// What was last learned of nodes.
#[derive(Debug, Default)]
pub(crate) struct Details {
    pub(crate) queues: BTreeMap<NodeId, Queue>,
    pub(crate) resync: BTreeMap<NodeId, ResyncFacts>,
    pub(crate) corruptions: BTreeMap<NodeId, u64>,
    /// Repairs by schedule that run: their workers' numbers.
    pub(crate) upkeep: BTreeMap<NodeId, u64>,
    /// Scrubs that run.
    pub(crate) scrubbing: BTreeSet<NodeId>,
    /// Whether clients asked for next to nothing lately; `None`: not known yet.
    pub(crate) idle: Option<bool>,
    /// Who compares tables for a move, and rests.
    resting: Resting,
    queues_at: Option<Timestamp>,
    settings_at: Option<Timestamp>,
    scrubs_at: Option<Timestamp>,
    /// Bytes a second that hosts read from their disks, since their resync was last set.
    pub(crate) sending: BTreeMap<HostName, Rate>,
    reads: BTreeMap<HostName, (Timestamp, u64)>,
    requests: Option<(Timestamp, BTreeMap<HostName, u64>)>,
}

fn due(last: Option<Timestamp>, every: SignedDuration, now: Timestamp) -> bool {
    last.is_none_or(|last| {
        let passed = now.duration_since(last);
        passed >= every || passed.is_negative()
    })
}

/// One question, for so long at the most.
pub(crate) async fn bounded<T>(asked: impl Future<Output = Result<T, AdminError>>) -> Option<T> {
    match tokio::time::timeout(WITHIN, asked).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a node was not asked with success");
            None
        }
        Err(_) => None,
    }
}

impl Details {
    /// Asks what is due.
    pub(crate) async fn turn(
        &mut self,
        client: &Client,
        up: &BTreeSet<NodeId>,
        moves: &mut Moves,
        started: &BTreeMap<NodeId, Timestamp>,
        now: Timestamp,
    ) {
        let every = if moves.is_moving() { MOVING } else { CALM };
        if due(self.queues_at, every, now) {
            self.queues_at = Some(now);
            self.ask_queues(client, up).await;
        }
        if due(self.settings_at, CALM, now) {
            self.settings_at = Some(now);
            self.ask_settings(client, up).await;
        }
        if due(self.scrubs_at, SCRUBS, now) || (!self.scrubbing.is_empty() && due(self.scrubs_at, CALM, now))
        {
            self.scrubs_at = Some(now);
            self.ask_scrubs(client, up).await;
        }
        self.follow_repairs(client, moves, now).await;
        self.resting.follow(client, moves, started, now).await;
        self.follow_upkeep(client).await;
    }

    async fn ask_queues(&mut self, client: &Client, up: &BTreeSet<NodeId>) {
        let asked = up.iter().map(|id| async move {
            let mut answers = bounded(client.node_statistics(Whom::One(*id))).await?;
            let blocks = answers.success.remove(id)?.block_manager_stats?;
            Some((
                *id,
                Queue {
                    length: blocks.resync_queue_len,
                    errors: blocks.resync_errors,
                },
            ))
        });
        self.queues = join_all(asked).await.into_iter().flatten().collect();
    }

    async fn ask_settings(&mut self, client: &Client, up: &BTreeSet<NodeId>) {
        let asked = up.iter().map(|id| async move {
            let value = |variable| async move {
                let mut answers = bounded(client.variable(Whom::One(*id), variable)).await?;
                answers.success.remove(id)
            };
            let workers = value(Variable::ResyncWorkers).await?.parse().ok()?;
            let tranquility = value(Variable::ResyncTranquility).await?.parse().ok()?;
            Some((*id, ResyncFacts { workers, tranquility }))
        });
        self.resync = join_all(asked).await.into_iter().flatten().collect();
    }

    async fn ask_scrubs(&mut self, client: &Client, up: &BTreeSet<NodeId>) {
        let asked = up.iter().map(|id| async move {
            let mut answers = bounded(client.variable(Whom::One(*id), Variable::ScrubCorruptions)).await?;
            let corruptions: u64 = answers.success.remove(id)?.parse().ok()?;
            let mut workers = bounded(client.workers(Whom::One(*id))).await?;
            let scrubs = workers.success.remove(id)?.iter().any(|worker| {
                worker.name == "Block scrub worker"
                    && matches!(worker.state, WorkerState::Busy | WorkerState::Throttled { .. })
            });
            Some((*id, corruptions, scrubs))
        });
        for (id, corruptions, scrubs) in join_all(asked).await.into_iter().flatten() {
            self.corruptions.insert(id, corruptions);
            if scrubs {
                self.scrubbing.insert(id);
            } else {
                self.scrubbing.remove(&id);
            }
        }
    }

    /// Looks whether the repairs of moves have ended.
    async fn follow_repairs(&self, client: &Client, moves: &mut Moves, now: Timestamp) {
        for record in moves.records.values_mut() {
            let workers: Vec<(NodeId, u64)> =
                record.workers.iter().map(|(id, worker)| (*id, *worker)).collect();
            let asked = workers.iter().map(|(id, number)| async move {
                match tokio::time::timeout(WITHIN, client.worker(*id, *number)).await {
                    Ok(Ok(worker)) => Some((*id, ended(&worker)?)),
                    // Its Garage was started anew, and numbers its workers from the beginning.
                    Ok(Err(AdminError::Node { message, .. })) if message.contains("orker") => Some((*id, 1)),
                    Ok(Err(_)) | Err(_) => None,
                }
            });
            for (id, errors) in join_all(asked).await.into_iter().flatten() {
                record.workers.remove(&id);
                if let Some(repair) = record.facts.repairs.get_mut(&id) {
                    *repair = RepairFacts {
                        finished: Some(now),
                        errors,
                        ..*repair
                    };
                }
            }
        }
    }

    async fn follow_upkeep(&mut self, client: &Client) {
        let running: Vec<(NodeId, u64)> = self.upkeep.iter().map(|(id, worker)| (*id, *worker)).collect();
        for (id, number) in running {
            match tokio::time::timeout(WITHIN, client.worker(id, number)).await {
                Ok(Ok(worker)) if ended(&worker).is_none() => {}
                Err(_) => {}
                Ok(_) => drop(self.upkeep.remove(&id)),
            }
        }
    }
}

/// A finished worker's errors; `None` while it works.
fn ended(worker: &Worker) -> Option<u64> {
    if worker.name != Repair::Blocks.worker().unwrap_or_default() {
        // The number is another worker's: Garage was started anew.
        return Some(1);
    }
    (worker.state == WorkerState::Done).then_some(worker.errors)
}
