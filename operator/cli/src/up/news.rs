//! What a person who watches a running `hayloft up` is told: one line for each thing that happens.

use std::collections::BTreeSet;
use std::time::Duration;

use hayloft_api::agent::{HostReport, UnitReport, UnitState};
use hayloft_api::status::{ConditionType, Status};

use super::hosts::Reports;
use crate::words;

/// Below this, a disk counts as full.
const DISK_LOW: u64 = 256 * 1024 * 1024;

/// What happened to the hosts between two looks.
pub(crate) fn of_hosts(before: &Reports, after: &Reports) -> Vec<String> {
    let mut news = Vec::new();
    for (name, report) in after {
        let Some(earlier) = before.get(name) else {
            news.push(format!("{name}: its agent runs"));
            continue;
        };
        news.extend(
            report
                .units
                .iter()
                .filter_map(|unit| of_unit(report, earlier.unit(&unit.name), unit)),
        );
        news.extend(of_disk(earlier, report));
    }
    news
}

fn of_unit(report: &HostReport, before: Option<&UnitReport>, now: &UnitReport) -> Option<String> {
    let host = &report.host;
    let died_again = before.map_or(0, |before| before.restarts) < now.restarts;
    let ran = before.is_some_and(|before| matches!(before.state, UnitState::Running { .. }));
    match &now.state {
        UnitState::BackingOff { retry_in_ms } if died_again => Some(format!(
            "{host}: {} died: {}; it is started again in {}",
            now.name,
            now.last_error.as_deref().unwrap_or("it did not say why"),
            words::duration(Duration::from_millis(*retry_in_ms))
        )),
        UnitState::Running { pid } if died_again => Some(format!(
            "{host}: {} died: {}; it runs again (process {pid})",
            now.name,
            now.last_error.as_deref().unwrap_or("it did not say why")
        )),
        UnitState::Running { pid } if before.is_some() && !ran => {
            Some(format!("{host}: {} runs (process {pid})", now.name))
        }
        UnitState::Failed { reason } if before.is_none_or(|before| before.state != now.state) => {
            Some(format!("{host}: {} cannot run: {reason}", now.name))
        }
        _ => None,
    }
}

fn of_disk(before: &HostReport, now: &HostReport) -> Option<String> {
    let low = |report: &HostReport| report.disk.is_some_and(|disk| disk.data_available < DISK_LOW);
    let left = now.disk?.data_available;
    match (low(before), low(now)) {
        (false, true) => Some(format!(
            "{}: the disk is full ({} left); free some space, pushes fail until then",
            now.host,
            words::bytes(left)
        )),
        (true, false) => Some(format!(
            "{}: the disk has space again ({})",
            now.host,
            words::bytes(left)
        )),
        _ => None,
    }
}

/// What is known of the conditions of the cluster from earlier looks.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Those that held once.
    held: BTreeSet<ConditionType>,
    /// Those of which it was told that they do not hold.
    told: BTreeSet<ConditionType>,
}

/// What changed in the conditions of the cluster since earlier looks. That something is well is news only where it was told
/// before that it is not. While the cache is `settling`, what never held yet is no trouble: it is on its way. Progress of
/// layouts is not news here.
pub(crate) fn of_status(known: &mut Known, now: &Status, settling: bool) -> Vec<String> {
    let quiet = |kind: ConditionType| matches!(kind, ConditionType::Converged | ConditionType::LayoutSettled);
    let mut news = Vec::new();
    for condition in now.conditions.iter().filter(|condition| !quiet(condition.kind)) {
        let is_news = if condition.status {
            known.held.insert(condition.kind);
            known.told.remove(&condition.kind)
        } else {
            (known.held.contains(&condition.kind) || !settling) && known.told.insert(condition.kind)
        };
        if is_news {
            news.push(condition.message.clone());
        }
    }
    news
}

#[cfg(test)]
pub(crate) mod tests {
    use hayloft_api::NodeId;
    use hayloft_api::agent::{AdminAddress, DataState, DiskReport};

    use super::*;

