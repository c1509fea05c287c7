//! Metrics as text for Prometheus. What the status tells is rendered from it; the rest is counted here.

mod text;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hayloft_api::status::{MovePhase, Phase, Status};
use hayloft_engine::{Plan, Step};

use self::text::Text;

/// What is counted.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    counts: Mutex<Counts>,
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
        cluster(&mut text, status);
        hosts(&mut text, status);
        moves(&mut text, status);
        text.finish()
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

fn flag(holds: bool) -> u64 {
    u64::from(holds)
}

fn cluster(text: &mut Text, status: &Status) {
    text.gauge("hayloft_phase", "1 for the phase that the cluster is in.");
    for phase in [Phase::Starting, Phase::Converging, Phase::Ready, Phase::Degraded] {
        let name = format!("{phase:?}").to_lowercase();
        text.value(&[("phase", &name)], flag(status.phase == phase));
    }
    text.gauge(
        "hayloft_observed_seconds",
        "When the cluster was last looked at, in seconds since 1970.",
    );
    text.value(&[], u64::try_from(status.observed_at.as_second()).unwrap_or(0));
    text.gauge(
        "hayloft_condition",
        "1 while a condition holds, 0 while it does not.",
    );
    for condition in &status.conditions {
        let name = format!("{:?}", condition.kind);
        text.value(&[("type", &name)], flag(condition.status));
    }
    text.gauge("hayloft_layout_version", "Garage's layout version.");
    text.value(&[], status.layout.version);
    text.gauge(
        "hayloft_layout_settled",
        "1 when metadata is synced to the current layout version.",
    );
    text.value(&[], flag(status.layout.settled));
    if let Some(partitions) = status.layout.partitions_with_quorum {
        text.gauge(
            "hayloft_partitions_with_quorum",
            "Partitions, of 256, that can be written.",
        );
        text.value(&[], partitions);
    }
    text.gauge(
        "hayloft_pledged_bytes",
        "Bytes that hosts lend, all copies counted.",
    );
    text.value(&[], status.space.pledged.0);
    if let Some(usable) = status.space.usable {
        text.gauge(
            "hayloft_usable_bytes",
            "Bytes of distinct data that the layout can hold.",
        );
        text.value(&[], usable.0);
    }
    if let Some(used) = status.space.used {
        text.gauge("hayloft_used_bytes", "Bytes in the bucket, one copy counted.");
        text.value(&[], used.0);
    }
    if let Some(objects) = status.space.objects {
        text.gauge("hayloft_objects", "Objects in the bucket.");
        text.value(&[], objects);
    }
    text.gauge("hayloft_gateway_up", "1 while a gateway runs.");
    text.value(&[], flag(status.gateway.up));
}

