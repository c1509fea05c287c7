//! Metrics of the cluster, its hosts and its moves, from the status. A pure function of it.
//!
//! Labels are few: hosts, zones, versions that are under way, condition types.

use hayloft_api::agent::UnitState;
use hayloft_api::status::{
    ConditionType, HostStatus, MovePhase, MoveStatus, Phase, SecretsRenewal, SecretsStatus, Status,
};

use super::text::{Kind, Text};

type Labels = Vec<(&'static str, String)>;

/// All of them.
pub(super) fn render(text: &mut Text, status: &Status) {
    cluster(text, status);
    secrets(text, &status.secrets);
    conditions(text, status);
    hosts(text, &status.hosts);
    moves(text, &status.moves);
}

fn cluster(text: &mut Text, status: &Status) {
    let Status {
        cluster,
        observed_at,
        phase,
        layout,
        space,
        gateway,
        ..
    } = status;
    let one = |value: f64| [(Labels::new(), value)];
    let some = |value: Option<u64>| value.map(|value| (Labels::new(), float(value)));
    let info = vec![("cluster", cluster.to_string())];
    text.samples(
        "hayloft_cluster_info",
        Kind::Gauge,
        "Always 1; names the cluster.",
        [(info, 1.0)],
    );
    let phases = [
        (Phase::Starting, "starting"),
        (Phase::Converging, "converging"),
        (Phase::Ready, "ready"),
        (Phase::Degraded, "degraded"),
    ];
    text.samples(
        "hayloft_cluster_phase",
        Kind::Gauge,
        "1 for the phase the cluster is in, 0 for the others.",
        phases.map(|(one, name)| (vec![("phase", name.to_owned())], flag(one == *phase))),
    );
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
    let observed = observed_at.as_second() as f64;
    text.samples(
        "hayloft_cluster_observed_timestamp_seconds",
        Kind::Gauge,
        "When the coordinator last looked.",
        one(observed),
    );
    text.samples(
        "hayloft_layout_version",
        Kind::Gauge,
        "The layout's version; 0 before the first.",
        one(float(layout.version)),
    );
    text.samples(
        "hayloft_layout_settled",
        Kind::Gauge,
        "Whether metadata is synced to it.",
        one(flag(layout.settled)),
    );
    text.samples(
        "hayloft_layout_storage_hosts",
        Kind::Gauge,
        "Hosts that hold data by it.",
        one(float(layout.storage_hosts)),
    );
    text.samples(
        "hayloft_layout_writable_partitions",
        Kind::Gauge,
        "Partitions with a write quorum, of 256.",
        some(layout.partitions_with_quorum),
    );
    text.samples(
        "hayloft_space_pledged_bytes",
        Kind::Gauge,
        "Bytes that hosts lend, all copies counted.",
        one(float(space.pledged.0)),
    );
    text.samples(
        "hayloft_space_usable_bytes",
        Kind::Gauge,
        "Bytes of distinct data that the layout can hold.",
        some(space.usable.map(|bytes| bytes.0)),
    );
    text.samples(
        "hayloft_space_used_bytes",
        Kind::Gauge,
        "Bytes in the bucket, one copy counted.",
        some(space.used.map(|bytes| bytes.0)),
    );
    text.samples(
        "hayloft_space_objects",
        Kind::Gauge,
        "Objects in the bucket.",
        some(space.objects),
    );
    text.samples(
        "hayloft_gateway_up",
        Kind::Gauge,
        "Whether at least one gateway runs.",
        one(flag(gateway.up)),
    );
}

fn secrets(text: &mut Text, secrets: &SecretsStatus) {
    let SecretsStatus {
        known_to,
        renewal,
        last_down_ms,
    } = secrets;
    let number = u64::try_from(known_to.len()).unwrap_or(u64::MAX);
    text.samples(
        "hayloft_secrets_known_to_hosts",
        Kind::Gauge,
        "Hosts that were put out and know secrets that are in use.",
        [(Labels::new(), float(number))],
    );
    let stages = [
        (SecretsRenewal::None, "none"),
        (SecretsRenewal::Staged, "staged"),
        (SecretsRenewal::Switched, "switched"),
    ];
    text.samples(
        "hayloft_secrets_renewal",
        Kind::Gauge,
        "1 for how far a renewal of secrets has come, 0 for the rest.",
        stages.map(|(one, name)| (vec![("stage", name.to_owned())], flag(one == *renewal))),
    );
    text.samples(
        "hayloft_secrets_rotation_downtime_seconds",
        Kind::Gauge,
        "Seconds for which no member reached a quorum when secrets were last renewed.",
        last_down_ms.map(|ms| (Labels::new(), float(ms) / 1000.0)),
    );
}

fn conditions(text: &mut Text, status: &Status) {
    let found = ConditionType::ALL
        .iter()
        .filter_map(|kind| status.condition(*kind));
    text.samples(
        "hayloft_condition",
        Kind::Gauge,
        "Whether a condition holds. Where health is true, 0 means that something is wrong.",
        found.map(|condition| {
            let labels = vec![
                ("type", format!("{:?}", condition.kind)),
                ("health", condition.kind.is_health().to_string()),
            ];
            (labels, flag(condition.status))
        }),
    );
}

fn hosts(text: &mut Text, hosts: &[HostStatus]) {
    let labels = |host: &HostStatus| -> Labels {
        vec![
            ("host", host.name.to_string()),
            (
                "zone",
                host.zone.as_ref().map_or_else(String::new, ToString::to_string),
            ),
        ]
    };
    let mut each = |name: &'static str, help: &str, value: &dyn Fn(&HostStatus) -> Option<f64>| {
        let samples: Vec<_> = hosts
            .iter()
            .filter_map(|host| Some((labels(host), value(host)?)))
            .collect();
        text.samples(name, Kind::Gauge, help, samples);
    };
    each(
        "hayloft_host_declared",
        "Whether the document declares the host.",
        &|host| Some(flag(host.declared)),
    );
    each("hayloft_host_agent_up", "Whether its agent reports.", &|host| {
        Some(flag(host.agent))
    });
    each(
        "hayloft_host_up",
        "Whether the other members reach its Garage.",
        &|host| Some(flag(host.up)),
    );
    each(
        "hayloft_host_in_layout",
        "Whether it has a role in the layout.",
        &|host| Some(flag(host.in_layout)),
    );
    each("hayloft_host_evicted", "Whether its node was evicted.", &|host| {
        Some(flag(host.watch.evicted))
    });
    each("hayloft_host_pledge_bytes", "Bytes that it lends.", &|host| {
        host.pledge.map(|bytes| float(bytes.0))
    });
    each(
        "hayloft_host_partitions",
        "Partitions that it holds, of 256.",
        &|host| host.partitions.map(float),
    );
    each(
        "hayloft_host_disk_available_bytes",
        "Bytes free on the disk of its data.",
        &|host| host.disk.map(|disk| float(disk.data_available)),
    );
    each(
        "hayloft_host_disk_bytes",
        "Bytes of the disk of its data.",
        &|host| host.disk.map(|disk| float(disk.data_total)),
    );
    each(
        "hayloft_host_blocks",
        "Blocks on its disk, when it was last counted.",
        &|host| host.watch.blocks.map(float),
    );
    each("hayloft_host_block_bytes", "Their bytes.", &|host| {
        host.watch.block_bytes.map(float)
    });
    each(
        "hayloft_host_away_seconds",
        "For how long it was seen to be away; 0 while it is there.",
        &|host| Some(float(host.watch.away_seconds.unwrap_or(0))),
    );
    each(
        "hayloft_host_returns",
        "How often it came back within a day.",
        &|host| Some(float(host.watch.returns)),
    );
    #[expect(clippy::cast_precision_loss, reason = "seconds fit")]
    let seconds = |seconds: i64| seconds as f64;
    each(
        "hayloft_host_clock_ahead_seconds",
        "How far its clock is ahead of the coordinator's.",
        &|host| host.watch.clock_ahead.map(seconds),
    );
    each(
        "hayloft_host_snapshot_timestamp_seconds",
        "When the newest snapshot of its metadata that lies on another host was made.",
        &|host| host.watch.snapshot.map(|at| seconds(at.as_second())),
    );
    let units = |value: &dyn Fn(&hayloft_api::agent::UnitReport) -> f64| -> Vec<_> {
        hosts
            .iter()
            .flat_map(|host| {
                host.units.iter().map(move |unit| {
                    let labels = vec![("host", host.name.to_string()), ("unit", unit.name.clone())];
                    (labels, value(unit))
                })
            })
            .collect()
    };
    let running = units(&|unit| flag(matches!(unit.state, UnitState::Running { .. })));
    let restarts = units(&|unit| f64::from(unit.restarts));
    text.samples(
        "hayloft_host_unit_running",
        Kind::Gauge,
        "Whether something that a host runs runs and answers.",
        running,
    );
    text.samples(
        "hayloft_host_unit_restarts_total",
        Kind::Counter,
        "How often it was started again.",
        restarts,
    );
}

