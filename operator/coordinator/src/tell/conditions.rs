//! What is so, and what is wrong.

use hayloft_api::Document;
use hayloft_api::agent::{UnitReport, UnitState};
use hayloft_api::status::{ConditionType, GatewayStatus, HostStatus, Reason};
use hayloft_engine::{Plan, WaitsFor};
use hayloft_garage::admin::HealthStatus;

use super::Outcome;
use crate::observe::Observation;

/// Everything one status is made from.
pub(super) struct Facts<'a> {
    pub(super) document: &'a Document,
    pub(super) observation: Option<&'a Observation>,
    pub(super) plan: &'a Plan,
    pub(super) outcome: &'a Outcome,
    pub(super) hosts: &'a [HostStatus],
    pub(super) gateway: &'a GatewayStatus,
}

/// Whether a condition holds, why, and the same in words.
type Found = (bool, Reason, String);

/// All conditions.
pub(super) fn find(facts: &Facts<'_>) -> [(ConditionType, Found); 7] {
    [
        (ConditionType::Serving, serving(facts)),
        (ConditionType::Converged, converged(facts)),
        (ConditionType::HostsUp, hosts_up(facts)),
        (ConditionType::LayoutSettled, settled(facts)),
        (ConditionType::StagingClean, staging(facts)),
        (ConditionType::Observed, observed(facts)),
        (ConditionType::Acting, acting(facts)),
    ]
}

fn serving(facts: &Facts<'_>) -> Found {
    let wanted = facts.document.gateway_host().is_some();
    let Some(observation) = facts.observation else {
        let text = "no member of Garage could be asked";
        return (false, Reason::Unreachable, text.to_owned());
    };
    if observation.facts.layout.version == 0 {
        return (false, Reason::NoLayout, "Garage has no layout yet".to_owned());
    }
    if observation.health.status == HealthStatus::Unavailable {
        let without = 256_u64.saturating_sub(observation.health.partitions_quorum);
        let text = format!(
            "{without} of 256 partitions have too few hosts up to be written; start the hosts that are down"
        );
        return (false, Reason::QuorumLost, text);
    }
    if wanted && !facts.gateway.up {
        return (
            false,
            Reason::GatewayDown,
            "no gateway runs; see what waits and what hosts run".to_owned(),
        );
    }
    (true, Reason::AsDeclared, "clients can push and pull".to_owned())
}

fn converged(facts: &Facts<'_>) -> Found {
    if let Some(step) = facts.plan.steps.first() {
        return (false, Reason::InProgress, format!("being done: {}", step.step));
    }
    if let Some(waiting) = facts.plan.waiting.first() {
        return (false, Reason::Waiting, waiting.to_string());
    }
    if facts.outcome.is_good() && facts.observation.is_some() {
        (
            true,
            Reason::AsDeclared,
            "all is as the document declares".to_owned(),
        )
    } else {
        (
            false,
            Reason::StepFailed,
            "something failed; see the other conditions".to_owned(),
        )
    }
}

fn hosts_up(facts: &Facts<'_>) -> Found {
    let missed = |host: &&HostStatus| host.declared || host.in_layout;
    let down: Vec<&str> = facts
        .hosts
        .iter()
        .filter(missed)
        .filter(|host| !host.agent || (host.in_layout && !host.up))
        .map(|host| host.name.as_str())
        .collect();
    let failing: Vec<String> = facts
        .hosts
        .iter()
        .filter(missed)
        .flat_map(|host| host.units.iter().map(move |unit| (host, unit)))
        .filter_map(|(host, unit)| Some(format!("{} on {}: {}", unit.name, host.name, trouble(unit)?)))
        .collect();
    if down.is_empty() && failing.is_empty() {
        (true, Reason::AsDeclared, "all hosts are up".to_owned())
    } else if !failing.is_empty() {
        (false, Reason::UnitFailing, failing.join("; "))
    } else {
        let mut text = format!("{} down; start what is down, or look at its log", down.join(", "));
        if let Some(why) = &facts.outcome.unconnected {
            text.push_str(&format!(" ({why})"));
        }
        (false, Reason::HostDown, text)
    }
}

/// What is wrong with a unit, if something is.
fn trouble(unit: &UnitReport) -> Option<String> {
    let said = unit.last_error.clone();
    match &unit.state {
        UnitState::Failed { reason } => Some(reason.clone()),
        UnitState::BackingOff { .. } => Some(said.unwrap_or_else(|| "it ended and is started again".into())),
        UnitState::Starting { .. } | UnitState::Running { .. } | UnitState::Stopped => None,
    }
}

fn settled(facts: &Facts<'_>) -> Found {
    match facts.observation.map(|observation| &observation.facts.layout) {
        None => (
            false,
            Reason::Unreachable,
            "no member of Garage could be asked".to_owned(),
        ),
        Some(layout) if layout.version == 0 => {
            (false, Reason::NoLayout, "Garage has no layout yet".to_owned())
        }
        Some(layout) if !layout.settled => {
            let text = format!("metadata of layout version {} is being synced", layout.version);
            (false, Reason::Syncing, text)
        }
        Some(layout) => (
            true,
            Reason::AsDeclared,
            format!("metadata is synced to layout version {}", layout.version),
        ),
    }
}

fn staging(facts: &Facts<'_>) -> Found {
    let waiting = facts
        .plan
        .waiting
        .iter()
        .find(|waiting| waiting.waits_for == WaitsFor::ForeignStaging);
    match waiting {
        Some(waiting) => (false, Reason::ForeignStaging, waiting.to_string()),
        None => (
            true,
            Reason::AsDeclared,
            "nobody else has staged layout changes".to_owned(),
        ),
    }
}

fn observed(facts: &Facts<'_>) -> Found {
    match (&facts.outcome.unobserved, facts.observation) {
        (Some(why), _) => (
            false,
            Reason::Unreachable,
            format!("no member of Garage answers: {why}"),
        ),
        (None, None) => (
            false,
            Reason::Unreachable,
            "no Garage runs that could be asked".to_owned(),
        ),
        (None, Some(observation)) => (
            true,
            Reason::AsDeclared,
            format!("seen through {}", observation.facts.through),
        ),
    }
}

fn acting(facts: &Facts<'_>) -> Found {
    match (&facts.outcome.refusal, facts.outcome.failures.as_slice()) {
        (Some(refusal), _) => (false, Reason::PlanRefused, refusal.clone()),
        (None, []) => (true, Reason::AsDeclared, "no step failed".to_owned()),
        (None, failures) => (false, Reason::StepFailed, failures.join("; ")),
    }
}
