//! A declared host that came back as another node, and the end of a node that never comes back.

use std::collections::{BTreeMap, BTreeSet};

use hayloft_api::{HostName, NodeId};

use super::agree;
use super::layout::{Difference, down_holders};
use super::version::{assignments, too_few};
use crate::{ClusterFacts, Input, Plan, Reason, RoleChange, Step, WaitsFor};

/// What a host was before, and still has a role as.
#[derive(Clone, Copy)]
pub(super) struct Reborn<'a> {
    pub(super) host: &'a HostName,
    pub(super) former: NodeId,
    /// Whether its new node gets a role at the same time.
    joins: bool,
}

/// Earlier nodes that have a role, are down, and can be done without now: the host's new node is ready, or no data is
/// wanted on it any more.
pub(super) fn reborn<'a>(
    input: &'a Input<'a>,
    cluster: &ClusterFacts,
    difference: &Difference<'_>,
) -> Vec<Reborn<'a>> {
    let mut reborn = Vec::new();
    for member in input.members.values() {
        let joins = difference.joins.iter().any(|joiner| joiner.name == member.name);
        // It is told elsewhere what keeps a new node from joining.
        if member.shall_store() && !joins {
            continue;
        }
        let formers = member.facts.iter().flat_map(|facts| &facts.former);
        let held = formers.filter(|id| cluster.layout.roles.contains_key(*id));
        reborn.extend(held.map(|former| Reborn {
            host: member.name,
            former: *former,
            joins,
        }));
    }
    reborn
}

/// Gives hosts' new nodes the roles of their old ones, in one version; where a host shall hold no data any more, the role
/// just ends. The old disks are gone, and the sooner the copies that they held are made again, the better. Whether
/// something was planned or waits, so that nothing else is to be planned.
pub(super) fn replace(
    input: &Input<'_>,
    cluster: &ClusterFacts,
    difference: &Difference<'_>,
    plan: &mut Plan,
) -> bool {
    let layout = &cluster.layout;
    let reborn = reborn(input, cluster, difference);
    let Some(first) = reborn.first() else { return false };
    let what = if first.joins {
        format!("give the role of {}'s earlier node to its new one", first.host)
    } else {
        format!("end the role of {}'s earlier node", first.host)
    };
    if let Some(obstacle) = obstacle(input, cluster, &reborn) {
        plan.wait(what, obstacle);
        return true;
    }
    let going = |id: &NodeId| reborn.iter().any(|reborn| reborn.former == *id);
    let mut after = layout.roles.clone();
    after.retain(|id, _| !going(id));
    // Whoever is ready joins in the same version.
    let arriving = assignments(&difference.joins);
    after.extend(arriving.clone());
    if let Some(waits_for) = too_few(input, &after.values().collect::<Vec<_>>()) {
        plan.wait(what, waits_for);
        return true;
    }
    let mut roles: BTreeMap<_, _> = arriving
        .into_iter()
        .map(|(id, role)| (id, RoleChange::Assign(role)))
        .collect();
    roles.extend(reborn.iter().map(|reborn| (reborn.former, RoleChange::Remove)));
    let hosts: BTreeSet<&HostName> = reborn.iter().map(|reborn| reborn.host).collect();
    plan.step(
        Step::ChangeLayout {
            through: cluster.through.clone(),
            version: agree::next_version(input, cluster),
            roles,
            zone_redundancy: None,
        },
        Reason::NewNodes {
            hosts: hosts.into_iter().cloned().collect(),
        },
    );
    true
}

fn obstacle(input: &Input<'_>, cluster: &ClusterFacts, reborn: &[Reborn<'_>]) -> Option<WaitsFor> {
    let going = |id: &NodeId| reborn.iter().any(|reborn| reborn.former == *id);
    if let Some(up) = reborn.iter().find(|reborn| cluster.is_up(reborn.former)) {
        return Some(WaitsFor::FormerDown {
            host: up.host.clone(),
        });
    }
    if input.document.spec.garage.replication_factor == 1 {
        let host = reborn.first()?.host.clone();
        return Some(WaitsFor::OnlyCopy { host });
    }
    let others = down_holders(input, cluster, |id| !going(id));
    if !others.is_empty() {
        return Some(WaitsFor::HostsDown { hosts: others });
    }
    // Their disks are lost, so nothing is given up by making their copies anew: whoever left before keeps what it holds, and
    // offers it by itself.
    agree::disagreement(input, cluster)
}
