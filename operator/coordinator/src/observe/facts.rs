//! All facts of a round, put together.

use std::collections::BTreeSet;

use hayloft_api::agent::{GARAGE_UNIT, GATEWAY_UNIT};
use hayloft_api::{HostName, NodeId};
use hayloft_engine::{
    ClusterFacts, HostFacts, Leadership, Look, Renewal, ReportFacts, SecretsFacts, Snapshot, Unanswered,
};
use hayloft_garage::GarageVersion;
use jiff::{SignedDuration, Timestamp};

use super::Observation;
use crate::memory::{Heard, Memory};

/// For so long after its own start a coordinator does not miss a host that it has not met yet.
const STARTING: SignedDuration = SignedDuration::from_secs(60);

/// All facts together.
pub(crate) fn snapshot(
    memory: &mut Memory,
    observation: Option<&Observation>,
    leadership: Leadership,
    now: Timestamp,
    minute_of_day: u16,
) -> Snapshot {
    let cluster = observation.map(|observation| observation.facts.clone());
    let names: BTreeSet<HostName> = memory
        .remembered
        .keys()
        .chain(memory.heard.keys())
        .cloned()
        .collect();
    look_for(memory, cluster.as_ref(), &names, now);
    let hosts = names
        .into_iter()
        .map(|name| {
            let facts = host(memory, cluster.as_ref(), &name, now);
            (name, facts)
        })
        .collect();
    let secrets = SecretsFacts {
        known_to: memory.known.clone(),
        behind: behind(memory),
        renewal: renewal(memory),
    };
    let unanswered = memory
        .attempt
        .as_ref()
        .filter(|attempt| attempt.sent)
        .map(|attempt| Unanswered {
            through: attempt.through.clone(),
            version: attempt.version,
            at: Timestamp::from_second(attempt.at).unwrap_or(now),
        });
    Snapshot {
        leadership,
        hosts,
        cluster,
        staged_by_us: memory.attempt.as_ref().map(|attempt| attempt.staged.clone()),
        unanswered,
        bucket_made: memory.bucket_made,
        moves: memory.moves.facts(),
        barred: memory.barred.keys().copied().collect(),
        may_lack: memory.may_lack.clone(),
        secrets,
        rate: memory.rates.values().max().copied(),
        clients_idle: memory.details.idle.unwrap_or(false),
        minute_of_day,
        started: memory.started,
        stale_document: memory.held_back,
        ..Snapshot::empty(now)
    }
}

/// Counts absences.
fn look_for(memory: &mut Memory, cluster: Option<&ClusterFacts>, names: &BTreeSet<HostName>, now: Timestamp) {
    let reachable = |name: &HostName, id: NodeId| {
        let agent = memory.heard.get(name).is_some_and(|heard| heard.agent);
        let role = cluster.is_some_and(|cluster| cluster.layout.roles.contains_key(&id));
        agent && (!role || cluster.is_some_and(|cluster| cluster.is_up(id)))
    };
    let voters = memory.voters();
    let id = |name: &HostName| memory.remembered.get(name).map(|host| host.id);
    let there = voters
        .iter()
        .filter(|name| id(name).is_some_and(|id| reachable(name, id)))
        .count();
    let majority = cluster.is_some() && there * 2 > voters.len();
    let starting = now.duration_since(memory.started).abs() < STARTING;
    let looks: Vec<(HostName, Look)> = names
        .iter()
        .filter_map(|name| {
            let present = reachable(name, id(name)?);
            // Its agent starts beside this coordinator, or is still connecting: it did not go away.
            let missed = memory
                .presence
                .get(name)
                .is_some_and(|presence| presence.absent.is_some());
            if starting && !present && !missed && !memory.met.contains(name) {
                return None;
            }
            Some((
                name.clone(),
                Look {
                    now,
                    present,
                    majority,
                },
            ))
        })
        .collect();
    for (name, look) in looks {
        if look.present {
            memory.met.insert(name.clone());
        }
        let presence = memory.presence.entry(name).or_default();
        *presence = std::mem::take(presence).seen(look);
    }
}

