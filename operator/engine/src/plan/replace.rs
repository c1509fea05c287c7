//! A declared host that came back as another node, and the end of a node that never comes back.

use std::collections::BTreeMap;

use super::agree;
use super::layout::{Difference, down_holders};
use super::version::{assignments, too_few};
use crate::{ClusterFacts, Input, Plan, Reason, RoleChange, Step, WaitsFor};

/// Gives a host's new node the role of its old one, in one version; where the host shall hold no data any more, the role
/// just ends. The old disk is gone, and the sooner the copies that it held are made again, the better. Whether something was
/// planned or waits, so that nothing else is to be planned.
pub(super) fn replace(
    input: &Input<'_>,
    cluster: &ClusterFacts,
    difference: &Difference<'_>,
    plan: &mut Plan,
) -> bool {
    let layout = &cluster.layout;
    let reborn = input.members.values().find_map(|member| {
        let former = member
            .facts?
            .former
            .iter()
            .find(|id| layout.roles.contains_key(id))?;
        Some((member, *former))
    });
    let Some((member, former)) = reborn else {
        return false;
    };
    let joins = difference.joins.iter().any(|joiner| joiner.name == member.name);
    if member.shall_store() && !joins {
        // It is told elsewhere what keeps its new node from joining.
        return false;
    }
    let host = &member.name;
    let what = if joins {
        format!("give the role of {host}'s earlier node to its new one")
    } else {
        format!("end the role of {host}'s earlier node")
    };
    if cluster.nodes.get(&former).is_some_and(|node| node.up) {
        plan.wait(
            what,
            WaitsFor::FormerDown {
                host: (*host).clone(),
            },
        );
        return true;
    }
    if input.document.spec.garage.replication_factor == 1 {
        plan.wait(
            what,
            WaitsFor::OnlyCopy {
                host: (*host).clone(),
            },
        );
        return true;
    }
    let others: Vec<String> = down_holders(input, cluster, |id| *id != former);
    if !others.is_empty() {
        plan.wait(what, WaitsFor::HostsDown { hosts: others });
        return true;
    }
    if let Some(waits_for) = agree::disagreement(input, cluster) {
        plan.wait(what, waits_for);
        return true;
    }
    // The lost disk's copies are lost already; those who left before still offer theirs while they are up.
    let lost = |facts: &&crate::MoveFacts| {
        facts.departures().any(|departure| {
            departure.id != former
                && !cluster.is_up(departure.id)
                && !layout.roles.contains_key(&departure.id)
        })
    };
    if let Some(earlier) = input.unplaced().find(lost) {
        plan.wait(
            what,
            WaitsFor::Placed {
                version: earlier.version,
            },
        );
        return true;
    }
    let mut after = layout.roles.clone();
    after.remove(&former);
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
    roles.insert(former, RoleChange::Remove);
    plan.step(
        Step::ChangeLayout {
            through: cluster.through.clone(),
            version: agree::next_version(input, cluster),
            roles,
            zone_redundancy: None,
        },
        Reason::NewNode {
            host: (*host).clone(),
        },
    );
    true
}
