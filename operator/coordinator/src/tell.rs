//! Telling: status and conditions, from what was seen and done.

use std::collections::BTreeMap;
use std::error::Error;

use hayloft_api::agent::{GATEWAY_UNIT, UnitReport, UnitState};
use hayloft_api::document::Role;
use hayloft_api::status::{
    Condition, ConditionType, GatewayStatus, HostStatus, LayoutStatus, Phase, Reason, SpaceStatus, Status,
    Waiting,
};
use hayloft_api::{Bytes, Document, HostName};
use hayloft_engine::{Plan, Snapshot, WaitsFor};
use hayloft_garage::admin::{AdminError, HealthStatus};
use jiff::Timestamp;

use crate::coordinator::Refusal;
use crate::observe::{Memory, Observation};

/// What went wrong in one round.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    failures: Vec<String>,
    refusal: Option<String>,
    unobserved: Option<String>,
    unconnected: Option<String>,
}

/// An error and its causes in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl Outcome {
    pub(crate) fn fail(&mut self, doing: &str, error: &dyn Error) {
        let text = format!("could not {doing}: {}", chain(error));
        tracing::warn!("{text}");
        self.failures.push(text);
    }

    /// A daemon that just started may not listen yet: this is looked at again soon, and is no failure by itself.
    pub(crate) fn unconnected(&mut self, error: &dyn Error) {
        let text = chain(error);
        tracing::debug!("{text}");
        self.unconnected = Some(text);
    }

    pub(crate) fn unobserved(&mut self, error: &AdminError) {
        self.unobserved = Some(chain(error));
    }

    pub(crate) fn refuse(&mut self, refusal: Refusal) {
        let text = match refusal {
            Refusal::Invalid(invalid) => invalid.to_string(),
            Refusal::Objections(objections) => {
                let objections: Vec<String> = objections.iter().map(ToString::to_string).collect();
                format!(
                    "the plan was refused, which is a fault of Hayloft: {}",
                    objections.join("; ")
                )
            }
        };
        tracing::error!("{text}");
        self.refusal = Some(text);
    }

    /// Whether no step failed and the plan was followed.
    pub(crate) fn is_good(&self) -> bool {
        let Self {
            failures,
            refusal,
            unobserved: _,
            unconnected: _,
        } = self;
        failures.is_empty() && refusal.is_none()
    }
}

/// Tells status, and remembers since when conditions hold.
#[derive(Debug)]
pub(crate) struct Teller {
    first: Status,
    since: BTreeMap<ConditionType, (bool, Timestamp)>,
    served: bool,
}

/// Everything one status is made from.
struct Facts<'a> {
    document: &'a Document,
    snapshot: &'a Snapshot,
    observation: Option<&'a Observation>,
    plan: &'a Plan,
    outcome: &'a Outcome,
    hosts: &'a [HostStatus],
    gateway: &'a GatewayStatus,
}

impl Teller {
    pub(crate) fn new(document: &Document, now: Timestamp) -> Self {
        let first = Status {
            cluster: document.metadata.name.clone(),
            observed_at: now,
            phase: Phase::Starting,
            hosts: Vec::new(),
            layout: LayoutStatus::default(),
            space: SpaceStatus::default(),
            gateway: GatewayStatus::default(),
            conditions: Vec::new(),
            waiting: Vec::new(),
        };
        Self {
            first,
            since: BTreeMap::new(),
            served: false,
        }
    }

    /// The status before the first round.
    pub(crate) fn first(&self) -> Status {
        self.first.clone()
    }

    pub(crate) fn tell(
        &mut self,
        document: &Document,
        snapshot: &Snapshot,
        observation: Option<&Observation>,
        memory: &Memory,
        plan: &Plan,
        outcome: &Outcome,
    ) -> Status {
        let hosts = hosts(document, snapshot, observation, memory);
        let gateway = gateway(document, snapshot, memory);
        let facts = Facts {
            document,
            snapshot,
            observation,
            plan,
            outcome,
            hosts: &hosts,
            gateway: &gateway,
        };
        let found = [
            (ConditionType::Serving, serving(&facts)),
            (ConditionType::Converged, converged(&facts)),
            (ConditionType::HostsUp, hosts_up(&facts)),
            (ConditionType::LayoutSettled, settled(&facts)),
            (ConditionType::StagingClean, staging(&facts)),
            (ConditionType::Observed, observed(&facts)),
            (ConditionType::Acting, acting(&facts)),
        ];
        let now = snapshot.now;
        let conditions: Vec<Condition> = found
            .into_iter()
            .map(|(kind, (status, reason, message))| {
                let since = self.since.entry(kind).or_insert((status, now));
                if since.0 != status {
                    *since = (status, now);
                }
                Condition {
                    kind,
                    status,
                    reason,
                    message,
                    since: since.1,
                }
            })
            .collect();
        let holds = |kind| {
            conditions
                .iter()
                .any(|condition| condition.kind == kind && condition.status)
        };
        let healthy = [
            ConditionType::Serving,
            ConditionType::HostsUp,
            ConditionType::StagingClean,
            ConditionType::Observed,
            ConditionType::Acting,
        ];
        self.served |= holds(ConditionType::Serving);
        let phase = if !self.served {
            Phase::Starting
        } else if !healthy.into_iter().all(holds) {
            Phase::Degraded
        } else if holds(ConditionType::Converged) {
            Phase::Ready
        } else {
            Phase::Converging
        };
        Status {
            cluster: document.metadata.name.clone(),
            observed_at: now,
            phase,
            layout: layout(observation),
            space: space(document, observation),
            hosts,
            gateway,
            conditions,
            waiting: plan
                .waiting
                .iter()
                .map(|waiting| Waiting {
                    what: waiting.what.clone(),
                    waits_for: waiting.waits_for.to_string(),
                })
                .collect(),
        }
    }
}

