//! The plan: steps in order, and what must wait.

mod access;
mod agree;
mod dead;
mod desired;
mod evict;
mod join;
mod layout;
mod mesh;
mod moves;
mod replace;
mod resync;
mod retire;
mod settle;
mod upgrade;
mod upkeep;
mod version;

use std::collections::BTreeMap;
use std::fmt;

use hayloft_api::{HostName, NodeId};
use serde::Serialize;

use crate::{HostPlan, Input, Leadership, Reason, Snapshot, Step, Waiting, WaitsFor};

pub use join::{SKEW, older};
pub(crate) use moves::RECEIVING_DELAY;
pub(crate) use retire::GIVING_DELAY;
pub use upkeep::{SCRUB_EVERY, SNAPSHOT_EVERY};

/// What is to be done now, in order, and what must wait.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// To be done now, in order; one that fails keeps none of the others from being tried.
    pub steps: Vec<Planned>,
    /// To be done later.
    pub waiting: Vec<Waiting>,
    /// What hosts are called whose nodes steps speak of.
    #[serde(skip)]
    pub names: BTreeMap<NodeId, HostName>,
}

/// A step and why it is taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// The step.
    #[serde(flatten)]
    pub step: Step,
    /// Why.
    pub reason: Reason,
}

impl Plan {
    fn step(&mut self, step: Step, reason: Reason) {
        self.steps.push(Planned { step, reason });
    }

    fn wait(&mut self, what: impl Into<String>, waits_for: WaitsFor) {
        let waiting = Waiting {
            what: what.into(),
            waits_for,
        };
        if !self.waiting.contains(&waiting) {
            self.waiting.push(waiting);
        }
    }

    /// Whether all is as declared.
    pub fn is_done(&self) -> bool {
        self.steps.is_empty() && self.waiting.is_empty()
    }

    /// What it tells a host to run, if it does.
    fn desired_of(&self, name: &HostName) -> Option<&HostPlan> {
        self.steps.iter().rev().find_map(|planned| match &planned.step {
            Step::Desire { host, plan } if host == name => Some(&**plan),
            _ => None,
        })
    }

    /// Whether it writes a layout version.
    fn changes_layout(&self) -> bool {
        self.steps
            .iter()
            .any(|planned| matches!(planned.step, Step::ChangeLayout { .. } | Step::HealSplit { .. }))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_done() {
            return writeln!(f, "nothing to do: all is as declared");
        }
        for (n, Planned { step, reason }) in self.steps.iter().enumerate() {
            writeln!(f, "{}. {} ({reason})", n + 1, step.named(&self.names))?;
        }
        for waiting in &self.waiting {
            writeln!(f, "-  {waiting}")?;
        }
        Ok(())
    }
}

/// Plans what to do now. Carrying the steps out and planning again leads, step by step, to what is declared.
pub fn plan(input: &Input<'_>) -> Plan {
    let mut plan = Plan {
        names: names(input.snapshot),
        ..Plan::default()
    };
    if let Some(waits_for) = not_leading(&input.snapshot.leadership) {
        plan.wait("do anything", waits_for);
        return plan;
    }
    if input.snapshot.stale_document.is_some() {
        plan.wait("follow the document that came back", WaitsFor::Confirmation);
    }
    desired::tell_hosts(input, &mut plan);
    mesh::connect(input, &mut plan);
    layout::change(input, &mut plan);
    evict::renew_secrets(input, &mut plan);
    moves::follow(input, &mut plan);
    retire::wait_for(input, &mut plan);
    resync::set(input, &mut plan);
    access::ensure(input, &mut plan);
    upkeep::look_after(input, &mut plan);
    upgrade::permit(input, &mut plan);
    for pool in &input.document.spec.pools {
        plan.wait(
            format!("make the {} hosts of pool {}", pool.replicas, pool.name),
            WaitsFor::Kubernetes,
        );
    }
    plan
}

/// The hosts that nodes are or were.
fn names(snapshot: &Snapshot) -> BTreeMap<NodeId, HostName> {
    let hosts = snapshot.hosts.iter();
    let former = hosts
        .clone()
        .flat_map(|(name, facts)| facts.former.iter().map(move |id| (*id, name.clone())));
    let now = hosts.filter_map(|(name, facts)| Some((facts.id?, name.clone())));
    former.chain(now).collect()
}

/// Whoever does not lead does nothing: two who act would split the cluster.
fn not_leading(leadership: &Leadership) -> Option<WaitsFor> {
    match leadership {
        Leadership::Leading => None,
        Leadership::Unpromised { promised, need } => Some(WaitsFor::Promises {
            promised: *promised,
            need: *need,
        }),
        Leadership::Other { holder } => Some(WaitsFor::OtherCoordinator {
            holder: holder.clone(),
        }),
    }
}
