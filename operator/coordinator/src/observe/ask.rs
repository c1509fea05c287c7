//! The questions to one member.

use hayloft_api::{Bytes, HostName};
use hayloft_engine::{
    Access, BucketFacts, ClusterFacts, LayoutFacts, NodeFacts, NodeRole, RoleChange, Staged,
};
use hayloft_garage::admin::{self, AdminError, BucketInfo, Client, Layout, ZoneRedundancy};
use jiff::{SignedDuration, Timestamp};

use super::{Memory, Observation};
use crate::BUCKET;

/// How old what is known of the bucket may be. Counting is cheap for Garage; the question's cost is its token.
const BUCKET_AGE: SignedDuration = SignedDuration::from_secs(20);

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
    let settled = match memory.settled {
        _ if layout.version == 0 => true,
        // A version that settled once stays so until the next.
        Some(version) if version == layout.version => true,
        _ => {
            let history = client.history().await?;
            let settled = history.settled() && history.current_version == layout.version;
            memory.settled = settled.then_some(layout.version);
            settled
        }
    };
    let (access, bucket) = if layout.version == 0 {
        (None, None)
    } else {
        access(memory, client, key_id, now).await?
    };
    let facts = ClusterFacts {
        through: name.clone(),
        observed: now,
        nodes: status
            .nodes
            .iter()
            .map(|node| {
                (
                    node.id,
                    NodeFacts {
                        up: node.is_up,
                        draining: node.draining,
                        ..NodeFacts::default()
                    },
                )
            })
            .collect(),
        layout: layout_facts(&layout, settled),
        versions: Vec::new(),
        trackers: None,
        partitions: None,
        access,
    };
    Ok(Observation {
        facts,
        layout,
        health,
        bucket,
    })
}

/// Looks for the key and the bucket, or remembers them. Without a quorum for their tables that is not known, which
/// must not hide the rest.
async fn access(
    memory: &mut Memory,
    client: &Client,
    key_id: &str,
    now: Timestamp,
) -> Result<(Option<Access>, Option<BucketInfo>), AdminError> {
    if let Some((at, access, bucket)) = &memory.access
        && access.ready()
        && now.duration_since(*at) < BUCKET_AGE
    {
        return Ok((Some(access.clone()), bucket.clone()));
    }
    let asked = async {
        let bucket = client.bucket(BUCKET).await?;
        let rights = bucket
            .as_ref()
            .and_then(|bucket| bucket.keys.iter().find(|key| key.access_key_id == key_id))
            .map(|key| key.permissions);
        let key = match rights {
            Some(_) => true,
            None => client.key(key_id).await?.is_some(),
        };
        let allowed = rights.is_some_and(|rights| rights.read && rights.write);
        let facts = bucket.as_ref().map(|bucket| BucketFacts {
            allowed,
            ..BucketFacts::good(Bytes(bucket.bytes))
        });
        let access = Access {
            key,
            bucket: facts,
            ..Access::default()
        };
        Ok::<_, AdminError>((access, bucket))
    };
    match asked.await {
        Ok((access, bucket)) => {
            memory.access = Some((now, access.clone(), bucket.clone()));
            Ok((Some(access), bucket))
        }
        Err(AdminError::LayoutNotReady { .. } | AdminError::Refused { status: 500.., .. }) => {
            Ok((None, None))
        }
        Err(error) => Err(error),
    }
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
