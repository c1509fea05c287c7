//! Hosts that hold nothing any more: when they may forget that they were members.

use std::collections::BTreeSet;

use hayloft_api::NodeId;
use hayloft_api::agent::DataState;
use jiff::{SignedDuration, Timestamp};

use super::moves;
use crate::{Input, Member, Plan, Reason, RepairKind, Step, WaitsFor};

/// Garage offers a block that it does not need to others, and then deletes it, so long after it is not needed any more:
/// 600 s, and 10 s more.
pub(crate) const GIVING_DELAY: SignedDuration = SignedDuration::from_secs(610);

/// Garage forgets deletions a day after they happened. A host that comes back within this time still merges cleanly; a
/// later one would revive deleted rows.
pub(super) const MAY_RETURN: SignedDuration = SignedDuration::from_hours(20);

/// A node that is to be forgotten.
pub(super) struct Forgotten {
    pub(super) forget: Option<NodeId>,
    pub(super) erase_blocks: bool,
    pub(super) reason: Reason,
}

/// Whether Garage will not start on what it finds where its blocks should be.
pub(crate) fn has_lost_its_data(data: &DataState) -> bool {
    matches!(
        data,
        DataState::MarkMissing { .. } | DataState::OtherMark { .. } | DataState::Unreadable { .. }
    )
}

/// What a host without a role must forget, if it may.
pub(super) fn forgotten(input: &Input<'_>, member: &Member<'_>) -> Option<Forgotten> {
    let left = member.facts?.left?;
    if member.role.is_some() || input.cluster().is_none() || input.unplaced().next().is_some() {
        return None;
    }
    if member.shall_store() {
        // Its blocks stay: they are of use to the node that it will be.
        let old = input.snapshot.now.duration_since(left) > MAY_RETURN;
        return old.then(|| Forgotten {
            forget: member.id(),
            erase_blocks: false,
            reason: Reason::Barred,
        });
    }
    empty_since_it_left(input, member).then(|| Forgotten {
        forget: member.id(),
        erase_blocks: true,
        reason: Reason::Retired,
    })
}

/// Whether a count that began after the version without it had settled found no block.
fn empty_since_it_left(input: &Input<'_>, member: &Member<'_>) -> bool {
    let Some(left) = left_for_good(input, member) else {
        return false;
    };
    count(member).is_some_and(|(blocks, at)| blocks == 0 && at > left)
}

/// Blocks on the host's disk, and when they were counted by the coordinator's clock.
fn count(member: &Member<'_>) -> Option<(u64, Timestamp)> {
    let blocks = member.report()?.blocks?;
    // The count bears the host's own time.
    let skew = member.facts?.skew.unwrap_or_default();
    Some((blocks.count, blocks.at.checked_sub(skew).ok()?))
}

/// When the version that took its role had settled: from then on nothing is written to it.
fn left_for_good(input: &Input<'_>, member: &Member<'_>) -> Option<Timestamp> {
    let id = member.id()?;
    let left = member.facts?.left?;
    let departs = |facts: &&crate::MoveFacts| facts.departures().any(|departure| departure.id == id);
    match input.snapshot.moves.iter().rev().find(departs) {
        Some(facts) => facts.settled,
        None => Some(left),
    }
}

/// Says what those who left still wait for.
pub(super) fn wait_for(input: &Input<'_>, plan: &mut Plan) {
    if input.cluster().is_none() {
        return;
    }
    for member in input.members.values() {
        let Some(facts) = member.facts else { continue };
        if facts.left.is_none() || member.role.is_some() || member.barred || member.shall_store() {
            continue;
        }
        if forgotten(input, member).is_some() && facts.agent {
            continue;
        }
        let host = member.name.clone();
        let what = format!("delete the data of {host}, which is kept and offered to others");
        let settled = left_for_good(input, member);
        let until = settled.and_then(|at| at.checked_add(GIVING_DELAY).ok());
        let unplaced = input.unplaced().next();
        let waits_for = match (unplaced, until) {
            _ if !facts.agent => WaitsFor::Agents { hosts: vec![host] },
            (Some(unplaced), _) => moves::done(input, unplaced),
            (None, Some(until)) if until > input.snapshot.now => WaitsFor::GarageDelay { until },
            _ => WaitsFor::Empty {
                host,
                blocks: member
                    .report()
                    .and_then(|report| report.blocks)
                    .map(|blocks| blocks.count),
            },
        };
        if let WaitsFor::Empty { .. } = waits_for {
            have_stranded_blocks_offered(input, member, until, plan);
        }
        plan.wait(what, waits_for);
    }
}

/// A host whose power failed may have forgotten what it was about to offer. Repairing blocks puts all that lie on its disk into its
/// queue again.
fn have_stranded_blocks_offered(
    input: &Input<'_>,
    member: &Member<'_>,
    until: Option<Timestamp>,
    plan: &mut Plan,
) {
    let (Some(cluster), Some(facts), Some(id), Some(until)) =
        (input.cluster(), member.facts, member.id(), until)
    else {
        return;
    };
    let now = input.snapshot.now;
    let upkeep = facts.upkeep.as_ref();
    let last = upkeep.and_then(|upkeep| upkeep.blocks).filter(|at| *at > until);
    let lately = |at: Timestamp| now.duration_since(at) < GIVING_DELAY;
    let rests = cluster
        .nodes
        .get(&id)
        .is_some_and(|node| node.up && node.queue == Some(0));
    let Some((blocks, counted)) = count(member) else {
        return;
    };
    if blocks == 0
        || counted <= until
        || !rests
        || upkeep.is_some_and(|upkeep| upkeep.busy)
        || last.is_some_and(|at| lately(at) || counted <= at)
    {
        return;
    }
    plan.step(
        Step::LaunchRepair {
            through: cluster.through.clone(),
            nodes: BTreeSet::from([id]),
            kind: RepairKind::Blocks,
        },
        Reason::Stranded { blocks },
    );
}