fn host(memory: &mut Memory, cluster: Option<&ClusterFacts>, name: &HostName, now: Timestamp) -> HostFacts {
    let id = memory
        .heard
        .get(name)
        .map(|heard| heard.report.garage_id)
        .or(memory.remembered.get(name).map(|host| host.id));
    if ready(cluster, id) {
        memory.ready_since.entry(name.clone()).or_insert(now);
    } else {
        memory.ready_since.remove(name);
    }
    let remembered = memory.remembered.get(name);
    let heard = memory.heard.get(name);
    let mut upkeep = memory.upkeep.get(name).cloned().unwrap_or_default();
    if let Some(id) = id {
        let details = &memory.details;
        upkeep.busy = details.upkeep.contains_key(&id) || details.scrubbing.contains(&id);
        upkeep.corruptions = details
            .corruptions
            .get(&id)
            .copied()
            .unwrap_or(upkeep.corruptions);
    }
    HostFacts {
        id,
        zone: remembered.and_then(|host| host.zone.clone()),
        ready_since: memory.ready_since.get(name).copied(),
        former: memory
            .former
            .iter()
            .filter(|(former, host)| *host == name && Some(**former) != id)
            .map(|(former, _)| *former)
            .collect(),
        left: remembered.and_then(|host| host.left),
        agent: heard.is_some_and(|heard| heard.agent),
        report: heard.map(|heard| report_facts(heard, memory, name)),
        told: memory.told.get(name).map(|(_, plan)| plan.clone()),
        presence: memory.presence.get(name).cloned().unwrap_or_default(),
        asked: memory.asked.get(name).copied(),
        skew: memory.skews.get(name).copied(),
        resync: id.and_then(|id| memory.details.resync.get(&id).copied()),
        sending: memory.details.sending.get(name).copied(),
        upkeep: Some(upkeep),
        rolled_back: memory.unmended(name),
    }
}

/// Who runs Garage and was not told the newest secrets yet.
fn behind(memory: &Memory) -> BTreeSet<HostName> {
    if memory.rotation.is_none() {
        return BTreeSet::new();
    }
    let runs = memory.remembered.iter().filter(|(name, host)| {
        memory.has_role(name) && !memory.told.contains_key(*name) && !memory.barred.contains_key(&host.id)
    });
    runs.map(|(name, _)| name.clone()).collect()
}

/// How far the renewal of secrets has come, and who is there and has not written the new ones down.
fn renewal(memory: &Memory) -> Renewal {
    let Some(rotation) = &memory.rotation else {
        return Renewal::None;
    };
    let Some((_, since)) = &rotation.staged else {
        return Renewal::Switched;
    };
    let lacks = |name: &HostName, heard: &Heard| {
        let told = memory.told.get(name).map(|(generation, _)| generation);
        told.is_none() || heard.report.generation.as_ref() != told
    };
    let there = memory.heard.iter().filter(|(name, heard)| {
        let barred = memory.barred.contains_key(&heard.report.garage_id);
        heard.agent && heard.report.runs(GARAGE_UNIT) && !barred && !memory.known.contains(*name)
    });
    Renewal::Staged {
        since: *since,
        lacking: there
            .filter(|(name, heard)| lacks(name, heard))
            .map(|(name, _)| name.clone())
            .collect(),
    }
}

/// Whether a node is connected and has no role.
fn ready(cluster: Option<&ClusterFacts>, id: Option<NodeId>) -> bool {
    cluster.zip(id).is_some_and(|(cluster, id)| {
        cluster.nodes.get(&id).is_some_and(|node| node.up) && !cluster.layout.roles.contains_key(&id)
    })
}

fn report_facts(heard: &Heard, memory: &Memory, name: &HostName) -> ReportFacts {
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
        link_addr: report.link_addr.clone(),
        garage_version: report.garage_version.clone(),
        garage_waiting: report.garage_waiting.clone(),
        unfit,
        garage_started: memory.daemons.get(name).map(|(_, at)| *at),
        layout: report.layout,
        data: report.data.clone(),
        blocks: report.blocks,
        garage_runs: *agent && report.runs(GARAGE_UNIT),
        gateway_runs: *agent && report.runs(GATEWAY_UNIT),
        disk: report.disk,
    }
}