fn moves(text: &mut Text, moves: &[MoveStatus]) {
    let number = u64::try_from(moves.len()).unwrap_or(u64::MAX);
    text.samples(
        "hayloft_moves",
        Kind::Gauge,
        "Layout versions whose data is on its way.",
        [(Labels::new(), float(number))],
    );
    let labels = |moving: &MoveStatus| -> Labels {
        let refilled = moving.refilled.clone();
        let version = ("version", moving.version.to_string());
        std::iter::once(version)
            .chain(refilled.map(|host| ("refilled", host)))
            .collect()
    };
    let mut each = |name: &'static str, help: &str, value: &dyn Fn(&MoveStatus) -> Option<f64>| {
        let samples: Vec<_> = moves
            .iter()
            .filter_map(|moving| Some((labels(moving), value(moving)?)))
            .collect();
        text.samples(name, Kind::Gauge, help, samples);
    };
    each(
        "hayloft_move_settled_ratio",
        "The part of the metadata that is synced.",
        &|moving| Some(f64::from(moving.settled) / 1000.0),
    );
    each(
        "hayloft_move_placed_ratio",
        "The part of the blocks that is where it belongs; 1 only when that is proven.",
        &|moving| Some(f64::from(moving.placed) / 1000.0),
    );
    each(
        "hayloft_move_empty_ratio",
        "The part that hosts that left hold no more; 1 only when their disks say so.",
        &|moving| Some(f64::from(moving.empty) / 1000.0),
    );
    each(
        "hayloft_move_partitions",
        "Copies of partitions that move.",
        &|moving| moving.partitions.map(float),
    );
    each("hayloft_move_bytes", "Bytes that are to move.", &|moving| {
        moving.bytes.map(float)
    });
    each(
        "hayloft_move_arrived_bytes",
        "Bytes that have arrived.",
        &|moving| Some(float(moving.arrived)),
    );
    each("hayloft_move_left_bytes", "Bytes that have not.", &|moving| {
        moving.left.map(float)
    });
    each(
        "hayloft_move_rate_bytes_per_second",
        "Bytes a second, lately.",
        &|moving| moving.rate.map(float),
    );
    each(
        "hayloft_move_left_seconds",
        "Seconds until the blocks have arrived, at that rate.",
        &|moving| moving.seconds_left.map(float),
    );
    each(
        "hayloft_move_delay_left_seconds",
        "Seconds until the last of Garage's fixed delays that run now ends.",
        &|moving| {
            Some(float(
                moving
                    .delays
                    .iter()
                    .map(|delay| delay.seconds_left)
                    .max()
                    .unwrap_or(0),
            ))
        },
    );
    let phases = [
        MovePhase::Settling,
        MovePhase::Repairing,
        MovePhase::Comparing,
        MovePhase::Emptying,
        MovePhase::Done,
    ];
    let samples = moves.iter().flat_map(|moving| {
        phases.map(|phase| {
            let mut labels = labels(moving);
            labels.push(("phase", phase.as_str().to_owned()));
            (labels, flag(phase == moving.phase))
        })
    });
    text.samples(
        "hayloft_move_phase",
        Kind::Gauge,
        "1 for what happens in a move now, 0 for the rest.",
        samples.collect::<Vec<_>>(),
    );
}

