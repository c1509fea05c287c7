//! The next layout version: who is in it, and when it may be applied.

use std::collections::{BTreeMap, BTreeSet};

use hayloft_api::{HostName, NodeId};
use jiff::SignedDuration;

use super::layout::{Difference, declared_role, down_holders, names};
use super::{agree, moves, upgrade};
use crate::{ClusterFacts, Input, Member, MoveFacts, NodeRole, Plan, Reason, RoleChange, Step, WaitsFor};

/// How long the first layout waits for declared hosts that are not there, when those that are suffice.
const FIRST_HOSTS: SignedDuration = SignedDuration::from_secs(20);

/// So many versions may be on their way at once. A holder by an older version is asked for blocks only while fewer than
/// five came after it, and each more that is live needs its own quorums.
const MOST_UNPLACED: usize = 3;

/// So long a version waits for the data of the one before to be placed, which takes most moves less. A host that gives data
/// away fetches what it still lacks only after Garage's delay, for nobody may clear its queue any more.
const SOON_PLACED: SignedDuration = SignedDuration::from_mins(3);

/// The first version: as soon as all declared hosts are there, or those that are suffice and the others keep us
/// waiting.
pub(super) fn first(input: &Input<'_>, cluster: &ClusterFacts, difference: &Difference<'_>, plan: &mut Plan) {
    let what = "apply the first layout";
    let expected = input
        .members
        .values()
        .filter(|member| member.shall_store())
        .count();
    let roles = assignments(&difference.joins);
    if let Some(waits_for) = too_few(input, &roles.values().collect::<Vec<_>>()) {
        plan.wait(what, waits_for);
        return;
    }
    let waited = input.snapshot.now.duration_since(input.snapshot.started);
    if difference.joins.len() < expected && waited < FIRST_HOSTS {
        let there: BTreeSet<&HostName> = difference.joins.iter().map(|member| member.name).collect();
        let missing = input.members.values().filter(|member| member.shall_store());
        let hosts = missing.filter(|member| !there.contains(member.name));
        plan.wait(
            what,
            WaitsFor::GarageUp {
                hosts: hosts.map(|member| member.name.clone()).collect(),
            },
        );
        return;
    }
    plan.step(
        Step::ChangeLayout {
            through: cluster.through.clone(),
            version: 1,
            roles: roles
                .into_iter()
                .map(|(id, role)| (id, RoleChange::Assign(role)))
                .collect(),
            zone_redundancy: difference.redundancy,
        },
        Reason::FirstLayout,
    );
}

