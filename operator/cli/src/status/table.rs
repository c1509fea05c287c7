//! The state of a cluster as a person reads it. A pure function of the state.

use std::time::Duration;

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{Attribute, Cell, CellAlignment, Color, Table};
use hayloft_api::CacheName;
use hayloft_api::agent::{GARAGE_UNIT, UnitReport, UnitState};
use hayloft_api::document::Role;
use hayloft_api::status::{HostStatus, HostWatch, Phase, Reason, Status};
use jiff::tz::TimeZone;

use super::moves;
use crate::words;

/// So many events are shown; the JSON has all that are kept.
const EVENTS: usize = 6;

/// The whole text, without a line break at its end. Times are those of `zone`.
pub(crate) fn render(status: &Status, colour: bool, zone: &TimeZone) -> String {
    let mut parts = vec![headline(status, colour), hosts(status, colour).to_string()];
    parts.push(facts(status));
    parts.extend(troubles(status));
    parts.extend(events(status, zone));
    parts.join("\n")
}

fn headline(status: &Status, colour: bool) -> String {
    let (word, code) = match status.phase {
        Phase::Ready => ("ready", 32),
        Phase::Starting => ("starting", 33),
        Phase::Converging => ("changing", 33),
        Phase::Degraded => ("degraded", 31),
    };
    let word = if colour {
        format!("\x1b[1;{code}m{word}\x1b[0m")
    } else {
        word.to_owned()
    };
    format!("Cluster {} is {word}", status.cluster)
}

/// One line for each host.
pub(crate) fn hosts(status: &Status, colour: bool) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY);
    let title = |text: &str| {
        let cell = Cell::new(text);
        if colour {
            cell.add_attribute(Attribute::Bold)
        } else {
            cell
        }
    };
    let titles = [
        "Host",
        "Zone",
        "Roles",
        "State",
        "Pledge",
        "Disk free",
        "Partitions",
        "Garage",
        "Restarts",
    ];
    table.set_header(titles.map(title));
    for host in &status.hosts {
        let (state, good) = state(host);
        let mut state = Cell::new(state);
        if colour {
            state = state.fg(if good { Color::Green } else { Color::Red });
        }
        let restarts: u32 = host.units.iter().map(|unit| unit.restarts).sum();
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        table.add_row([
            Cell::new(&host.name),
            Cell::new(host.zone.as_ref().map_or("–", |zone| zone.as_str())),
            Cell::new(roles(host)),
            state,
            right(host.pledge.map_or_else(dash, |pledge| words::bytes(pledge.0))),
            right(host.disk.map_or_else(dash, |disk| {
                format!(
                    "{} of {}",
                    words::bytes(disk.data_available),
                    words::bytes(disk.data_total)
                )
            })),
            right(
                host.partitions
                    .map_or_else(dash, |partitions| partitions.to_string()),
            ),
            Cell::new(host.garage_version.as_deref().unwrap_or("–")),
            right(restarts.to_string()),
        ]);
    }
    table
}

fn dash() -> String {
    "–".to_owned()
}

