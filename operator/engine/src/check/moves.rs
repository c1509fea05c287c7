//! What is done to make data move.

use std::collections::BTreeSet;

use hayloft_api::NodeId;
use hayloft_api::document::ResyncWorkers;

use super::Objection;
use super::facts::Facts;
use crate::{MoveKey, ResyncFacts};

/// Clearing a queue forgets what a node was about to offer: nobody may wait for anything from it.
pub(super) fn quicken(
    facts: Facts<'_>,
    of: MoveKey,
    nodes: &BTreeSet<NodeId>,
    objections: &mut Vec<Objection>,
) {
    compare(facts, of, objections);
    for id in nodes {
        let gives = facts.snapshot.moves.iter().any(|moved| {
            moved.partitions.is_none() || moved.sources.get(id).is_some_and(|partitions| *partitions > 0)
        });
        let holds = facts
            .cluster()
            .is_some_and(|cluster| cluster.layout.roles.contains_key(id));
        if gives || !holds {
            objections.push(Objection::ClearsGiver(facts.name(*id)));
        }
    }
}

/// A version's data is looked after from settling on.
pub(super) fn compare(facts: Facts<'_>, of: MoveKey, objections: &mut Vec<Objection>) {
    let settled = facts
        .snapshot
        .moves
        .iter()
        .any(|moved| moved.key() == of && moved.settled.is_some());
    if !settled {
        objections.push(Objection::Unsettled(of.version));
    }
}

/// Outside of the document's hours, and with nothing to move, Garage's own pace is not passed; a declared number of
/// workers is that number.
pub(super) fn pace(facts: Facts<'_>, setting: ResyncFacts, objections: &mut Vec<Objection>) {
    let rebalance = &facts.document.spec.rebalance;
    let minute = facts.snapshot.minute_of_day;
    let open = rebalance.windows.is_empty() || rebalance.windows.iter().any(|window| window.contains(minute));
    let calm = ResyncFacts::default();
    let raised = setting.tranquility < calm.tranquility || setting.workers > calm.workers;
    let may_raise = open && facts.snapshot.clients_idle && !facts.snapshot.moves.is_empty();
    let wrong = match rebalance.resync_workers {
        ResyncWorkers::Fixed(workers) => {
            setting.workers != workers || (setting.tranquility < calm.tranquility && !may_raise)
        }
        ResyncWorkers::Auto => raised && !may_raise,
    };
    if wrong || !(1..=8).contains(&setting.workers) {
        objections.push(Objection::TooFast {
            workers: setting.workers,
            tranquility: setting.tranquility,
        });
    }
}