fn hosts(
    document: &Document,
    snapshot: &Snapshot,
    observation: Option<&Observation>,
    memory: &Memory,
) -> Vec<HostStatus> {
    let mut names: Vec<&HostName> = document.spec.hosts.iter().map(|host| &host.name).collect();
    for (name, facts) in &snapshot.hosts {
        let in_layout = facts.id.is_some_and(|id| {
            snapshot
                .cluster
                .as_ref()
                .is_some_and(|cluster| cluster.layout.roles.contains_key(&id))
        });
        if !names.contains(&name) && (in_layout || facts.left.is_some()) {
            names.push(name);
        }
    }
    names.sort();
    names
        .into_iter()
        .map(|name| host(name, document, snapshot, observation, memory))
        .collect()
}

fn host(
    name: &HostName,
    document: &Document,
    snapshot: &Snapshot,
    observation: Option<&Observation>,
    memory: &Memory,
) -> HostStatus {
    let spec = document.host(name);
    let facts = snapshot.hosts.get(name);
    let id = facts.and_then(|facts| facts.id);
    let heard = memory.heard.get(name);
    let report = heard.map(|heard| &heard.report);
    let role = id.and_then(|id| observation?.layout.roles.iter().find(|role| role.id == id));
    let node = id.and_then(|id| snapshot.cluster.as_ref()?.nodes.get(&id));
    HostStatus {
        name: name.clone(),
        zone: spec
            .map(|spec| spec.zone.clone())
            .or_else(|| facts.and_then(|facts| facts.zone.clone())),
        roles: spec.map(|spec| spec.roles.clone()).unwrap_or_default(),
        garage_id: id,
        declared: spec.is_some(),
        agent: facts.is_some_and(|facts| facts.agent),
        up: node.is_some_and(|node| node.up),
        in_layout: role.is_some(),
        pledge: spec
            .and_then(|spec| spec.pledge)
            .or_else(|| role.and_then(|role| role.capacity).map(Bytes)),
        partitions: role.and_then(|role| role.stored_partitions),
        disk: report.and_then(|report| report.disk),
        garage_version: report.and_then(|report| report.garage_version.clone()),
        units: report.map(|report| report.units.clone()).unwrap_or_default(),
    }
}

fn layout(observation: Option<&Observation>) -> LayoutStatus {
    let Some(observation) = observation else {
        return LayoutStatus::default();
    };
    let layout = &observation.facts.layout;
    let storage = layout
        .roles
        .values()
        .filter(|role| role.capacity.is_some())
        .count();
    LayoutStatus {
        version: layout.version,
        settled: layout.version > 0 && layout.settled,
        storage_hosts: u64::try_from(storage).unwrap_or(u64::MAX),
        zone_redundancy: layout.zone_redundancy,
        partitions_with_quorum: (layout.version > 0).then_some(observation.health.partitions_quorum),
    }
}

fn space(document: &Document, observation: Option<&Observation>) -> SpaceStatus {
    let pledged = document
        .storage_hosts()
        .filter_map(|host| host.pledge)
        .map(|Bytes(bytes)| bytes);
    let bucket = observation.and_then(|observation| observation.bucket.as_ref());
    SpaceStatus {
        pledged: Bytes(pledged.fold(0, u64::saturating_add)),
        // Garage's partitions are 256, whatever the cluster.
        usable: observation
            .filter(|observation| observation.layout.version > 0)
            .map(|observation| Bytes(observation.layout.partition_size.saturating_mul(256))),
        used: bucket.map(|bucket| Bytes(bucket.bytes)),
        objects: bucket.map(|bucket| bucket.objects),
    }
}

fn gateway(document: &Document, snapshot: &Snapshot, memory: &Memory) -> GatewayStatus {
    let running = |name: &HostName| {
        snapshot
            .hosts
            .get(name)
            .and_then(|facts| facts.report.as_ref())
            .is_some_and(|report| report.gateway_runs)
    };
    let hosts: Vec<HostName> = memory
        .heard
        .iter()
        .filter(|(name, heard)| heard.report.unit(GATEWAY_UNIT).is_some() && running(name))
        .map(|(name, _)| name.clone())
        .collect();
    let address = hosts
        .first()
        .and_then(|name| memory.heard.get(name)?.report.gateway_addr.clone());
    GatewayStatus {
        up: !hosts.is_empty(),
        url: document
            .spec
            .gateway
            .public_url
            .clone()
            .or_else(|| address.map(|addr| format!("http://{addr}"))),
        hosts,
        caches: document
            .spec
            .caches
            .iter()
            .map(|cache| cache.name.clone())
            .collect(),
    }
}

type Found = (bool, Reason, String);

fn serving(facts: &Facts<'_>) -> Found {
    let wanted = facts
        .document
        .spec
        .hosts
        .iter()
        .any(|host| host.has(Role::Gateway));
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
        (None, []) => {
            let _ = facts.snapshot;
            (true, Reason::AsDeclared, "no step failed".to_owned())
        }
        (None, failures) => (false, Reason::StepFailed, failures.join("; ")),
    }
}
