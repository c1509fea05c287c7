//! All facts of a round, put together.

use std::collections::BTreeMap;

use hayloft_api::agent::{GARAGE_UNIT, GATEWAY_UNIT};
use hayloft_api::{HostName, NodeId};
use hayloft_engine::{ClusterFacts, HostFacts, ReportFacts, Snapshot};
use hayloft_garage::GarageVersion;
use jiff::Timestamp;

use super::{Heard, Memory, Observation};

/// All facts together.
pub(crate) fn snapshot(
    memory: &mut Memory,
    observation: Option<&Observation>,
    now: Timestamp,
    minute_of_day: u16,
) -> Snapshot {
    let cluster = observation.map(|observation| observation.facts.clone());
    let names: Vec<HostName> = memory
        .remembered
        .keys()
        .chain(memory.heard.keys())
        .cloned()
        .collect();
    let mut hosts = BTreeMap::new();
    for name in names {
        let remembered = memory.remembered.get(&name);
        let heard = memory.heard.get(&name);
        let id = heard
            .map(|heard| heard.report.garage_id)
            .or(remembered.map(|host| host.id));
        let ready = ready(cluster.as_ref(), id);
        if ready {
            memory.ready_since.entry(name.clone()).or_insert(now);
        } else {
            memory.ready_since.remove(&name);
        }
        let facts = HostFacts {
            id,
            zone: remembered.and_then(|host| host.zone.clone()),
            ready_since: memory.ready_since.get(&name).copied(),
            former: memory
                .former
                .iter()
                .filter(|(former, host)| **host == name && Some(**former) != id)
                .map(|(former, _)| *former)
                .collect(),
            left: remembered.and_then(|host| host.left),
            agent: heard.is_some_and(|heard| heard.agent),
            report: heard.map(report_facts),
            told: memory.told.get(&name).map(|(_, plan)| plan.clone()),
            ..HostFacts::default()
        };
        hosts.insert(name, facts);
    }
    Snapshot {
        now,
        minute_of_day,
        started: memory.started,
        hosts,
        cluster,
        staged_by_us: memory.attempt.as_ref().map(|attempt| attempt.staged.clone()),
        bucket_made: memory.bucket_made,
        ..Snapshot::empty(now)
    }
}

/// Whether a node is connected and has no role.
fn ready(cluster: Option<&ClusterFacts>, id: Option<NodeId>) -> bool {
    cluster.zip(id).is_some_and(|(cluster, id)| {
        cluster.nodes.get(&id).is_some_and(|node| node.up) && !cluster.layout.roles.contains_key(&id)
    })
}

fn report_facts(heard: &Heard) -> ReportFacts {
    let Heard { report, at, agent } = heard;
    let unfit = report
        .garage_version
        .as_deref()
        .and_then(|version| match version.parse::<GarageVersion>() {
            Ok(version) => version.fit().err().map(|unfit| unfit.to_string()),
            Err(error) => Some(error.to_string()),
        });
    ReportFacts {
        heard: *at,
        follows: report.generation.is_some(),
        rpc_addr: report.rpc_addr.clone(),
        s3_addr: report.s3_addr.clone(),
        gateway_addr: report.gateway_addr.clone(),
        garage_version: report.garage_version.clone(),
        unfit,
        garage_started: None,
        layout: report.layout,
        data: report.data.clone(),
        blocks: report.blocks,
        garage_runs: *agent && report.runs(GARAGE_UNIT),
        gateway_runs: *agent && report.runs(GATEWAY_UNIT),
        disk: report.disk,
    }
}