fn roles(host: &HostStatus) -> String {
    if host.roles.is_empty() {
        return "none".to_owned();
    }
    host.roles
        .iter()
        .map(|role| role.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

fn state(host: &HostStatus) -> (String, bool) {
    let failing = host.units.iter().find_map(|unit| match &unit.state {
        UnitState::BackingOff { .. } => Some(format!("{} restarts", unit.name)),
        UnitState::Failed { .. } => Some(format!("{} fails", unit.name)),
        UnitState::Starting { .. } | UnitState::Running { .. } | UnitState::Stopped => None,
    });
    let HostWatch {
        leaving,
        evicted,
        away_seconds,
        ..
    } = &host.watch;
    // A host without a role in the layout may have no Garage that others could reach.
    let runs_none = |unit: &UnitReport| unit.name != GARAGE_UNIT || unit.state == UnitState::Stopped;
    let no_part = !host.in_layout && host.agent && host.units.iter().all(runs_none);
    let (mut word, good) = match (failing, host.agent, host.up) {
        _ if *evicted => ("put out".to_owned(), false),
        (None, ..) if no_part && host.roles.contains(&Role::Storage) => ("holds nothing".to_owned(), true),
        (None, ..) if no_part => ("up".to_owned(), true),
        (Some(failing), ..) => (failing, false),
        (None, false, _) => ("no agent".to_owned(), false),
        (None, true, false) => ("down".to_owned(), false),
        (None, true, true) => ("up".to_owned(), true),
    };
    if let (Some(away), false) = (away_seconds, good) {
        word.push_str(&format!(" for {}", words::duration(Duration::from_secs(*away))));
    }
    if let Some(leaving) = leaving {
        word.push_str(&format!(", {leaving}"));
    } else if !host.declared {
        word.push_str(", not declared");
    }
    (word, good)
}

fn facts(status: &Status) -> String {
    let Status {
        layout,
        space,
        gateway,
        ..
    } = status;
    let mut lines = Vec::new();
    lines.push(if layout.version == 0 {
        "Layout   none yet".to_owned()
    } else {
        let quorum = layout
            .partitions_with_quorum
            .map(|n| format!(", {n} of 256 partitions writable"));
        let settled = if layout.settled {
            "settled"
        } else {
            "not settled yet"
        };
        format!(
            "Layout   version {}, {settled}{}",
            layout.version,
            quorum.unwrap_or_default()
        )
    });
    lines.extend(moves::lines(&status.moves));
    let used = space
        .used
        .map(|used| format!("{} in the bucket", words::bytes(used.0)));
    let usable = space
        .usable
        .map(|usable| format!("room for {}", words::bytes(usable.0)));
    let pledged = Some(format!("{} pledged", words::bytes(space.pledged.0)));
    lines.push(format!(
        "Space    {}",
        [used, usable, pledged]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(", ")
    ));
    let caches: Vec<_> = gateway.caches.iter().map(CacheName::as_str).collect();
    lines.push(match (&gateway.url, gateway.up) {
        (Some(url), true) => format!("Gateway  {url}, up, caches: {}", caches.join(", ")),
        (Some(url), false) => format!("Gateway  {url}, down"),
        (None, _) => "Gateway  none".to_owned(),
    });
    lines.join("\n")
}

/// What is not as it should be, with what to do, and what waits.
pub(crate) fn troubles(status: &Status) -> Vec<String> {
    // What is only under way has lines of its own: moves, and what waits.
    let told = !(status.moves.is_empty() && status.waiting.is_empty());
    let mut lines: Vec<String> = status
        .conditions
        .iter()
        .filter(|condition| !condition.status)
        .filter(|condition| {
            let waits = condition.reason == Reason::Waiting && !status.waiting.is_empty();
            !(waits || told && !condition.kind.is_health())
        })
        .map(|condition| {
            let mark = if condition.kind.is_health() { '!' } else { '…' };
            format!("{mark} {}", condition.message)
        })
        .collect();
    lines.extend(
        status
            .waiting
            .iter()
            .map(|wait| format!("… {}: waits for {}", wait.what, wait.waits_for)),
    );
    for host in &status.hosts {
        for unit in &host.units {
            if let (Some(error), false) = (&unit.last_error, matches!(unit.state, UnitState::Running { .. }))
            {
                lines.push(format!("! {} on {}: {error}", unit.name, host.name));
            }
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    lines.retain(|line| seen.insert(line.clone()));
    lines
}

/// What happened last, newest at the end.
fn events(status: &Status, zone: &TimeZone) -> Vec<String> {
    let first = status.events.len().saturating_sub(EVENTS);
    status
        .events
        .iter()
        .skip(first)
        .map(|event| {
            let at = event.at.to_zoned(zone.clone());
            format!("{}  {}", at.strftime("%H:%M:%S"), event.text)
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use hayloft_api::agent::DiskReport;
    use hayloft_api::status::{
        Condition, ConditionType, Event, EventKind, GatewayStatus, LayoutStatus, SpaceStatus, Waiting,
    };
    use hayloft_api::{Bytes, NodeId};

    use super::*;

    fn host(number: u8) -> HostStatus {
        let unit = |name: &str| UnitReport {
            name: name.into(),
            state: UnitState::Running { pid: 4711 },
            restarts: 0,
            last_error: None,
        };
        HostStatus {
            name: format!("host-{number}").parse().unwrap(),
            zone: Some(format!("zone-{number}").parse().unwrap()),
            roles: if number == 1 {
                vec![Role::Storage, Role::Gateway]
            } else {
                vec![Role::Storage]
            },
            garage_id: Some(NodeId::from_public_key([number; 32])),
            declared: true,
            agent: true,
            up: true,
            in_layout: true,
            pledge: Some(Bytes::gib(20)),
            partitions: Some(256),
            disk: Some(DiskReport {
                data_available: 123 << 30,
                data_total: 500 << 30,
            }),
            garage_version: Some("2.5.0".into()),
            units: if number == 1 {
                vec![unit("garage"), unit("gateway")]
            } else {
                vec![unit("garage")]
            },
            watch: HostWatch::default(),
        }
    }

    pub(crate) fn status() -> Status {
        Status {
            cluster: "laptop".parse().unwrap(),
            observed_at: "2026-11-22T12:00:00Z".parse().unwrap(),
            phase: Phase::Ready,
            hosts: vec![host(1), host(2), host(3)],
            layout: LayoutStatus {
                version: 1,
                settled: true,
                storage_hosts: 3,
                zone_redundancy: Some(3),
                partitions_with_quorum: Some(256),
            },
            space: SpaceStatus {
                pledged: Bytes::gib(60),
                usable: Some(Bytes::gib(20)),
                used: Some(Bytes(1536 << 20)),
                objects: Some(99),
            },
            gateway: GatewayStatus {
                up: true,
                url: Some("http://127.0.0.1:8080".into()),
                hosts: vec!["host-1".parse().unwrap()],
                caches: vec!["main".parse().unwrap(), "second".parse().unwrap()],
            },
            secrets: hayloft_api::status::SecretsStatus::default(),
            conditions: vec![],
            waiting: vec![],
            moves: vec![],
            events: vec![],
        }
    }

    #[test]
    fn a_cluster_where_all_is_well() {
        insta::assert_snapshot!(render(&status(), false, &TimeZone::UTC));
    }

    #[test]
    fn a_cluster_with_troubles_says_which_and_what_waits() {
        let mut status = status();
        status.phase = Phase::Degraded;
        status.layout.settled = false;
        status.gateway.up = false;
        status.hosts[0].units[1].state = UnitState::BackingOff { retry_in_ms: 800 };
        status.hosts[0].units[1].restarts = 3;
        status.hosts[0].units[1].last_error = Some("a port it needs is taken (exit code 1)".into());
        status.hosts[1].up = false;
        status.hosts[2].declared = false;
        status.hosts[2].roles.clear();
        status.hosts[2].pledge = None;
        status.conditions.push(Condition {
            kind: ConditionType::HostsUp,
            status: false,
            reason: Reason::HostDown,
            message: "host-2 is down".into(),
            since: status.observed_at,
        });
        status.waiting.push(Waiting {
            what: "remove host-3 from the layout".into(),
            waits_for: "host-2".into(),
        });
        insta::assert_snapshot!(render(&status, false, &TimeZone::UTC));
    }

    #[test]
    fn colour_is_there_when_it_is_welcome_and_only_then() {
        assert!(render(&status(), true, &TimeZone::UTC).contains("\u{1b}["));
        assert!(!render(&status(), false, &TimeZone::UTC).contains('\u{1b}'));
    }

    #[test]
    fn a_host_that_joins_and_one_that_leaves() {
        let mut status = status();
        status.phase = Phase::Converging;
        status.moves.push(moves::tests::join());
        status.hosts[1].watch.leaving = Some("drained".into());
        status.hosts[2].up = false;
        status.hosts[2].watch.away_seconds = Some(400);
        // One that was drained and whose Garage has nothing to do any more.
        let mut drained = host(4);
        drained.in_layout = false;
        drained.up = false;
        drained.partitions = None;
        drained.units[0].state = UnitState::Stopped;
        status.hosts.push(drained);
        status.events.push(Event {
            at: status.observed_at,
            kind: EventKind::Move,
            text: "layout version 2 is applied".into(),
        });
        insta::assert_snapshot!(render(&status, false, &TimeZone::UTC));
    }
}
