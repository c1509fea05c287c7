//! Repairs, scrubs and snapshots by the calendar: one host at a time, while nothing else is under way.

use std::collections::BTreeSet;

use hayloft_api::HostName;
use jiff::{SignedDuration, Timestamp};

use super::layout::down_holders;
use crate::{Input, Member, Plan, Reason, RepairKind, Step, Upkeep};

/// How often every block of a disk is read and checked.
pub const SCRUB_EVERY: SignedDuration = SignedDuration::from_hours(24 * 30);

/// How often a host's metadata is kept on another host.
pub const SNAPSHOT_EVERY: SignedDuration = SignedDuration::from_hours(24);

/// How often tables are compared in full.
const TABLES_EVERY: SignedDuration = SignedDuration::from_hours(24 * 14);

/// How often it is looked for blocks that should be there and are not.
const BLOCKS_EVERY: SignedDuration = SignedDuration::from_hours(24 * 7);

/// How soon a snapshot that failed is tried again, and the first one is made.
const TRY_AGAIN: SignedDuration = SignedDuration::from_hours(1);

/// Does what is due, of one host.
pub(super) fn look_after(input: &Input<'_>, plan: &mut Plan) {
    let Some(cluster) = input.cluster() else { return };
    let calm = cluster.layout.version > 0
        && cluster.layout.settled
        && cluster.layout.staged.is_empty()
        && input.unplaced().next().is_none()
        && !plan.changes_layout()
        && down_holders(input, cluster, |_| true).is_empty();
    if !calm {
        return;
    }
    let upkeep = |member: &&Member<'_>| member.facts.is_some_and(|facts| facts.upkeep.is_some());
    let holders: Vec<&Member<'_>> = input
        .members
        .values()
        .filter(|member| member.role.is_some_and(|role| role.capacity.is_some()))
        .filter(upkeep)
        .collect();
    snapshot(input, &holders, plan);
    let busy = holders
        .iter()
        .any(|member| of(member).is_some_and(|upkeep| upkeep.busy));
    if busy || !input.in_window() {
        return;
    }
    // The one that has waited longest is first; hosts come one after the other, so their turns drift apart.
    let mut due: Vec<(Timestamp, &Member<'_>, RepairKind, Option<Timestamp>)> = Vec::new();
    for member in &holders {
        let Some(upkeep) = of(member) else { continue };
        for (kind, last, every) in [
            (RepairKind::Blocks, upkeep.blocks, BLOCKS_EVERY),
            (RepairKind::Tables, upkeep.tables, TABLES_EVERY),
            (RepairKind::Scrub, upkeep.scrub, SCRUB_EVERY),
        ] {
            if let Some(at) = due_at(upkeep, last, every)
                && at <= input.snapshot.now
            {
                due.push((at, member, kind, last));
            }
        }
    }
    let first = due
        .into_iter()
        .min_by_key(|(at, member, kind, _)| (*at, member.name.clone(), *kind));
    if let Some((_, member, kind, last)) = first
        && let Some(id) = member.id()
    {
        plan.step(
            Step::LaunchRepair {
                through: cluster.through.clone(),
                nodes: BTreeSet::from([id]),
                kind,
            },
            Reason::Due { last },
        );
    }
}

/// Keeps the metadata of the host whose snapshot is oldest, on a host of another zone.
fn snapshot(input: &Input<'_>, holders: &[&Member<'_>], plan: &mut Plan) {
    let now = input.snapshot.now;
    let keeps = |on: &HostName| holders.iter().any(|holder| holder.name == on && !holder.barred);
    let due = holders.iter().filter_map(|member| {
        let upkeep = of(member)?;
        // One that lies on a host that left or was put out is none.
        let last = upkeep
            .snapshot
            .as_ref()
            .filter(|kept| keeps(&kept.on))
            .map(|kept| kept.made);
        let every = if last.is_some() { SNAPSHOT_EVERY } else { TRY_AGAIN };
        let at = due_at(upkeep, last, every)?;
        let tried = upkeep
            .snapshot_tried
            .is_some_and(|at| now.duration_since(at) < TRY_AGAIN);
        (at <= now && !tried).then_some((at, *member, last))
    });
    let Some((_, of, last)) = due.min_by_key(|(at, member, _)| (*at, member.name)) else {
        return;
    };
    if let Some(on) = keeper(of, holders) {
        plan.step(
            Step::KeepSnapshot {
                of: of.name.clone(),
                on,
            },
            Reason::Due { last },
        );
    }
}

/// The next host by name in another zone; in the same zone where there is no other.
fn keeper(of: &Member<'_>, holders: &[&Member<'_>]) -> Option<HostName> {
    let zone = of.role.map(|role| &role.zone);
    let others = || holders.iter().filter(|other| other.name != of.name && other.up);
    let elsewhere = || others().filter(|other| other.role.map(|role| &role.zone) != zone);
    let after = elsewhere().find(|other| other.name > of.name);
    let on = after.or_else(|| elsewhere().next()).or_else(|| others().next());
    on.map(|other| other.name.clone())
}

fn of<'a>(member: &Member<'a>) -> Option<&'a Upkeep> {
    member.facts?.upkeep.as_ref()
}

/// When something is due; never, as long as nobody began to look after the host.
pub(crate) fn due_at(upkeep: &Upkeep, last: Option<Timestamp>, every: SignedDuration) -> Option<Timestamp> {
    last.or(upkeep.since)?.checked_add(every).ok()
}
