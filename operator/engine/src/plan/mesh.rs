//! Garage's mesh: everyone connected to everyone.

use crate::{Input, Member, Plan, Reason, Step};

/// Connects the asked member to every Garage that runs and that it does not see.
pub(super) fn connect(input: &Input<'_>, plan: &mut Plan) {
    let Some(cluster) = input.cluster() else { return };
    let apart: Vec<&Member<'_>> = input
        .members
        .values()
        .filter(|member| {
            *member.name != cluster.through && member.keeps_garage() && !member.barred && !member.up
        })
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
