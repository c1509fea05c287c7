//! The plan: steps in order, and what must wait.

mod access;
mod desired;
mod layout;
mod mesh;
mod replace;
mod version;

use std::fmt;

use serde::Serialize;

use crate::{Input, Reason, Step, Waiting, WaitsFor};

/// What is to be done now, in order, and what must wait.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// To be done now, in order; one that fails keeps none of the others from being tried.
    pub steps: Vec<Planned>,
    /// To be done later.
    pub waiting: Vec<Waiting>,
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
        self.waiting.push(Waiting {
            what: what.into(),
            waits_for,
        });
    }

    /// Whether all is as declared.
    pub fn is_done(&self) -> bool {
        self.steps.is_empty() && self.waiting.is_empty()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_done() {
            return writeln!(f, "nothing to do: all is as declared");
        }
        for (n, Planned { step, reason }) in self.steps.iter().enumerate() {
            writeln!(f, "{}. {step} ({reason})", n + 1)?;
        }
        for waiting in &self.waiting {
            writeln!(f, "-  {waiting}")?;
        }
        Ok(())
    }
}

/// Plans what to do now. Carrying the steps out and planning again leads, step by step, to what is declared.
pub fn plan(input: &Input<'_>) -> Plan {
    let mut plan = Plan::default();
    desired::tell_hosts(input, &mut plan);
    mesh::connect(input, &mut plan);
    layout::change(input, &mut plan);
    access::ensure(input, &mut plan);
    for pool in &input.document.spec.pools {
        plan.wait(
            format!("make the {} hosts of pool {}", pool.replicas, pool.name),
            WaitsFor::Kubernetes,
        );
    }
    plan
}