fn hosts(text: &mut Text, status: &Status) {
    let hosts = &status.hosts;
    text.gauge("hayloft_host_agent", "1 while a host's agent can be talked to.");
    for host in hosts {
        text.value(&[("host", host.name.as_str())], flag(host.agent));
    }
    text.gauge("hayloft_host_up", "1 while members reach a host's Garage.");
    for host in hosts {
        text.value(&[("host", host.name.as_str())], flag(host.up));
    }
    text.gauge("hayloft_host_in_layout", "1 while a host has a role.");
    for host in hosts {
        text.value(&[("host", host.name.as_str())], flag(host.in_layout));
    }
    text.gauge(
        "hayloft_host_away_seconds",
        "For how long a host was seen to be away.",
    );
    for host in hosts {
        text.value(
            &[("host", host.name.as_str())],
            host.watch.away_seconds.unwrap_or(0),
        );
    }
    text.gauge("hayloft_host_pledge_bytes", "Bytes that a host lends.");
    for host in hosts {
        if let Some(pledge) = host.pledge {
            text.value(&[("host", host.name.as_str())], pledge.0);
        }
    }
    text.gauge(
        "hayloft_host_partitions",
        "Partitions, of 256, that a host holds.",
    );
    for host in hosts {
        if let Some(partitions) = host.partitions {
            text.value(&[("host", host.name.as_str())], partitions);
        }
    }
    text.gauge(
        "hayloft_host_disk_available_bytes",
        "Bytes that can still be written to a host's data disk.",
    );
    for host in hosts {
        if let Some(disk) = host.disk {
            text.value(&[("host", host.name.as_str())], disk.data_available);
        }
    }
    text.gauge(
        "hayloft_host_disk_total_bytes",
        "Bytes that a host's data disk has.",
    );
    for host in hosts {
        if let Some(disk) = host.disk {
            text.value(&[("host", host.name.as_str())], disk.data_total);
        }
    }
    text.gauge(
        "hayloft_host_blocks",
        "Blocks on a host's disk, when it was last counted.",
    );
    for host in hosts {
        if let Some(blocks) = host.watch.blocks {
            text.value(&[("host", host.name.as_str())], blocks);
        }
    }
    text.gauge(
        "hayloft_host_snapshot_seconds",
        "When the newest snapshot of a host's metadata on another host was made.",
    );
    for host in hosts {
        if let Some(at) = host.watch.snapshot {
            let seconds = u64::try_from(at.as_second()).unwrap_or(0);
            text.value(&[("host", host.name.as_str())], seconds);
        }
    }
    text.counter(
        "hayloft_unit_restarts_total",
        "How often a unit was started again since its agent started.",
    );
    for host in hosts {
        for unit in &host.units {
            let labels = [("host", host.name.as_str()), ("unit", unit.name.as_str())];
            text.value(&labels, u64::from(unit.restarts));
        }
    }
}

fn moves(text: &mut Text, status: &Status) {
    let version: Vec<String> = status.moves.iter().map(|one| one.version.to_string()).collect();
    let each = || version.iter().zip(&status.moves);
    text.gauge(
        "hayloft_moves",
        "Layout versions whose data is on its way, or whose leavers are not empty.",
    );
    text.value(&[], u64::try_from(status.moves.len()).unwrap_or(u64::MAX));
    text.gauge("hayloft_move_phase", "1 for the phase that a move is in.");
    for (version, one) in each() {
        for phase in [
            MovePhase::Settling,
            MovePhase::Repairing,
            MovePhase::Comparing,
            MovePhase::Emptying,
            MovePhase::Done,
        ] {
            let labels = [("version", version.as_str()), ("phase", phase.as_str())];
            text.value(&labels, flag(one.phase == phase));
        }
    }
    text.gauge(
        "hayloft_move_settled_ratio",
        "How much of a version's metadata is synced, 0 to 1.",
    );
    for (version, one) in each() {
        text.float(&[("version", version)], f64::from(one.settled) / 1000.0);
    }
    text.gauge(
        "hayloft_move_placed_ratio",
        "How many of a version's blocks are where it wants them, 0 to 1.",
    );
    for (version, one) in each() {
        text.float(&[("version", version)], f64::from(one.placed) / 1000.0);
    }
    text.gauge(
        "hayloft_move_empty_ratio",
        "How much of what leavers held is off their disks, 0 to 1.",
    );
    for (version, one) in each() {
        text.float(&[("version", version)], f64::from(one.empty) / 1000.0);
    }
    text.gauge(
        "hayloft_move_partitions",
        "Copies of partitions that a version moves.",
    );
    for (version, one) in each() {
        if let Some(partitions) = one.partitions {
            text.value(&[("version", version)], partitions);
        }
    }
    text.gauge("hayloft_move_bytes", "Bytes that a version moves.");
    for (version, one) in each() {
        if let Some(bytes) = one.bytes {
            text.value(&[("version", version)], bytes);
        }
    }
    text.gauge("hayloft_move_left_bytes", "Bytes that have not arrived.");
    for (version, one) in each() {
        if let Some(left) = one.left {
            text.value(&[("version", version)], left);
        }
    }
    text.gauge("hayloft_move_rate_bytes", "Bytes a second that arrive.");
    for (version, one) in each() {
        if let Some(rate) = one.rate {
            text.value(&[("version", version)], rate);
        }
    }
}

#[cfg(test)]
mod tests;
