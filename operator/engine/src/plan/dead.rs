//! Hosts that hold data and are away.

use hayloft_api::Span;

use super::layout::down_holders;
use crate::{ClusterFacts, Input, Member, Plan, WaitsFor};

/// A host that is taken for dead.
#[derive(Clone, Copy)]
pub(super) struct Dead<'a> {
    pub(super) member: &'a Member<'a>,
    pub(super) observed: Span,
}

/// Says of every absent holder what it waits for, and yields the one that the rule puts out, if there is just one.
pub(super) fn one<'a>(input: &'a Input<'a>, cluster: &ClusterFacts, plan: &mut Plan) -> Option<Dead<'a>> {
    let mut dead = Vec::new();
    let missed = input
        .members
        .values()
        .filter(|member| member.role.is_some() && !member.up && !member.barred);
    for member in missed {
        let Some(absence) = member.facts.and_then(|facts| facts.presence.absent) else {
            continue;
        };
        let what = format!("do without {}", member.name);
        let host = member.name.clone();
        let mut observed = absence.observed;
        if let Some(away) = member.spec.and_then(|spec| spec.away.as_ref()) {
            if away.until > input.snapshot.now {
                let until = away.until;
                plan.wait(what, WaitsFor::Away { host, until });
                continue;
            }
            // What was announced does not count.
            let announced = away.until.duration_since(absence.since).as_secs();
            let announced = u64::try_from(announced).unwrap_or(0);
            observed.seconds = observed.seconds.saturating_sub(announced);
        }
        let dead_after = input.document.spec.rebalance.dead_after;
        if observed < dead_after {
            plan.wait(
                what,
                WaitsFor::Absence {
                    host,
                    observed: roughly(observed),
                    dead_after,
                },
            );
        } else {
            dead.push(Dead { member, observed });
        }
    }
    let hosts = || dead.iter().map(|dead| dead.member.name.clone()).collect();
    match dead.as_slice() {
        [] => None,
        [only] => {
            let name = only.member.name;
            let others = down_holders(input, cluster, |id| only.member.id() != Some(*id));
            // A rule handles one host, and only when nobody else is missing.
            if !others.is_empty() {
                plan.wait(
                    format!("do without {name}"),
                    WaitsFor::HostsDown { hosts: others },
                );
                return None;
            }
            Some(*only)
        }
        _ => {
            plan.wait(
                "do without hosts that seem dead",
                WaitsFor::PersonForDead { hosts: hosts() },
            );
            None
        }
    }
}

/// In steps of five minutes, or of hours: what waits is told anew only when there is something new to tell.
fn roughly(observed: Span) -> Span {
    let step = if observed.seconds < 3600 { 300 } else { 3600 };
    Span::seconds(observed.seconds / step * step)
}
