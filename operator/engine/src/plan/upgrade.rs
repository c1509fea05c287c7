//! Other programs for Garage: hosts restart into them one after the other, zone by zone, while all else is well. Before another
//! minor version, tables are repaired, as Garage's manual asks
//! (<https://garagehq.deuxfleurs.fr/documentation/operations/upgrading/>).

use std::collections::BTreeSet;

use hayloft_api::agent::{GarageWaiting, ProgramStanding};
use jiff::SignedDuration;

use super::layout::down_holders;
use super::{join, moves};
use crate::{
    ClusterFacts, GaragePlan, HostPlan, Input, Member, Plan, Reason, Renewal, RepairKind, Step, WaitsFor,
};

/// Tables that were repaired within this time are as good as repaired now.
const REPAIRED_WITHIN: SignedDuration = SignedDuration::from_hours(24);

/// What a host may keep on restarting into: what it was permitted before, or is trying already.
pub(super) fn kept(member: &Member<'_>) -> Option<String> {
    let waiting = member.report()?.garage_waiting.as_ref()?;
    let told = member
        .facts
        .and_then(|facts| facts.told.as_ref())
        .map(|told| told.garage.as_ref().and_then(|garage| garage.program.clone()));
    let permitted = match told {
        Some(told) => told.as_ref() == Some(&waiting.program),
        None => waiting.standing == ProgramStanding::Trying,
    };
    (permitted && waiting.standing != ProgramStanding::Refused).then(|| waiting.program.clone())
}

/// A host that restarts into another program now, or is about to.
pub(super) fn under_way<'a>(input: &'a Input<'a>) -> Option<&'a Member<'a>> {
    let mut members = input.members.values();
    members.find(|member| member.facts.is_some_and(|facts| facts.agent) && kept(member).is_some())
}

/// Lets the next host restart into the program that it has ready, when nothing speaks against it.
pub(super) fn permit(input: &Input<'_>, plan: &mut Plan) {
    let Some(cluster) = input.cluster() else { return };
    let mut ready: Vec<(&Member<'_>, &GarageWaiting)> = input
        .members
        .values()
        .filter(|member| member.keeps_garage() && member.facts.is_some_and(|facts| facts.agent))
        .filter_map(|member| Some((member, member.report()?.garage_waiting.as_ref()?)))
        .collect();
    // A zone is done before the next begins.
    ready.sort_by_key(|(member, _)| (member.role.map(|role| role.zone.clone()), member.name));
    let refused = |waiting: &GarageWaiting| waiting.standing == ProgramStanding::Refused;
    let mut busy = under_way(input);
    for (member, waiting) in &ready {
        if refused(waiting) {
            continue;
        }
        let what = format!("restart Garage on {} as {}", member.name, waiting.version);
        let failed = ready
            .iter()
            .find(|(_, other)| refused(other) && other.version == waiting.version);
        let waits_for = if let Some(unfit) = unfit(member, waiting) {
            WaitsFor::FitGarage { unfit }
        } else if let Some(busy) = busy {
            WaitsFor::GarageTrial {
                host: busy.name.clone(),
            }
        } else if let Some((other, _)) = failed {
            WaitsFor::GarageRefused {
                host: other.name.clone(),
                version: waiting.version.clone(),
            }
        } else if let Some(waits_for) = obstacle(input, cluster, plan) {
            waits_for
        } else if let Some(repair) = repair_first(input, cluster, member, waiting) {
            let version = waiting.version.clone();
            plan.step(repair, Reason::BeforeGarage { version });
            WaitsFor::Calm
        } else if let Some(wanted) = with_program(member, waiting, plan) {
            busy = Some(member);
            plan.step(
                Step::Desire {
                    host: member.name.clone(),
                    plan: Box::new(wanted),
                },
                Reason::OtherGarage {
                    version: waiting.version.clone(),
                },
            );
            continue;
        } else {
            // It is told something else first.
            WaitsFor::Calm
        };
        plan.wait(what, waits_for);
    }
}

/// Why a program must not follow the one that runs.
fn unfit(member: &Member<'_>, waiting: &GarageWaiting) -> Option<String> {
    let runs = member.report()?.garage_version.as_deref()?;
    let next = waiting.version.as_str();
    if join::older(next, runs) {
        return Some(format!(
            "{next} is older than {runs}, which runs, and cannot be trusted to read its data; install {runs} or a newer one"
        ));
    }
    (!join::same(next, runs, 1)).then(|| {
        format!(
            "{next} is of another major version than {runs}, which runs: members of both do not understand each other; install the \
             newest of {runs}'s"
        )
    })
}

/// The next repair of tables that comes before another minor version, one host after the other.
fn repair_first(
    input: &Input<'_>,
    cluster: &ClusterFacts,
    member: &Member<'_>,
    waiting: &GarageWaiting,
) -> Option<Step> {
    let runs = member.report()?.garage_version.as_deref()?;
    if join::same(runs, &waiting.version, 2) {
        return None;
    }
    let stale = |member: &&Member<'_>| {
        let upkeep = member.facts.and_then(|facts| facts.upkeep.as_ref());
        upkeep.is_some_and(|upkeep| {
            let since = upkeep.tables.map(|at| input.snapshot.now.duration_since(at));
            since.is_none_or(|since| since > REPAIRED_WITHIN)
        })
    };
    let mut holders = input.members.values().filter(|member| {
        let role = member.role;
        role.is_some_and(|role| role.capacity.is_some())
    });
    let next = holders.find(stale)?.id()?;
    Some(Step::LaunchRepair {
        through: cluster.through.clone(),
        nodes: BTreeSet::from([next]),
        kind: RepairKind::Tables,
    })
}

