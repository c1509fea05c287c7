//! What hosts are told, and who is put out.

use std::collections::BTreeMap;

use hayloft_api::HostName;
use jiff::{SignedDuration, Timestamp};

use super::Objection;
use super::facts::{Facts, is_up};
use crate::{AskedFor, HostFacts, HostPlan, Plan, Snapshot, Step};

/// A node that left longer ago may have missed deletions that everybody else forgot.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(20);

pub(super) fn desire(facts: Facts<'_>, host: &HostName, plan: &HostPlan, objections: &mut Vec<Objection>) {
    let access = facts.cluster().and_then(|cluster| cluster.access.as_ref());
    let bucket = facts.snapshot.bucket_made || access.is_some_and(crate::Access::ready);
    if plan.gateway.is_some() && !bucket {
        objections.push(Objection::GatewayTooEarly(host.clone()));
    }
    let Some(known) = facts.snapshot.hosts.get(host) else {
        return;
    };
    if plan.garage.is_some() && known.report.as_ref().is_some_and(|report| report.unfit.is_some()) {
        objections.push(Objection::StartsUnfit(host.clone()));
    }
    if plan.accept_empty_data && !known.has_new_disk() {
        objections.push(Objection::AcceptsLoss(host.clone()));
    }
    let forgets = plan.forget.is_some() && plan.forget == known.id;
    if plan.garage.is_none() || forgets {
        stop(facts, host, known, plan, forgets, objections);
    }
}

/// A host stops holding data: only when it holds none, or was put out.
fn stop(
    facts: Facts<'_>,
    host: &HostName,
    known: &HostFacts,
    plan: &HostPlan,
    forgets: bool,
    objections: &mut Vec<Objection>,
) {
    let has_role = known
        .id
        .zip(facts.cluster())
        .is_some_and(|(id, cluster)| cluster.layout.roles.contains_key(&id));
    let runs = known.report.as_ref().is_some_and(|report| report.garage_runs);
    let unseen = facts.cluster().is_none() && runs;
    if has_role || unseen {
        objections.push(Objection::StopsHolder(host.clone()));
        return;
    }
    let barred = known.id.is_some_and(|id| facts.snapshot.barred.contains(&id));
    let empty = is_empty(facts, known);
    if forgets && plan.erase_blocks && !empty {
        objections.push(Objection::ErasesBlocks(host.clone()));
    }
    let Some(left) = known.left else { return };
    if barred {
        return;
    }
    let moving = facts.unplaced().next().is_some();
    if moving {
        let objection = if forgets {
            Objection::ForgetsTooEarly
        } else {
            Objection::StopsHolder
        };
        objections.push(objection(host.clone()));
        return;
    }
    // Blocks that stay are of use to the node that it will be.
    let anew = forgets
        && !plan.erase_blocks
        && facts.wants_data_on(host)
        && facts.snapshot.now.duration_since(left) > FORGOTTEN;
    if !empty && !anew {
        objections.push(Objection::StopsHolder(host.clone()));
    }
}

/// Whether its own disk said that it holds no block, in a count that began after its role had ended for good.
fn is_empty(facts: Facts<'_>, known: &HostFacts) -> bool {
    let Some((id, left)) = known.id.zip(known.left) else {
        return false;
    };
    let leaves = |moved: &crate::MoveFacts| moved.before.contains_key(&id) && !moved.after.contains_key(&id);
    let ended: Option<Timestamp> = match facts.snapshot.moves.iter().rfind(|moved| leaves(moved)) {
        Some(moved) => moved.settled,
        None => Some(left),
    };
    let ahead = known.skew.unwrap_or_default();
    let count = known.report.as_ref().and_then(|report| report.blocks);
    match (count, ended) {
        (Some(count), Some(ended)) => count.count == 0 && count.at.duration_since(ended) > ahead,
        _ => false,
    }
}

/// Who is put out: whom a person named, or one that is seen to be dead while nobody else is missing.
pub(super) fn evictions(facts: Facts<'_>, plan: &Plan, objections: &mut Vec<Objection>) {
    let mut by_rule = 0;
    for planned in &plan.steps {
        let Step::Evict { host, node } = &planned.step else {
            continue;
        };
        let asked = facts.asked(host) == Some(AskedFor::Evict);
        let holds = facts
            .cluster()
            .is_some_and(|cluster| cluster.layout.roles.contains_key(node));
        if holds && facts.document.spec.garage.replication_factor == 1 {
            objections.push(Objection::LosesOnlyCopy);
        }
        if asked {
            continue;
        }
        by_rule += 1;
        if !is_dead(facts, host) {
            objections.push(Objection::PutsOut(host.clone()));
        }
    }
    if by_rule > 1 {
        objections.push(Objection::PutsOutSeveral(by_rule));
    }
}

fn is_dead(facts: Facts<'_>, host: &HostName) -> bool {
    let (Some(cluster), Some(known)) = (facts.cluster(), facts.snapshot.hosts.get(host)) else {
        return false;
    };
    let spec = facts.document.host(host);
    let announced = spec.and_then(|spec| spec.away.as_ref()).map(|away| away.until);
    if announced.is_some_and(|until| until > facts.snapshot.now) {
        return false;
    }
    let up = known.id.is_some_and(|id| is_up(cluster, id));
    let long = known
        .presence
        .absent
        .is_some_and(|absence| absence.observed >= facts.document.spec.rebalance.dead_after);
    let holders = cluster.layout.roles.keys();
    let others_up = holders
        .filter(|id| known.id != Some(**id))
        .all(|id| is_up(cluster, *id));
    !up && long && others_up
}

/// Gateways share the log of the bucket only when each knows of the others: one that is told to be alone must be.
pub(super) fn several_gateways(snapshot: &Snapshot, plan: &Plan, objections: &mut Vec<Objection>) {
    let told = snapshot.hosts.iter().filter(|(_, facts)| facts.agent);
    let mut serving: BTreeMap<HostName, bool> = told
        .filter_map(|(host, facts)| Some((host, facts.told.as_ref()?.gateway.as_ref()?)))
        .map(|(host, gateway)| (host.clone(), gateway.fleet.is_some()))
        .collect();
    let mut starts = false;
    for planned in &plan.steps {
        if let Step::Desire { host, plan } = &planned.step {
            if let Some(gateway) = &plan.gateway {
                starts = true;
                serving.insert(host.clone(), gateway.fleet.is_some());
            } else {
                serving.remove(host);
            }
        }
    }
    if starts && serving.len() > 1 && serving.values().any(|linked| !linked) {
        objections.push(Objection::SeveralGateways(serving.into_keys().collect()));
    }
}
