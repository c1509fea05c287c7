//! Telling: status and conditions, from what was seen and done.

mod conditions;
mod moves;
mod parts;

use std::collections::BTreeMap;
use std::error::Error;

use hayloft_api::Document;
use hayloft_api::status::{
    Condition, ConditionType, GatewayStatus, LayoutStatus, Phase, SecretsStatus, SpaceStatus, Status, Waiting,
};
use hayloft_engine::{Finding, Plan, Snapshot, findings};
use jiff::Timestamp;

use self::conditions::Facts;
use crate::looper::Refusal;
use crate::memory::Memory;
use crate::observe::Observation;

/// What went wrong in one round.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    failures: Vec<String>,
    refusal: Option<String>,
    unobserved: Option<String>,
    unconnected: Option<String>,
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
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

    pub(crate) fn unobserved(&mut self, why: String) {
        self.unobserved = Some(why);
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

    /// The last thing that failed.
    pub(crate) fn last_failure(&self) -> Option<String> {
        self.failures.last().cloned()
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
            secrets: SecretsStatus::default(),
            conditions: Vec::new(),
            waiting: Vec::new(),
            moves: Vec::new(),
            events: Vec::new(),
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
        memory: &mut Memory,
        plan: &Plan,
        outcome: &Outcome,
    ) -> Status {
        let hosts = parts::hosts(document, snapshot, observation, memory);
        let gateway = parts::gateway(document, snapshot, memory);
        let facts = Facts {
            document,
            observation,
            plan,
            outcome,
            hosts: &hosts,
            gateway: &gateway,
        };
        let found = conditions::find(&facts);
        let rules = findings(document, snapshot, plan).into_iter().map(|finding| {
            let Finding {
                kind,
                holds,
                reason,
                message,
            } = finding;
            (kind, (holds, reason, message))
        });
        let now = snapshot.now;
        let conditions: Vec<Condition> = found
            .into_iter()
            .chain(rules)
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
        let healthy = conditions
            .iter()
            .filter(|condition| condition.kind.is_health())
            .all(|condition| condition.status);
        self.served |= holds(ConditionType::Serving);
        let phase = if !self.served {
            Phase::Starting
        } else if !healthy {
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
            layout: parts::layout(observation),
            space: parts::space(document, observation),
            secrets: parts::secrets(snapshot, memory),
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
            moves: moves::moves(snapshot, memory),
            events: memory.events.shown(),
        }
    }
}
