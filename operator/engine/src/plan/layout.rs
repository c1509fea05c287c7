//! Garage's mesh and its layout.

use std::collections::{BTreeMap, BTreeSet};

use hayloft_api::document::HostSpec;
use hayloft_api::{Bytes, HostName, NodeId};
use jiff::SignedDuration;

use crate::{ClusterFacts, Input, LayoutFacts, Member, NodeRole, Plan, Reason, RoleChange, Step, WaitsFor};

/// How long the first layout waits for declared hosts that are not there, when those that are suffice.
const FIRST_HOSTS: SignedDuration = SignedDuration::from_secs(20);

/// Garage forgets deletions a day after they happened. A host that comes back within this time still merges cleanly; a
/// later one would revive deleted rows.
const MAY_RETURN: SignedDuration = SignedDuration::from_hours(20);

/// Connects the asked member to every Garage that runs and that it does not see.
pub(super) fn connect(input: &Input<'_>, plan: &mut Plan) {
    let Some(cluster) = input.cluster() else { return };
    let apart: Vec<&Member<'_>> = input
        .members
        .values()
        .filter(|member| *member.name != cluster.through && member.keeps_garage() && !member.up)
        .filter(|member| member.report().is_some_and(|report| report.garage_runs))
        .filter(|member| member.facts.is_some_and(|facts| facts.agent))
        .collect();
    let peers: Vec<_> = apart.iter().filter_map(|member| member.peer()).collect();
    if !peers.is_empty() {
        let hosts = apart.iter().map(|member| member.name.clone()).collect();
        plan.step(
            Step::Connect {
                through: cluster.through.clone(),
                peers,
            },
            Reason::Unconnected { hosts },
        );
    }
}

/// How the declared roles differ from the current ones.
struct Difference<'a> {
    joins: Vec<&'a Member<'a>>,
    changes: Vec<&'a Member<'a>>,
    leaves: Vec<&'a Member<'a>>,
    redundancy: Option<u8>,
}

impl Difference<'_> {
    fn is_empty(&self) -> bool {
        let Self {
            joins,
            changes,
            leaves,
            redundancy,
        } = self;
        joins.is_empty() && changes.is_empty() && leaves.is_empty() && redundancy.is_none()
    }
}

/// The role that the document gives a host.
fn declared_role(spec: &HostSpec) -> NodeRole {
    NodeRole {
        zone: spec.zone.to_string(),
        capacity: spec.pledge.map(|Bytes(bytes)| bytes),
        tags: vec![spec.name.to_string()],
    }
}

/// Plans at most one layout version, or says what it waits for.
pub(super) fn change(input: &Input<'_>, plan: &mut Plan) {
    let Some(cluster) = input.cluster() else {
        if input.document.storage_hosts().next().is_some() {
            plan.wait("look at the layout", WaitsFor::Observation);
        }
        return;
    };
    let layout = &cluster.layout;
    strangers(input, layout, plan);
    if !layout.staged.is_empty() {
        let ours = input
            .snapshot
            .staged_by_us
            .as_ref()
            .is_some_and(|ours| layout.staged.is_within(ours));
        if ours {
            plan.step(
                Step::RevertStaging {
                    through: cluster.through.clone(),
                },
                Reason::Interrupted,
            );
        } else {
            plan.wait("change the layout", WaitsFor::ForeignStaging);
        }
        return;
    }
    if layout.version > 0 && !layout.settled {
        let down = down_holders(input, cluster);
        let waits_for = if down.is_empty() {
            WaitsFor::Settling {
                version: layout.version,
            }
        } else {
            WaitsFor::HostsDown { hosts: down }
        };
        plan.wait(format!("settle layout version {}", layout.version), waits_for);
    }
    let difference = differ(input, layout, plan);
    if !difference.is_empty() {
        if layout.version == 0 {
            first(input, cluster, &difference, plan);
        } else {
            next(input, cluster, &difference, plan);
        }
    }
}

/// Roles of nodes that no known host has: never touched.
fn strangers(input: &Input<'_>, layout: &LayoutFacts, plan: &mut Plan) {
    for (id, role) in &layout.roles {
        if input.host_of(*id).is_none() {
            let tags = role.tags.join(", ");
            plan.wait(
                format!("account for the role of node {} ({tags})", id.short()),
                WaitsFor::Person,
            );
        }
    }
}

