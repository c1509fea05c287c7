//! How fast blocks move.

use std::collections::{BTreeMap, BTreeSet};

use hayloft_api::{NodeId, Rate};

use crate::resync::{Pace, resync_setting};
use crate::{Input, Member, Plan, Reason, ResyncFacts, Step};

/// Whether a host's Garage is told to stop, now or before: it still runs for a moment.
fn is_to_stop(member: &Member<'_>, plan: &Plan) -> bool {
    let told = member.facts.and_then(|facts| facts.told.as_ref());
    plan.desired_of(member.name)
        .or(told)
        .is_some_and(|told| told.garage.is_none())
}

/// The tighter of two limits.
fn least(one: Option<Rate>, other: Option<Rate>) -> Option<Rate> {
    one.into_iter().chain(other).min()
}

/// Sets the resync of every member, where it is not as it should be.
pub(super) fn set(input: &Input<'_>, plan: &mut Plan) {
    let Some(cluster) = input.cluster() else { return };
    let rebalance = &input.document.spec.rebalance;
    // Until a leaver is empty it offers its blocks, which is a move too.
    let version = input.snapshot.moves.first().map(|facts| facts.version);
    let mut settings: BTreeMap<(u8, u32), BTreeSet<NodeId>> = BTreeMap::new();
    for member in input.members.values() {
        let (Some(id), Some(facts)) = (member.id(), member.facts) else {
            continue;
        };
        let Some(last) = facts
            .resync
            .filter(|_| cluster.is_up(id) && member.keeps_garage() && !is_to_stop(member, plan))
        else {
            continue;
        };
        let setting = resync_setting(Pace {
            moving: version.is_some(),
            clients_idle: input.snapshot.clients_idle,
            in_window: input.in_window(),
            workers: rebalance.resync_workers,
            max_rate: least(rebalance.max_rate, member.spec.and_then(|spec| spec.uplink)),
            sending: facts.sending,
            last,
        });
        if setting != last {
            let key = (setting.workers, setting.tranquility);
            settings.entry(key).or_default().insert(id);
        }
    }
    for ((workers, tranquility), nodes) in settings {
        plan.step(
            Step::SetResync {
                through: cluster.through.clone(),
                nodes,
                setting: ResyncFacts { workers, tranquility },
            },
            version.map_or(Reason::Calm, |version| Reason::Move { version }),
        );
    }
}
