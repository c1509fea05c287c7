//! Repairs of tables, which no worker of their own does: they are done when those that compare tables rest.

use std::collections::BTreeMap;

use futures::future::join_all;
use hayloft_api::NodeId;
use hayloft_engine::RepairFacts;
use hayloft_garage::admin::{Client, TABLE_SYNCS, Whom, Worker, WorkerState};
use jiff::{SignedDuration, Timestamp};

use super::bounded;
use crate::moves::Moves;

/// So long after it was launched, a repair may not have reached its workers: those that rest then have not begun.
const BEGINS: SignedDuration = SignedDuration::from_secs(3);
/// They must rest at two looks that are so far apart. Between two comparisons a worker may seem to rest.
const RESTS: SignedDuration = SignedDuration::from_secs(2);

/// Since when the workers of nodes were seen to rest.
#[derive(Debug, Default)]
pub(super) struct Resting(BTreeMap<NodeId, Timestamp>);

impl Resting {
    /// Looks whether the repairs of moves' tables have ended. One that its Garage was restarted in is not ended by that.
    pub(super) async fn follow(
        &mut self,
        client: &Client,
        moves: &mut Moves,
        started: &BTreeMap<NodeId, Timestamp>,
        now: Timestamp,
    ) {
        let open = |id: &NodeId, repair: &RepairFacts| {
            let began = started.get(id).is_some_and(|started| repair.launched >= *started);
            repair.finished.is_none() && began
        };
        let mut launched: BTreeMap<NodeId, Timestamp> = BTreeMap::new();
        for record in moves
            .records
            .values()
            .filter(|record| record.facts.placed.is_none())
        {
            for (id, repair) in record.facts.tables.iter().filter(|(id, repair)| open(id, repair)) {
                let last = launched.entry(*id).or_insert(repair.launched);
                *last = repair.launched.max(*last);
            }
        }
        self.0.retain(|id, _| launched.contains_key(id));
        let asked = launched.keys().map(|id| async move {
            let mut answers = bounded(client.workers(Whom::One(*id))).await?;
            Some((*id, answers.success.remove(id)?))
        });
        for (id, workers) in join_all(asked).await.into_iter().flatten() {
            let launched = launched.get(&id).copied().unwrap_or(now);
            if !self.has_ended(id, launched, &workers, now) {
                continue;
            }
            self.0.remove(&id);
            for record in moves.records.values_mut() {
                if let Some(repair) = record
                    .facts
                    .tables
                    .get_mut(&id)
                    .filter(|repair| open(&id, repair))
                {
                    repair.finished = Some(now);
                }
            }
        }
    }

    fn has_ended(&mut self, id: NodeId, launched: Timestamp, workers: &[Worker], now: Timestamp) -> bool {
        if now.duration_since(launched) < BEGINS || !rest(workers) {
            self.0.remove(&id);
            return false;
        }
        let since = *self.0.entry(id).or_insert(now);
        since >= launched && now.duration_since(since) >= RESTS
    }
}

/// Whether all that compare tables are there and have nothing before them. One that fails keeps its partition.
fn rest(workers: &[Worker]) -> bool {
    TABLE_SYNCS.iter().all(|name| {
        let mut named = workers.iter().filter(|worker| worker.name == *name);
        named.next().is_some_and(|worker| {
            worker.state == WorkerState::Idle && worker.queue_length.is_none_or(|length| length == 0)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + seconds).unwrap()
    }

    fn workers(state: WorkerState, queue_length: u64) -> Vec<Worker> {
        let worker = |name: &&str| Worker {
            id: 1,
            name: (*name).to_owned(),
            state,
            errors: 0,
            consecutive_errors: 0,
            progress: None,
            queue_length: Some(queue_length),
            persistent_errors: None,
        };
        TABLE_SYNCS.iter().map(worker).collect()
    }

    #[test]
    fn a_repair_of_tables_has_ended_when_all_who_compare_rest_at_two_looks_after_it_can_have_begun() {
        let node = NodeId::from_public_key([1; 32]);
        let idle = workers(WorkerState::Idle, 0);
        let mut resting = Resting::default();
        let mut ended = |workers: &[Worker], now| resting.has_ended(node, at(0), workers, at(now));
        assert!(!ended(&idle, 0) && !ended(&idle, 2), "it may not have begun");
        assert!(!ended(&idle, 4));
        assert!(!ended(&workers(WorkerState::Busy, 7), 5), "it had not begun");
        assert!(!ended(&idle, 6));
        assert!(!ended(&idle, 7));
        assert!(ended(&idle, 8));
    }

    #[test]
    fn who_has_something_before_it_or_is_not_there_does_not_rest() {
        assert!(rest(&workers(WorkerState::Idle, 0)));
        let failed = WorkerState::Throttled { duration_secs: 10.0 };
        assert!(!rest(&workers(failed, 3)));
        assert!(!rest(&workers(WorkerState::Idle, 0)[1..]));
    }
}