    /// A report of a host on which Garage does this.
    pub(crate) fn report(state: UnitState, restarts: u32, last_error: Option<&str>) -> HostReport {
        HostReport {
            host: "host-1".parse().unwrap(),
            seq: 1,
            generation: None,
            garage_id: NodeId::from_public_key([1; 32]),
            garage_version: Some("2.5.0".into()),
            garage_waiting: None,
            rpc_addr: "127.0.0.1:1".into(),
            s3_addr: "127.0.0.1:2".into(),
            admin: AdminAddress::Url("http://127.0.0.1:3".into()),
            gateway_addr: None,
            link_addr: None,
            units: vec![UnitReport {
                name: "garage".into(),
                state,
                restarts,
                last_error: last_error.map(Into::into),
            }],
            disk: Some(DiskReport {
                data_available: 10 << 30,
                data_total: 20 << 30,
            }),
            layout: None,
            data: DataState::Present,
            blocks: None,
            promise: None,
            rolled_back: None,
            clock: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    fn all(report: HostReport) -> Reports {
        [(report.host.clone(), report)].into()
    }

    #[test]
    fn a_death_and_a_return_are_told_once_each() {
        let up = all(report(UnitState::Running { pid: 7 }, 0, None));
        let down = all(report(
            UnitState::BackingOff { retry_in_ms: 430 },
            1,
            Some("killed by signal 9"),
        ));
        let back = all(report(
            UnitState::Running { pid: 9 },
            1,
            Some("killed by signal 9"),
        ));
        assert_eq!(
            of_hosts(&up, &down),
            ["host-1: garage died: killed by signal 9; it is started again in 0.4 s"]
        );
        assert_eq!(of_hosts(&down, &back), ["host-1: garage runs (process 9)"]);
        assert_eq!(
            of_hosts(&up, &back),
            ["host-1: garage died: killed by signal 9; it runs again (process 9)"],
            "both happened between two looks"
        );
        assert!(of_hosts(&back, &back).is_empty());
    }

    /// A status in which clients can be served, or not.
    fn serving(holds: bool) -> Status {
        use hayloft_api::status::{Condition, GatewayStatus, LayoutStatus, Phase, Reason, SpaceStatus};
        let at: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let (reason, message) = if holds {
            (Reason::AsDeclared, "clients can push and pull")
        } else {
            (Reason::GatewayDown, "no gateway runs")
        };
        Status {
            cluster: "laptop".parse().unwrap(),
            observed_at: at,
            phase: Phase::Ready,
            hosts: vec![],
            layout: LayoutStatus::default(),
            space: SpaceStatus::default(),
            gateway: GatewayStatus::default(),
            secrets: hayloft_api::status::SecretsStatus::default(),
            conditions: vec![Condition {
                kind: ConditionType::Serving,
                status: holds,
                reason,
                message: message.into(),
                since: at,
            }],
            waiting: vec![],
            moves: vec![],
            events: vec![],
        }
    }

    #[test]
    fn what_a_start_has_not_come_to_yet_is_no_trouble() {
        let mut known = Known::default();
        for holds in [false, false, true, true] {
            assert!(of_status(&mut known, &serving(holds), true).is_empty());
        }
        // What held and does not hold any more is told, be it early.
        assert_eq!(of_status(&mut known, &serving(false), true), ["no gateway runs"]);
        assert!(
            of_status(&mut known, &serving(false), false).is_empty(),
            "told already"
        );
        assert_eq!(
            of_status(&mut known, &serving(true), false),
            ["clients can push and pull"]
        );
    }

    #[test]
    fn what_still_does_not_hold_when_all_should_have_settled_is_told() {
        let mut known = Known::default();
        assert!(of_status(&mut known, &serving(false), true).is_empty());
        assert_eq!(of_status(&mut known, &serving(false), false), ["no gateway runs"]);
    }

    #[test]
    fn a_full_disk_is_told_when_it_fills() {
        let before = all(report(UnitState::Running { pid: 7 }, 0, None));
        let mut full = report(UnitState::Running { pid: 7 }, 0, None);
        full.disk = Some(DiskReport {
            data_available: 1 << 20,
            data_total: 20 << 30,
        });
        let full = all(full);
        assert!(of_hosts(&before, &full)[0].contains("the disk is full (1 MiB left)"));
        assert!(of_hosts(&full, &full).is_empty());
        assert!(of_hosts(&full, &before)[0].contains("space again"));
    }
}
