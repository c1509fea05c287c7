//! How far the start is: one line for each step, or a spinner on a terminal.

use std::time::Duration;

use hayloft_api::HostName;
use hayloft_api::agent::{GARAGE_UNIT, GATEWAY_UNIT, UnitState};
use hayloft_api::document::Role;
use hayloft_api::status::Status;
use indicatif::{ProgressBar, ProgressStyle};

use super::hosts::Reports;
use crate::context::Context;
use crate::words;

/// Where the start stands, in words.
pub(crate) fn stage(reports: &Reports, status: Option<&Status>) -> String {
    // A host that only answers clients runs none.
    let stores = |name: &HostName| {
        let mut hosts = status.iter().flat_map(|status| &status.hosts);
        hosts
            .find(|host| host.name == *name)
            .is_none_or(|host| host.roles.contains(&Role::Storage))
    };
    let storing = || reports.iter().filter(|(name, _)| stores(name));
    let wanted = storing().count();
    let running = storing().filter(|(_, report)| report.runs(GARAGE_UNIT)).count();
    if running < wanted {
        return format!(
            "Starting Garage: it runs on {running} of {}",
            words::count(wanted, "host")
        );
    }
    let layout = status.map_or(0, |status| status.layout.version);
    if layout == 0 {
        return format!("Making the layout of {}", words::count(wanted, "host"));
    }
    let gateway = reports
        .values()
        .filter_map(|report| report.unit(GATEWAY_UNIT))
        .next();
    match gateway.map(|unit| &unit.state) {
        None | Some(UnitState::Stopped) => "Making the bucket and its key".to_owned(),
        Some(UnitState::Starting { .. } | UnitState::Running { .. }) => "Starting the gateway".to_owned(),
        Some(UnitState::BackingOff { .. } | UnitState::Failed { .. }) => {
            "Starting the gateway again after a failure".to_owned()
        }
    }
}

/// What holds a start up, in one line: the troubles of units, what the coordinator waits for.
pub(crate) fn what_is_stuck(reports: &Reports, status: Option<&Status>) -> String {
    let mut parts = vec![stage(reports, status)];
    for report in reports.values() {
        for unit in &report.units {
            if let Some(error) = &unit.last_error
                && !matches!(unit.state, UnitState::Running { .. })
            {
                parts.push(format!("{} on {}: {error}", unit.name, report.host));
            }
        }
    }
    if let Some(status) = status {
        let failing = status.conditions.iter().filter(|condition| !condition.status);
        parts.extend(failing.map(|condition| condition.message.clone()));
        parts.extend(
            status
                .waiting
                .iter()
                .map(|wait| format!("{} waits for {}", wait.what, wait.waits_for)),
        );
    }
    let mut seen = std::collections::BTreeSet::new();
    parts.retain(|part| seen.insert(part.clone()));
    parts.join("; ")
}

/// Shows stages as they change.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    last: String,
}

impl Progress {
    pub(crate) fn new(context: &Context) -> Self {
        let bar = context.terminal.stderr.then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self {
            bar,
            last: String::new(),
        }
    }

    pub(crate) fn show(&mut self, context: &Context, stage: String) {
        if stage == self.last {
            return;
        }
        match &self.bar {
            Some(bar) => bar.set_message(stage.clone()),
            None => context.note(&stage),
        }
        self.last = stage;
    }

    pub(crate) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use hayloft_api::agent::{HostReport, UnitReport};

    use super::super::news::tests::report;
    use super::*;

    fn all(reports: [HostReport; 2]) -> Reports {
        let named = |(number, mut report): (usize, HostReport)| {
            report.host = format!("host-{}", number + 1).parse().unwrap();
            (report.host.clone(), report)
        };
        reports.into_iter().enumerate().map(named).collect()
    }

    #[test]
    fn a_start_is_told_step_by_step() {
        let up = || report(UnitState::Running { pid: 7 }, 0, None);
        let down = report(UnitState::Stopped, 0, None);
        assert_eq!(
            stage(&all([up(), down]), None),
            "Starting Garage: it runs on 1 of 2 hosts"
        );
        assert_eq!(stage(&all([up(), up()]), None), "Making the layout of 2 hosts");
    }

    #[test]
    fn what_holds_a_start_up_names_the_host_and_the_cause() {
        let mut failing = report(UnitState::Running { pid: 7 }, 0, None);
        failing.units.push(UnitReport {
            name: "gateway".into(),
            state: UnitState::BackingOff { retry_in_ms: 500 },
            restarts: 4,
            last_error: Some("a port it needs is taken (exit code 1)".into()),
        });
        let stuck = what_is_stuck(
            &all([failing, report(UnitState::Running { pid: 8 }, 0, None)]),
            None,
        );
        assert!(
            stuck.contains("gateway on host-1: a port it needs is taken"),
            "{stuck}"
        );
        assert!(!stuck.contains('\n'));
    }
}
