//! Putting hosts out without their help, and renewing what they knew.

use std::collections::BTreeMap;

use hayloft_api::{HostName, NodeId};
use jiff::SignedDuration;

use super::agree::next_version;
use super::layout::{Difference, down_holders};
use super::version::{assignments, too_few};
use super::{agree, dead, moves};
use crate::{
    AskedFor, ClusterFacts, Input, Member, MoveKey, NodeRole, Plan, Reason, Renewal, RoleChange, Step,
    WaitsFor,
};

/// How long a version that puts hosts out may take to settle before the secrets are renewed all the same.
const SETTLES: SignedDuration = SignedDuration::from_secs(60);

/// How long all wait for a host that is there to write down new secrets.
const WRITES_DOWN: SignedDuration = SignedDuration::from_secs(60);

/// Bars whom a person put out, and the one host that is taken for dead.
pub(super) fn bar(input: &Input<'_>, cluster: &ClusterFacts, difference: &Difference<'_>, plan: &mut Plan) {
    for member in input.members.values() {
        // What it comes back as is let in by nobody as long as the person's word stands, and holds nothing to be taken.
        let done = member.role.is_none()
            && member
                .facts
                .is_some_and(|facts| !facts.former.is_disjoint(&input.snapshot.barred));
        if member.asked() == Some(AskedFor::Evict)
            && !member.barred
            && !done
            && let Some(node) = member.id()
        {
            if let Some(waits_for) = only_copy(input, member) {
                plan.wait(format!("put out {}", member.name), waits_for);
                continue;
            }
            let host = member.name.clone();
            let hosts = vec![host.clone()];
            plan.step(Step::Evict { host, node }, Reason::Asked { hosts });
        }
    }
    if let Some(dead) = dead::one(input, cluster, plan) {
        let (member, host) = (dead.member, dead.member.name.clone());
        let Some(node) = member.id() else { return };
        let what = format!("put out {host}, which seems dead");
        // Whoever is ready comes in its place.
        let after = without(cluster, &[node], &assignments(&difference.joins));
        // A rule never puts out a host that nobody could stand in for.
        let obstacle = only_copy(input, member)
            .or_else(|| too_few(input, &after.values().collect::<Vec<_>>()))
            .or_else(|| earlier_offer_lost(input, cluster));
        match obstacle {
            Some(waits_for) => plan.wait(what, waits_for),
            None => plan.step(
                Step::Evict {
                    host: host.clone(),
                    node,
                },
                Reason::DeadTooLong {
                    host,
                    observed: dead.observed,
                },
            ),
        }
    }
}

/// Takes the roles of barred nodes, together with letting those join who are ready. Whether there are any, so that
/// nothing else is to be done with the layout.
pub(super) fn remove(
    input: &Input<'_>,
    cluster: &ClusterFacts,
    difference: &Difference<'_>,
    plan: &mut Plan,
) -> bool {
    let layout = &cluster.layout;
    let barred: Vec<NodeId> = barred_holders(input, cluster).collect();
    if barred.is_empty() {
        return false;
    }
    let (down, live): (Vec<NodeId>, Vec<NodeId>) = barred.iter().partition(|id| !cluster.is_up(**id));
    // All who are down go together, for no version settles while one of them keeps its role. One who is up goes alone.
    let reborn = super::replace::reborn(input, cluster, difference);
    let lost: Vec<NodeId> = reborn
        .iter()
        .map(|reborn| reborn.former)
        .filter(|id| !cluster.is_up(*id))
        .collect();
    if down.is_empty() && !lost.is_empty() {
        // Who is up can wait: first those are replaced that are down.
        return false;
    }
    let going = if down.is_empty() {
        live.get(..1).unwrap_or_default().to_vec()
    } else {
        down.iter().chain(&lost).copied().collect()
    };
    let names: Vec<String> = going.iter().map(|id| input.name_of(*id)).collect();
    let what = format!(
        "take the role from {}, which is put out",
        crate::words::list(&names)
    );
    let others = down_holders(input, cluster, |id| {
        !input.snapshot.barred.contains(id) && !lost.contains(id)
    });
    if !others.is_empty() {
        plan.wait(what, WaitsFor::HostsDown { hosts: others });
        return true;
    }
    if let Some(waits_for) = agree::disagreement(input, cluster) {
        plan.wait(what, waits_for);
        return true;
    }
    if down.is_empty() {
        let settling = (!layout.settled).then_some(WaitsFor::Settling {
            version: layout.version,
        });
        let earlier = input.unplaced().next().map(|facts| moves::done(input, facts));
        if let Some(waits_for) = settling.or(earlier) {
            plan.wait(what, waits_for);
            return true;
        }
    } else if !named(input, &down)
        && let Some(waits_for) = earlier_offer_lost(input, cluster)
    {
        plan.wait(what, waits_for);
        return true;
    }
    let arriving = assignments(&difference.joins);
    let after = without(cluster, &going, &arriving);
    if let Some(waits_for) = too_few(input, &after.values().collect::<Vec<_>>()) {
        plan.wait(what, waits_for);
        return true;
    }
    let mut roles: BTreeMap<NodeId, RoleChange> = arriving
        .into_iter()
        .map(|(id, role)| (id, RoleChange::Assign(role)))
        .collect();
    roles.extend(going.iter().map(|id| (*id, RoleChange::Remove)));
    let hosts = going.iter().filter_map(|id| host_name(input, *id)).collect();
    plan.step(
        Step::ChangeLayout {
            through: cluster.through.clone(),
            version: next_version(input, cluster),
            roles,
            zone_redundancy: None,
        },
        Reason::Evicted { hosts },
    );
    true
}

