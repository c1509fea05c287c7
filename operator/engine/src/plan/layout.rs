//! How the layout differs from what is declared, and what is done about it.

use hayloft_api::document::HostSpec;
use hayloft_api::{Bytes, HostName, NodeId};

use super::{agree, evict, join, replace, settle, version};
use crate::{AskedFor, ClusterFacts, Input, LayoutFacts, Member, NodeRole, Plan, Reason, Step, WaitsFor};

/// How the declared roles differ from the current ones.
pub(super) struct Difference<'a> {
    pub(super) joins: Vec<&'a Member<'a>>,
    pub(super) changes: Vec<&'a Member<'a>>,
    pub(super) leaves: Vec<&'a Member<'a>>,
    pub(super) redundancy: Option<u8>,
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
pub(super) fn declared_role(spec: &HostSpec) -> NodeRole {
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
    let difference = differ(input, layout, plan);
    evict::bar(input, cluster, &difference, plan);
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
    if agree::heal(input, cluster, plan) {
        return;
    }
    settle::follow(input, cluster, plan);
    if layout.version == 0 {
        version::first(input, cluster, &difference, plan);
    } else if !evict::remove(input, cluster, &difference, plan)
        && !replace::replace(input, cluster, &difference, plan)
        && !difference.is_empty()
    {
        version::next(input, cluster, &difference, plan);
    }
}

/// Roles of nodes that no known host has: never touched.
fn strangers(input: &Input<'_>, layout: &LayoutFacts, plan: &mut Plan) {
    for (id, role) in &layout.roles {
        if input.host_of(*id).is_none() && input.former_host(*id).is_none() {
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
            (Some(_), None) => match join::obstacle(input, member) {
                None => difference.joins.push(member),
                Some(waits_for) => plan.wait(format!("give {} a role", member.name), waits_for),
            },
            (Some(spec), Some(role)) if *role != declared_role(spec) && !member.barred => {
                difference.changes.push(member);
            }
            (None, Some(_)) if member.barred || member.asked() == Some(AskedFor::Evict) => {}
            (None, Some(_)) => difference.leaves.push(member),
            (Some(_), Some(_)) => {}
            (None, None) => {}
        }
    }
    let declared = input.document.spec.garage.zones();
    if layout.zone_redundancy != Some(declared) {
        difference.redundancy = Some(declared);
    }
    difference
}

pub(super) fn names(members: &[&Member<'_>]) -> Vec<HostName> {
    members.iter().map(|member| member.name.clone()).collect()
}

/// Role holders that the asked member is not connected to; Garage's own gateways count too, for they freeze a
/// change as well.
pub(super) fn down_holders(
    input: &Input<'_>,
    cluster: &ClusterFacts,
    counts: impl Fn(&NodeId) -> bool,
) -> Vec<String> {
    let up = |id: &NodeId| cluster.nodes.get(id).is_some_and(|node| node.up);
    cluster
        .layout
        .roles
        .keys()
        .filter(|id| !up(id) && counts(id))
        .map(|id| input.name_of(*id))
        .collect()
}