/// Compares roles. Joiners that cannot be given a role yet are put among what waits.
fn differ<'a>(input: &'a Input<'a>, layout: &LayoutFacts, plan: &mut Plan) -> Difference<'a> {
    let mut difference = Difference {
        joins: vec![],
        changes: vec![],
        leaves: vec![],
        redundancy: None,
    };
    for member in input.members.values() {
        match (member.spec.filter(|_| member.shall_store()), member.role) {
            (Some(_), None) => match obstacle(input, member) {
                None => difference.joins.push(member),
                Some(waits_for) => plan.wait(format!("give {} a role", member.name), waits_for),
            },
            (Some(spec), Some(role)) if *role != declared_role(spec) => difference.changes.push(member),
            (None, Some(_)) => difference.leaves.push(member),
            (Some(_), Some(_)) => {}
            (None, None) => {
                if member.facts.is_some_and(|facts| facts.left.is_some()) {
                    let what = format!(
                        "delete the data of {}, which is kept and offered to others",
                        member.name
                    );
                    plan.wait(
                        what,
                        WaitsFor::Placement {
                            host: member.name.clone(),
                        },
                    );
                }
            }
        }
    }
    let declared = input.document.spec.garage.zones();
    if layout.zone_redundancy != Some(declared) {
        difference.redundancy = Some(declared);
    }
    difference
}

/// Why a host without a role cannot get one now.
fn obstacle(input: &Input<'_>, member: &Member<'_>) -> Option<WaitsFor> {
    let name = || vec![member.name.clone()];
    let Some(report) = member.report() else {
        return Some(WaitsFor::Agents { hosts: name() });
    };
    if let Some(unfit) = &report.unfit {
        return Some(WaitsFor::FitGarage { unfit: unfit.clone() });
    }
    if !report.garage_runs || !member.up {
        return Some(WaitsFor::GarageUp { hosts: name() });
    }
    if let Some(left) = member.facts.and_then(|facts| facts.left)
        && input.snapshot.now.duration_since(left) > MAY_RETURN
    {
        return Some(WaitsFor::NewIdentity { left });
    }
    let pledge = member.spec?.pledge?;
    let disk = report.disk.map(|disk| Bytes(disk.data_total));
    disk.filter(|disk| *disk < pledge)
        .map(|disk| WaitsFor::LargerDisk { disk, pledge })
}

/// The first version: as soon as all declared hosts are there, or those that are suffice and the others keep us
/// waiting.
fn first(input: &Input<'_>, cluster: &ClusterFacts, difference: &Difference<'_>, plan: &mut Plan) {
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
fn next(input: &Input<'_>, cluster: &ClusterFacts, difference: &Difference<'_>, plan: &mut Plan) {
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
    let down = down_holders(input, cluster);
    if !down.is_empty() {
        plan.wait(what, WaitsFor::HostsDown { hosts: down });
        return;
    }
    let windows = &input.document.spec.rebalance.windows;
    if !windows.is_empty()
        && !windows
            .iter()
            .any(|window| window.contains(input.snapshot.minute_of_day))
    {
        plan.wait(
            what,
            WaitsFor::Windows {
                windows: windows.clone(),
            },
        );
        return;
    }
    let joins: &[_] = match join_window(input, joins) {
        None => joins,
        Some(waits_for) => {
            plan.wait(
                format!("let {} join", crate::step::list(&names(joins))),
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
            match earlier_leaver(input, leaver) {
                Some(host) => {
                    let wait = WaitsFor::Placement { host: host.clone() };
                    plan.wait(format!("take the role from {}", leaver.name), wait);
                    None
                }
                None => Some(*leaver),
            }
        }
        _ => None,
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
            version: layout.version + 1,
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

fn names(members: &[&Member<'_>]) -> Vec<HostName> {
    members.iter().map(|member| member.name.clone()).collect()
}

fn assignments(members: &[&Member<'_>]) -> BTreeMap<NodeId, NodeRole> {
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

/// A host that left before and whose data is not proven to lie elsewhere.
fn earlier_leaver<'a>(input: &Input<'a>, leaver: &Member<'_>) -> Option<&'a HostName> {
    input
        .members
        .values()
        .filter(|member| member.name != leaver.name && member.role.is_none())
        .find(|member| member.facts.is_some_and(|facts| facts.left.is_some()))
        .map(|member| member.name)
}

/// Role holders that the asked member is not connected to; Garage's own gateways count too, for they freeze a
/// change as well.
fn down_holders(input: &Input<'_>, cluster: &ClusterFacts) -> Vec<String> {
    let up = |id: &NodeId| cluster.nodes.get(id).is_some_and(|node| node.up);
    cluster
        .layout
        .roles
        .keys()
        .filter(|id| !up(id))
        .map(|id| input.name_of(*id))
        .collect()
}

/// Why these roles could not hold all copies.
fn too_few(input: &Input<'_>, roles: &[&NodeRole]) -> Option<WaitsFor> {
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