/// Renews what evicted hosts know, once they are out of the layout, or cannot be got out of it.
pub(super) fn renew_secrets(input: &Input<'_>, plan: &mut Plan) {
    let secrets = &input.snapshot.secrets;
    let Some(cluster) = input.cluster() else { return };
    if secrets.known_to.is_empty() {
        return;
    }
    let hosts: Vec<HostName> = secrets.known_to.iter().cloned().collect();
    let holders: Vec<NodeId> = barred_holders(input, cluster).collect();
    let what = format!("renew the secrets that {} knew", crate::words::list(&hosts));
    if !holders.is_empty() {
        let after = without(cluster, &holders, &BTreeMap::new());
        if too_few(input, &after.values().collect::<Vec<_>>()).is_none() {
            plan.wait(
                what,
                WaitsFor::Removal {
                    hosts: holders.iter().map(|id| input.name_of(*id)).collect(),
                },
            );
            return;
        }
    }
    let version = cluster.layout.version;
    if !cluster.layout.settled {
        let applied = input
            .snapshot
            .moves
            .iter()
            .rev()
            .find(|facts| facts.key() == MoveKey::from(version));
        let long = applied.is_none_or(|facts| input.snapshot.now.duration_since(facts.applied) > SETTLES);
        if !long {
            plan.wait(what, WaitsFor::Settling { version });
            return;
        }
    }
    let evicts = plan
        .steps
        .iter()
        .any(|planned| matches!(planned.step, Step::Evict { .. }));
    if plan.changes_layout() || evicts {
        return;
    }
    let known_to = secrets.known_to.clone();
    let step = match &secrets.renewal {
        Renewal::None => Step::StageSecrets { known_to },
        Renewal::Staged { since, lacking } => {
            // One that does not follow must not let the evicted know the old ones for long: it hears of the new ones later.
            let long = input.snapshot.now.duration_since(*since) > WRITES_DOWN;
            if !lacking.is_empty() && !long {
                plan.wait(
                    what,
                    WaitsFor::Staged {
                        hosts: lacking.iter().cloned().collect(),
                    },
                );
                return;
            }
            Step::SwitchSecrets { known_to }
        }
        Renewal::Switched => Step::RotateSecrets { known_to },
    };
    plan.step(step, Reason::Evicted { hosts });
    if !secrets.behind.is_empty() {
        plan.wait(
            what,
            WaitsFor::Secrets {
                hosts: secrets.behind.iter().cloned().collect(),
            },
        );
    }
}

/// Barred nodes that have a role.
pub(super) fn barred_holders(input: &Input<'_>, cluster: &ClusterFacts) -> impl Iterator<Item = NodeId> {
    let roles = &cluster.layout.roles;
    let barred = input.snapshot.barred.iter();
    barred.filter(|id| roles.contains_key(*id)).copied()
}

/// With one copy of everything, nobody can stand in for a host.
fn only_copy(input: &Input<'_>, member: &Member<'_>) -> Option<WaitsFor> {
    (input.document.spec.garage.replication_factor == 1 && member.role.is_some()).then(|| {
        WaitsFor::NoOtherCopy {
            host: member.name.clone(),
        }
    })
}

/// An earlier removal that is not placed and whose leaver is gone too: what only those two held would be lost.
fn earlier_offer_lost(input: &Input<'_>, cluster: &ClusterFacts) -> Option<WaitsFor> {
    let lost = |facts: &&crate::MoveFacts| {
        facts.departures().any(|departure| {
            !cluster.is_up(departure.id) && !cluster.layout.roles.contains_key(&departure.id)
        })
    };
    input.unplaced().find(lost).map(|facts| WaitsFor::Placed {
        version: facts.version,
    })
}

/// Whether a person named all of these hosts.
fn named(input: &Input<'_>, ids: &[NodeId]) -> bool {
    ids.iter().all(|id| {
        host_name(input, *id)
            .and_then(|host| input.members.get(&host))
            .is_some_and(|member| member.asked() == Some(AskedFor::Evict))
    })
}

fn host_name(input: &Input<'_>, id: NodeId) -> Option<HostName> {
    let member = input.host_of(id).map(|member| member.name);
    member.or_else(|| input.former_host(id)).cloned()
}

fn without(
    cluster: &ClusterFacts,
    going: &[NodeId],
    arriving: &BTreeMap<NodeId, NodeRole>,
) -> BTreeMap<NodeId, NodeRole> {
    let mut after = cluster.layout.roles.clone();
    after.retain(|id, _| !going.contains(id));
    after.extend(arriving.clone());
    after
}
