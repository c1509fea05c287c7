//! The questions to one member that every round asks.

use std::collections::BTreeMap;

use hayloft_api::agent::DiskReport;
use hayloft_api::{HostName, NodeId};
use hayloft_engine::{
    ClusterFacts, LayoutFacts, NodeFacts, NodeRole, PartitionFacts, RoleChange, Staged, Trackers,
    VersionFacts, VersionStatus,
};
use hayloft_garage::admin::{self, AdminError, Client, History, Layout, Node, ZoneRedundancy};
use jiff::Timestamp;

use super::{Observation, access};
use crate::memory::Memory;

pub(super) async fn ask(
    memory: &mut Memory,
    client: &Client,
    name: &HostName,
    key_id: &str,
    now: Timestamp,
) -> Result<Observation, AdminError> {
    let status = client.status().await?;
    let layout = client.layout().await?;
    let health = client.health().await?;
    // A version that settled once stays so until the next.
    let known = layout.version == 0 || memory.settled == Some(layout.version);
    let history = if known {
        None
    } else {
        Some(client.history().await?)
    };
    let settled = known
        || history
            .as_ref()
            .is_some_and(|history| history.settled() && history.current_version == layout.version);
    memory.settled = settled.then_some(layout.version);
    let (access, bucket) = if layout.version == 0 {
        (None, None)
    } else {
        access::ask(memory, client, key_id, now).await?
    };
    let facts = ClusterFacts {
        through: name.clone(),
        observed: now,
        nodes: status
            .nodes
            .iter()
            .map(|node| (node.id, node_facts(node, memory)))
            .collect(),
        layout: layout_facts(&layout, settled),
        versions: history.as_ref().map(versions).unwrap_or_default(),
        trackers: history.as_ref().and_then(trackers),
        partitions: (layout.version > 0).then_some(PartitionFacts {
            with_quorum: health.partitions_quorum,
            all_up: health.partitions_all_ok,
        }),
        access,
    };
    Ok(Observation {
        facts,
        layout,
        health,
        bucket,
    })
}

fn node_facts(node: &Node, memory: &Memory) -> NodeFacts {
    let queue = memory.details.queues.get(&node.id);
    NodeFacts {
        up: node.is_up,
        draining: node.draining,
        queue: queue.map(|queue| queue.length),
        errors: queue.map(|queue| queue.errors),
        disk: node.data_partition.map(|free| DiskReport {
            data_available: free.available,
            data_total: free.total,
        }),
    }
}

fn versions(history: &History) -> Vec<VersionFacts> {
    let mut versions: Vec<VersionFacts> = history
        .versions
        .iter()
        .map(|version| VersionFacts {
            version: version.version,
            status: match version.status {
                admin::VersionStatus::Current => VersionStatus::Current,
                admin::VersionStatus::Draining => VersionStatus::Draining,
                admin::VersionStatus::Historical => VersionStatus::Historical,
            },
        })
        .collect();
    versions.sort_by_key(|version| version.version);
    versions
}

fn trackers(history: &History) -> Option<BTreeMap<NodeId, Trackers>> {
    let trackers = history.update_trackers.as_ref()?.iter();
    let read = trackers.map(|(id, tracker)| {
        let admin::Tracker { ack, sync, sync_ack } = *tracker;
        (*id, Trackers { ack, sync, sync_ack })
    });
    Some(read.collect())
}

fn layout_facts(layout: &Layout, settled: bool) -> LayoutFacts {
    let redundancy = |parameters: &admin::Parameters| match parameters.zone_redundancy {
        ZoneRedundancy::AtLeast(zones) => Some(zones),
        ZoneRedundancy::Maximum => None,
    };
    LayoutFacts {
        version: layout.version,
        roles: layout
            .roles
            .iter()
            .map(|role| {
                let admin::LayoutRole {
                    id,
                    zone,
                    tags,
                    capacity,
                    ..
                } = role;
                (
                    *id,
                    NodeRole {
                        zone: zone.clone(),
                        capacity: *capacity,
                        tags: tags.clone(),
                    },
                )
            })
            .collect(),
        partitions: layout
            .roles
            .iter()
            .filter_map(|role| Some((role.id, role.stored_partitions?)))
            .collect(),
        zone_redundancy: redundancy(&layout.parameters),
        staged: staged(layout),
        settled,
    }
}

/// What lies in the staging area.
pub(crate) fn staged(layout: &Layout) -> Staged {
    let change = |change: &admin::RoleChange| match change {
        admin::RoleChange::Remove { .. } => RoleChange::Remove,
        admin::RoleChange::Assign { zone, tags, capacity } => RoleChange::Assign(NodeRole {
            zone: zone.clone(),
            capacity: *capacity,
            tags: tags.clone(),
        }),
    };
    Staged {
        roles: layout
            .staged_role_changes
            .iter()
            .map(|staged| (staged.id, change(&staged.change)))
            .collect(),
        zone_redundancy: layout
            .staged_parameters
            .map(|parameters| match parameters.zone_redundancy {
                ZoneRedundancy::AtLeast(zones) => Some(zones),
                ZoneRedundancy::Maximum => None,
            }),
    }
}