/// What must be over first.
fn obstacle(input: &Input<'_>, cluster: &ClusterFacts, plan: &Plan) -> Option<WaitsFor> {
    let hosts = down_holders(input, cluster, |_| true);
    if !hosts.is_empty() {
        return Some(WaitsFor::HostsDown { hosts });
    }
    let version = cluster.layout.version;
    if !cluster.layout.settled {
        return Some(WaitsFor::Settling { version });
    }
    if let Some(unplaced) = input.unplaced().next() {
        return Some(moves::done(input, unplaced));
    }
    let secrets = &input.snapshot.secrets;
    if !secrets.known_to.is_empty() || secrets.renewal != Renewal::None {
        let known_to = secrets.known_to.iter().cloned().collect();
        return Some(WaitsFor::Renewal { known_to });
    }
    if !input.in_window() {
        let windows = input.document.spec.rebalance.windows.clone();
        return Some(WaitsFor::Windows { windows });
    }
    let looked_after = input.members.values().any(|member| {
        member
            .facts
            .is_some_and(|facts| facts.upkeep.as_ref().is_some_and(|upkeep| upkeep.busy))
    });
    let works = plan.steps.iter().any(|planned| {
        matches!(
            planned.step,
            Step::LaunchRepair { .. } | Step::KeepSnapshot { .. }
        )
    });
    let calm = cluster.layout.staged.is_empty() && !plan.changes_layout() && !looked_after && !works;
    (!calm).then_some(WaitsFor::Calm)
}

/// What the host was told, with leave to restart into that program; `None` while it is told anew anyway, or was told nothing.
fn with_program(member: &Member<'_>, waiting: &GarageWaiting, plan: &Plan) -> Option<HostPlan> {
    if plan.desired_of(member.name).is_some() {
        return None;
    }
    let told = member.facts?.told.as_ref()?;
    let garage = told.garage.as_ref()?;
    Some(HostPlan {
        garage: Some(GaragePlan {
            program: Some(waiting.program.clone()),
            ..garage.clone()
        }),
        ..told.clone()
    })
}
