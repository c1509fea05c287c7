//! Metrics as text for Prometheus. What the status tells is rendered from it; the rest is counted here.

mod of_status;
mod text;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hayloft_api::status::Status;
use hayloft_engine::{Plan, Step};
use hayloft_garage::admin::{BOUNDS_MS, Calls};

use self::text::Text;

/// What is counted.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    counts: Mutex<Counts>,
    /// Calls of Garage's admin API.
    calls: Calls,
}

#[derive(Debug, Default)]
struct Counts {
    rounds: u64,
    round_seconds: f64,
    last_round: f64,
    planned: u64,
    waiting: u64,
    /// By kind of step and outcome.
    steps: BTreeMap<(&'static str, bool), u64>,
}

/// A step's kind as a label.
fn kind(step: &Step) -> &'static str {
    match step {
        Step::Desire { .. } => "desire",
        Step::Connect { .. } => "connect",
        Step::RevertStaging { .. } => "revert_staging",
        Step::ChangeLayout { .. } => "change_layout",
        Step::SkipGone { .. } => "skip_gone",
        Step::HealSplit { .. } => "heal_split",
        Step::AllowMissing { .. } => "allow_missing",
        Step::QuickenReceivers { .. } => "quicken_receivers",
        Step::LaunchRepair { .. } => "launch_repair",
        Step::Compare { .. } => "compare",
        Step::SetResync { .. } => "set_resync",
        Step::Evict { .. } => "evict",
        Step::StageSecrets { .. } => "stage_secrets",
        Step::SwitchSecrets { .. } => "switch_secrets",
        Step::RotateSecrets { .. } => "rotate_secrets",
        Step::KeepSnapshot { .. } => "keep_snapshot",
        Step::Mend { .. } => "mend",
        Step::RenewAdminToken { .. } => "renew_admin_token",
        Step::EnsureKey { .. } => "ensure_key",
        Step::EnsureBucket { .. } => "ensure_bucket",
        Step::AllowKey { .. } => "allow_key",
    }
}

impl Metrics {
    /// Counts from nothing, beside what `calls` counts.
    pub(crate) fn new(calls: Calls) -> Self {
        Self {
            calls,
            ..Self::default()
        }
    }

    fn with(&self, change: impl FnOnce(&mut Counts)) {
        // Counts are whole at any moment.
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A step was tried.
    pub(crate) fn step(&self, step: &Step, done: bool) {
        self.with(|counts| *counts.steps.entry((kind(step), done)).or_default() += 1);
    }

    /// A round ended.
    pub(crate) fn round(&self, took: Duration, _status: &Status, plan: &Plan) {
        self.with(|counts| {
            counts.rounds += 1;
            counts.round_seconds += took.as_secs_f64();
            counts.last_round = took.as_secs_f64();
            counts.planned = u64::try_from(plan.steps.len()).unwrap_or(u64::MAX);
            counts.waiting = u64::try_from(plan.waiting.len()).unwrap_or(u64::MAX);
        });
    }

    /// Everything, as text.
    pub(crate) fn render(&self, status: &Status) -> String {
        let mut text = Text::default();
        self.render_counts(&mut text);
        self.render_calls(&mut text);
        of_status::render(&mut text, status);
        text.finish()
    }

    fn render_calls(&self, text: &mut Text) {
        let counted = self.calls.counted();
        text.histogram(
            "hayloft_garage_call_seconds",
            "How long calls of Garage's admin API took, by operation.",
            counted.iter().map(|(call, counted)| {
                let classes = BOUNDS_MS.into_iter().zip(counted.classes).collect();
                let labels = vec![("operation", *call)];
                (labels, classes, counted.calls, counted.total.as_secs_f64())
            }),
        );
        text.counter(
            "hayloft_garage_call_errors_total",
            "Calls of Garage's admin API that failed, by operation and kind.",
        );
        for (call, counted) in &counted {
            for (kind, count) in &counted.errors {
                text.value(&[("operation", call), ("kind", kind)], *count);
            }
        }
    }

    fn render_counts(&self, text: &mut Text) {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        text.counter("hayloft_rounds_total", "Rounds of the coordinator's loop.");
        text.value(&[], counts.rounds);
        text.counter("hayloft_round_seconds_total", "Seconds spent in rounds.");
        text.float(&[], counts.round_seconds);
        text.gauge("hayloft_round_seconds", "Seconds that the last round took.");
        text.float(&[], counts.last_round);
        text.gauge("hayloft_steps_planned", "Steps in the last plan.");
        text.value(&[], counts.planned);
        text.gauge("hayloft_steps_waiting", "What waited in the last plan.");
        text.value(&[], counts.waiting);
        text.counter("hayloft_steps_total", "Steps taken, by kind and outcome.");
        for ((kind, done), count) in &counts.steps {
            let outcome = if *done { "done" } else { "failed" };
            text.value(&[("step", kind), ("outcome", outcome)], *count);
        }
    }
}

#[cfg(test)]
mod tests;