/// Every version after the first: nothing in flight, nobody down; joiners and changes together, then one leaver.
pub(super) fn next(input: &Input<'_>, cluster: &ClusterFacts, difference: &Difference<'_>, plan: &mut Plan) {
    let layout = &cluster.layout;
    let Difference {
        joins,
        changes,
        leaves,
        redundancy,
    } = difference;
    let what = format!("change the layout ({})", reason(difference, leaves));
    if !layout.settled {
        plan.wait(
            what,
            WaitsFor::Settling {
                version: layout.version,
            },
        );
        return;
    }
    let down = down_holders(input, cluster, |_| true);
    if !down.is_empty() {
        plan.wait(what, WaitsFor::HostsDown { hosts: down });
        return;
    }
    if let Some(waits_for) = agree::disagreement(input, cluster) {
        plan.wait(what, waits_for);
        return;
    }
    if let Some(member) = upgrade::under_way(input) {
        let host = member.name.clone();
        plan.wait(what, WaitsFor::GarageTrial { host });
        return;
    }
    let unplaced: Vec<_> = input
        .unplaced()
        .filter(|facts| facts.refilled.is_none())
        .collect();
    let fresh = |facts: &&&MoveFacts| {
        facts
            .settled
            .is_none_or(|settled| input.snapshot.now.duration_since(settled) < SOON_PLACED)
    };
    let earlier = if unplaced.len() >= MOST_UNPLACED {
        unplaced.first()
    } else {
        unplaced.iter().find(fresh)
    };
    if let Some(earlier) = earlier {
        plan.wait(
            what,
            WaitsFor::Placed {
                version: earlier.version,
            },
        );
        return;
    }
    if !input.in_window() {
        plan.wait(
            what,
            WaitsFor::Windows {
                windows: input.document.spec.rebalance.windows.clone(),
            },
        );
        return;
    }
    let joins: &[_] = match join_window(input, joins) {
        None => joins,
        Some(waits_for) => {
            plan.wait(
                format!("let {} join", crate::words::list(&names(joins))),
                waits_for,
            );
            &[]
        }
    };
    // A leaver goes alone, after everyone else came, so that as many hosts as can be take over its data.
    let arriving = !difference.joins.is_empty() || !changes.is_empty() || redundancy.is_some();
    let leaver = match (arriving, leaves.as_slice()) {
        (false, [leaver, later @ ..]) => {
            for host in later {
                let wait = WaitsFor::Placement {
                    host: leaver.name.clone(),
                };
                plan.wait(format!("take the role from {}", host.name), wait);
            }
            match input.unplaced().next() {
                Some(earlier) => {
                    plan.wait(
                        format!("take the role from {}", leaver.name),
                        moves::done(input, earlier),
                    );
                    None
                }
                None => Some(*leaver),
            }
        }
        (true, later) => {
            for host in later {
                let hosts = names(&difference.joins)
                    .into_iter()
                    .chain(names(changes))
                    .collect();
                plan.wait(
                    format!("take the role from {}", host.name),
                    WaitsFor::Arrivals { hosts },
                );
            }
            None
        }
        (false, []) => None,
    };
    let mut roles: BTreeMap<NodeId, RoleChange> = assignments(joins)
        .into_iter()
        .map(|(id, role)| (id, RoleChange::Assign(role)))
        .collect();
    roles.extend(
        assignments(changes)
            .into_iter()
            .map(|(id, role)| (id, RoleChange::Assign(role))),
    );
    roles.extend(leaver.and_then(Member::id).map(|id| (id, RoleChange::Remove)));
    if roles.is_empty() && redundancy.is_none() {
        return;
    }
    let mut after = layout.roles.clone();
    for (id, change) in &roles {
        match change {
            RoleChange::Assign(role) => after.insert(*id, role.clone()),
            RoleChange::Remove => after.remove(id),
        };
    }
    if let Some(waits_for) = too_few(input, &after.values().collect::<Vec<_>>()) {
        plan.wait(what, waits_for);
        return;
    }
    let difference = Difference {
        joins: joins.to_vec(),
        changes: changes.clone(),
        leaves: leaver.into_iter().collect(),
        redundancy: *redundancy,
    };
    plan.step(
        Step::ChangeLayout {
            through: cluster.through.clone(),
            version: agree::next_version(input, cluster),
            roles,
            zone_redundancy: *redundancy,
        },
        reason(&difference, &difference.leaves),
    );
}

fn reason(difference: &Difference<'_>, leaves: &[&Member<'_>]) -> Reason {
    Reason::LayoutDiffers {
        joins: names(&difference.joins),
        changes: names(&difference.changes),
        leaves: names(leaves),
        redundancy: difference.redundancy.is_some(),
    }
}

pub(super) fn assignments(members: &[&Member<'_>]) -> BTreeMap<NodeId, NodeRole> {
    members
        .iter()
        .filter_map(|member| Some((member.id()?, declared_role(member.spec?))))
        .collect()
}

/// Joiners wait for each other until the window of the first of them ends, unless nobody else is expected.
fn join_window(input: &Input<'_>, joins: &[&Member<'_>]) -> Option<WaitsFor> {
    let others = input
        .members
        .values()
        .any(|member| member.shall_store() && member.role.is_none() && !names(joins).contains(member.name));
    if joins.is_empty() || !others {
        return None;
    }
    let now = input.snapshot.now;
    let since = joins
        .iter()
        .filter_map(|member| member.facts?.ready_since)
        .min()
        .unwrap_or(now);
    let seconds = i64::try_from(input.document.spec.rebalance.join_window.seconds).unwrap_or(i64::MAX);
    let until = since
        .saturating_add(SignedDuration::from_secs(seconds))
        .unwrap_or(now);
    (now < until).then_some(WaitsFor::JoinWindow { until })
}

/// Why these roles could not hold all copies.
pub(super) fn too_few(input: &Input<'_>, roles: &[&NodeRole]) -> Option<WaitsFor> {
    let garage = &input.document.spec.garage;
    let storage: Vec<&&NodeRole> = roles.iter().filter(|role| role.capacity.is_some()).collect();
    let zones: BTreeSet<&str> = storage.iter().map(|role| role.zone.as_str()).collect();
    if storage.len() < usize::from(garage.replication_factor) {
        Some(WaitsFor::MoreHosts {
            have: storage.len(),
            need: garage.replication_factor,
        })
    } else if zones.len() < usize::from(garage.zones()) {
        Some(WaitsFor::MoreZones {
            have: zones.len(),
            need: garage.zones(),
        })
    } else {
        None
    }
}
