//! Metrics of the cluster, its hosts and its moves, from the status. A pure function of it.
//!
//! Labels are few: hosts, zones, versions that are under way, condition types.

use hayloft_api::agent::UnitState;
use hayloft_api::status::{ConditionType, HostStatus, MovePhase, MoveStatus, Phase, Status};

use super::text::{Kind, Text};

type Labels = Vec<(&'static str, String)>;

/// All of them.
pub(super) fn render(status: &Status) -> String {
    let mut text = Text::default();
    cluster(&mut text, status);
    conditions(&mut text, status);
    hosts(&mut text, &status.hosts);
    moves(&mut text, &status.moves);
    text.into_string()
}

fn cluster(text: &mut Text, status: &Status) {
    let Status {
        cluster,
        observed_at,
        phase,
        layout,
        space,
        gateway,
        waiting,
        ..
    } = status;
    let one = |value: f64| [(Labels::new(), value)];
    let some = |value: Option<u64>| value.map(|value| (Labels::new(), float(value)));
    let info = vec![("cluster", cluster.to_string())];
    text.family(
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
    text.family(
        "hayloft_cluster_phase",
        Kind::Gauge,
        "1 for the phase the cluster is in, 0 for the others.",
        phases.map(|(one, name)| (vec![("phase", name.to_owned())], flag(one == *phase))),
    );
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
    let observed = observed_at.as_second() as f64;
    text.family(
        "hayloft_cluster_observed_timestamp_seconds",
        Kind::Gauge,
        "When the coordinator last looked.",
        one(observed),
    );
    text.family(
        "hayloft_layout_version",
        Kind::Gauge,
        "The layout's version; 0 before the first.",
        one(float(layout.version)),
    );
    text.family(
        "hayloft_layout_settled",
        Kind::Gauge,
        "Whether metadata is synced to it.",
        one(flag(layout.settled)),
    );
    text.family(
        "hayloft_layout_storage_hosts",
        Kind::Gauge,
        "Hosts that hold data by it.",
        one(float(layout.storage_hosts)),
    );
    text.family(
        "hayloft_layout_writable_partitions",
        Kind::Gauge,
        "Partitions with a write quorum, of 256.",
        some(layout.partitions_with_quorum),
    );
    text.family(
        "hayloft_space_pledged_bytes",
        Kind::Gauge,
        "Bytes that hosts lend, all copies counted.",
        one(float(space.pledged.0)),
    );
    text.family(
        "hayloft_space_usable_bytes",
        Kind::Gauge,
        "Bytes of distinct data that the layout can hold.",
        some(space.usable.map(|bytes| bytes.0)),
    );
    text.family(
        "hayloft_space_used_bytes",
        Kind::Gauge,
        "Bytes in the bucket, one copy counted.",
        some(space.used.map(|bytes| bytes.0)),
    );
    text.family(
        "hayloft_space_objects",
        Kind::Gauge,
        "Objects in the bucket.",
        some(space.objects),
    );
    text.family(
        "hayloft_gateway_up",
        Kind::Gauge,
        "Whether at least one gateway runs.",
        one(flag(gateway.up)),
    );
    let waits = u64::try_from(waiting.len()).unwrap_or(u64::MAX);
    text.family(
        "hayloft_waiting",
        Kind::Gauge,
        "Things that are to be done and wait.",
        one(float(waits)),
    );
}

fn conditions(text: &mut Text, status: &Status) {
    let found = ConditionType::ALL
        .iter()
        .filter_map(|kind| status.condition(*kind));
    text.family(
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
    let mut each = |name: &str, help: &str, value: &dyn Fn(&HostStatus) -> Option<f64>| {
        let samples: Vec<_> = hosts
            .iter()
            .filter_map(|host| Some((labels(host), value(host)?)))
            .collect();
        text.family(name, Kind::Gauge, help, samples);
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
    text.family(
        "hayloft_host_unit_running",
        Kind::Gauge,
        "Whether something that a host runs runs and answers.",
        running,
    );
    text.family(
        "hayloft_host_unit_restarts_total",
        Kind::Counter,
        "How often it was started again.",
        restarts,
    );
}

fn moves(text: &mut Text, moves: &[MoveStatus]) {
    let number = u64::try_from(moves.len()).unwrap_or(u64::MAX);
    text.family(
        "hayloft_moves",
        Kind::Gauge,
        "Layout versions whose data is on its way.",
        [(Labels::new(), float(number))],
    );
    let labels = |moving: &MoveStatus| -> Labels { vec![("version", moving.version.to_string())] };
    let mut each = |name: &str, help: &str, value: &dyn Fn(&MoveStatus) -> Option<f64>| {
        let samples: Vec<_> = moves
            .iter()
            .filter_map(|moving| Some((labels(moving), value(moving)?)))
            .collect();
        text.family(name, Kind::Gauge, help, samples);
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
    text.family(
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
    use crate::status::moves::tests::join;
    use crate::status::table::tests::status;

    #[test]
    fn the_metrics_of_a_cluster_with_a_move() {
        let mut status = status();
        status.moves.push(join());
        status.conditions.push(hayloft_api::status::Condition {
            kind: ConditionType::Serving,
            status: true,
            reason: hayloft_api::status::Reason::AsDeclared,
            message: String::new(),
            since: status.observed_at,
        });
        insta::assert_snapshot!(render(&status));
    }
}
