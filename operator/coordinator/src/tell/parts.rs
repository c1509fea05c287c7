//! Hosts, layout, space and gateways as status shows them.

use hayloft_api::agent::GATEWAY_UNIT;
use hayloft_api::status::{
    GatewayStatus, HostStatus, HostWatch, LayoutStatus, SecretsRenewal, SecretsStatus, SpaceStatus,
};
use hayloft_api::{Bytes, Document, HostName};
use hayloft_engine::{AskedFor, Renewal, Snapshot};

use crate::memory::Memory;
use crate::observe::Observation;

pub(super) fn hosts(
    document: &Document,
    snapshot: &Snapshot,
    observation: Option<&Observation>,
    memory: &Memory,
) -> Vec<HostStatus> {
    let mut names: Vec<&HostName> = document.spec.hosts.iter().map(|host| &host.name).collect();
    for (name, facts) in &snapshot.hosts {
        let in_layout = facts.id.is_some_and(|id| {
            snapshot
                .cluster
                .as_ref()
                .is_some_and(|cluster| cluster.layout.roles.contains_key(&id))
        });
        if !names.contains(&name) && (in_layout || facts.left.is_some()) {
            names.push(name);
        }
    }
    names.sort();
    names
        .into_iter()
        .map(|name| host(name, document, snapshot, observation, memory))
        .collect()
}

fn host(
    name: &HostName,
    document: &Document,
    snapshot: &Snapshot,
    observation: Option<&Observation>,
    memory: &Memory,
) -> HostStatus {
    let spec = document.host(name);
    let facts = snapshot.hosts.get(name);
    let id = facts.and_then(|facts| facts.id);
    let heard = memory.heard.get(name);
    let report = heard.map(|heard| &heard.report);
    let role = id.and_then(|id| observation?.layout.roles.iter().find(|role| role.id == id));
    let node = id.and_then(|id| snapshot.cluster.as_ref()?.nodes.get(&id));
    HostStatus {
        name: name.clone(),
        zone: spec
            .map(|spec| spec.zone.clone())
            .or_else(|| facts.and_then(|facts| facts.zone.clone())),
        roles: spec.map(|spec| spec.roles.clone()).unwrap_or_default(),
        garage_id: id,
        declared: spec.is_some(),
        agent: facts.is_some_and(|facts| facts.agent),
        up: node.is_some_and(|node| node.up),
        in_layout: role.is_some(),
        pledge: spec
            .and_then(|spec| spec.pledge)
            .or_else(|| role.and_then(|role| role.capacity).map(Bytes)),
        partitions: role.and_then(|role| role.stored_partitions),
        disk: report.and_then(|report| report.disk),
        garage_version: report.and_then(|report| report.garage_version.clone()),
        units: report.map(|report| report.units.clone()).unwrap_or_default(),
        watch: watch(name, document, snapshot, memory),
    }
}

/// What is known of a host beyond its being up.
fn watch(name: &HostName, document: &Document, snapshot: &Snapshot, memory: &Memory) -> HostWatch {
    let spec = document.host(name);
    let Some(facts) = snapshot.hosts.get(name) else {
        return HostWatch {
            owner: spec.and_then(|spec| spec.owner.clone()),
            ..HostWatch::default()
        };
    };
    let evicted = facts.id.is_some_and(|id| snapshot.barred.contains(&id)) || memory.known.contains(name);
    let asked = facts.asked.map(|asked| asked.what);
    let leaving = if evicted || asked == Some(AskedFor::Evict) {
        Some("evicted")
    } else if asked == Some(AskedFor::Remove) || (spec.is_none() && facts.left.is_none()) {
        Some("removed")
    } else if asked == Some(AskedFor::Drain) || spec.is_some_and(|spec| !spec.state.is_active()) {
        Some("drained")
    } else if facts.left.is_some() {
        Some("left")
    } else {
        None
    };
    let blocks = facts.report.as_ref().and_then(|report| report.blocks);
    HostWatch {
        owner: spec.and_then(|spec| spec.owner.clone()),
        leaving: leaving.map(ToOwned::to_owned),
        evicted,
        away_seconds: facts.presence.absent.map(|absence| absence.observed.seconds),
        returns: u64::try_from(facts.presence.flaps(snapshot.now)).unwrap_or(u64::MAX),
        blocks: blocks.map(|blocks| blocks.count),
        block_bytes: blocks.map(|blocks| blocks.bytes),
        clock_ahead: facts.skew.map(|skew| skew.as_secs()),
        snapshot: facts
            .upkeep
            .as_ref()
            .and_then(|upkeep| upkeep.snapshot.as_ref())
            .map(|kept| kept.made),
    }
}

pub(super) fn layout(observation: Option<&Observation>) -> LayoutStatus {
    let Some(observation) = observation else {
        return LayoutStatus::default();
    };
    let layout = &observation.facts.layout;
    let storage = layout
        .roles
        .values()
        .filter(|role| role.capacity.is_some())
        .count();
    LayoutStatus {
        version: layout.version,
        settled: layout.version > 0 && layout.settled,
        storage_hosts: u64::try_from(storage).unwrap_or(u64::MAX),
        zone_redundancy: layout.zone_redundancy,
        partitions_with_quorum: (layout.version > 0).then_some(observation.health.partitions_quorum),
    }
}

pub(super) fn space(document: &Document, observation: Option<&Observation>) -> SpaceStatus {
    let pledged = document
        .storage_hosts()
        .filter_map(|host| host.pledge)
        .map(|Bytes(bytes)| bytes);
    let bucket = observation.and_then(|observation| observation.bucket.as_ref());
    SpaceStatus {
        pledged: Bytes(pledged.fold(0, u64::saturating_add)),
        // Garage's partitions are 256, whatever the cluster.
        usable: observation
            .filter(|observation| observation.layout.version > 0)
            .map(|observation| Bytes(observation.layout.partition_size.saturating_mul(256))),
        used: bucket.map(|bucket| Bytes(bucket.bytes)),
        objects: bucket.map(|bucket| bucket.objects),
    }
}

pub(super) fn gateway(document: &Document, snapshot: &Snapshot, memory: &Memory) -> GatewayStatus {
    let running = |name: &HostName| {
        snapshot
            .hosts
            .get(name)
            .and_then(|facts| facts.report.as_ref())
            .is_some_and(|report| report.gateway_runs)
    };
    let hosts: Vec<HostName> = memory
        .heard
        .iter()
        .filter(|(name, heard)| heard.report.unit(GATEWAY_UNIT).is_some() && running(name))
        .map(|(name, _)| name.clone())
        .collect();
    let address = hosts
        .first()
        .and_then(|name| memory.heard.get(name)?.report.gateway_addr.clone());
    GatewayStatus {
        up: !hosts.is_empty(),
        url: document
            .spec
            .gateway
            .public_url
            .clone()
            .or_else(|| address.map(|addr| format!("http://{addr}"))),
        hosts,
        caches: document
            .spec
            .caches
            .iter()
            .map(|cache| cache.name.clone())
            .collect(),
    }
}

pub(super) fn secrets(snapshot: &Snapshot, memory: &Memory) -> SecretsStatus {
    SecretsStatus {
        known_to: snapshot.secrets.known_to.iter().cloned().collect(),
        renewal: match snapshot.secrets.renewal {
            Renewal::None => SecretsRenewal::None,
            Renewal::Staged { .. } => SecretsRenewal::Staged,
            Renewal::Switched => SecretsRenewal::Switched,
        },
        last_down_ms: memory.last_outage.map(|measured| measured.down_ms),
    }
}