const fn flag(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

/// As floating point, which is what the format has.
#[expect(clippy::cast_precision_loss, reason = "Prometheus has nothing else")]
const fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cluster of one host, into which another moves.
    const STATUS: &str = r#"{
        "cluster": "laptop", "observedAt": "2026-11-22T12:00:00Z", "phase": "converging",
        "hosts": [{
            "name": "host-1", "zone": "zone-1", "roles": ["storage"], "garageId": null, "declared": true, "agent": true,
            "up": true, "inLayout": true, "pledge": 1073741824, "partitions": 256,
            "disk": { "dataAvailable": 1000, "dataTotal": 4000 }, "garageVersion": "2.5.0",
            "units": [{ "name": "garage", "state": { "is": "running", "pid": 7 }, "restarts": 2, "lastError": null }],
            "watch": { "blocks": 12, "blockBytes": 345, "returns": 3, "clockAhead": -2, "snapshot": "2026-11-22T11:00:00Z" }
        }],
        "layout": { "version": 2, "settled": true, "storageHosts": 2, "zoneRedundancy": 1, "partitionsWithQuorum": 256 },
        "space": { "pledged": 2147483648, "usable": 2000, "used": 1234, "objects": 2 },
        "gateway": { "up": true, "url": "http://127.0.0.1:8080", "hosts": ["host-1"], "caches": ["main"] },
        "secrets": { "knownTo": ["host-9"], "renewal": "switched", "lastDownMs": 1250 },
        "conditions": [{
            "type": "Serving", "status": true, "reason": "AsDeclared", "message": "", "since": "2026-11-22T12:00:00Z"
        }],
        "waiting": [],
        "moves": [{
            "version": 2, "what": "host-2 joins", "applied": "2026-11-22T12:00:00Z", "phase": "repairing",
            "settled": 1000, "placed": 412, "empty": 1000, "partitions": 128, "bytes": 1000, "arrived": 412, "left": 588,
            "rate": 42, "secondsLeft": 14, "delays": [{ "what": "waiting", "secondsLeft": 99 }]
        }]
    }"#;

    #[test]
    fn the_metrics_of_a_cluster_with_a_move() {
        let status: Status = serde_json::from_str(STATUS).unwrap();
        let mut text = Text::default();
        render(&mut text, &status);
        insta::assert_snapshot!(text.finish());
    }
}
