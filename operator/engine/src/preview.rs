//! What a change of the layout would do, told before it is done.

use std::collections::{BTreeMap, BTreeSet};

use hayloft_api::question::{LayoutMap, loss_without, quorums};
use hayloft_api::status::{Bounds, HostPreview, Preview, ZonePreview};
use hayloft_api::{Bytes, Document, NodeId};

use crate::forecast::{judge_forecast, room, share};
use crate::{Forecast, NodeForecast, NodeRole, RoleChange, Snapshot, Staged};

/// Garage's partitions, whatever the cluster.
const PARTITIONS: u64 = 256;

/// Garage splits partitions over hosts of one size a little differently each time: so many more or fewer, in hundredths.
const SPREAD: u64 = 5;

/// Tells what a change would do. `before` is the map of the newest version whose data is placed, where it could be read.
pub fn preview(
    document: &Document,
    snapshot: &Snapshot,
    version: u64,
    change: &Staged,
    forecast: &Forecast,
    before: Option<&LayoutMap>,
) -> Preview {
    let current = snapshot.cluster.as_ref().map(|cluster| &cluster.layout);
    let roles_before = current.map(|layout| layout.roles.clone()).unwrap_or_default();
    let mut roles_after = roles_before.clone();
    for (id, change) in &change.roles {
        match change {
            RoleChange::Assign(role) => roles_after.insert(*id, role.clone()),
            RoleChange::Remove => roles_after.remove(id),
        };
    }
    let bytes = bucket_bytes(snapshot);
    let held = |id: &NodeId| {
        before
            .map(|map| u64::try_from(map.partitions_of(id)).unwrap_or(0))
            .unwrap_or_else(|| {
                current
                    .and_then(|layout| layout.partitions.get(id))
                    .copied()
                    .unwrap_or(0)
            })
    };
    let ids: BTreeSet<NodeId> = roles_before.keys().chain(roles_after.keys()).copied().collect();
    let hosts = ids.iter().filter_map(|id| {
        let role = roles_after.get(id).or_else(|| roles_before.get(id))?;
        role.capacity?;
        let node = forecast.nodes.get(id).copied().unwrap_or(NodeForecast {
            partitions: 0,
            incoming: 0,
        });
        Some(host(
            snapshot,
            document,
            *id,
            role,
            held(id),
            node,
            bytes,
            current.is_none_or(|layout| layout.version == 0),
        ))
    });
    let hosts: Vec<HostPreview> = hosts.collect();
    let moved: u64 = forecast.nodes.values().map(|node| node.incoming).sum();
    let to_move = bytes.map(|bytes| share(bytes, moved));
    let slowest = hosts
        .iter()
        .filter_map(|host| host.bytes_in.map(|bytes| bytes.most))
        .max();
    let rate = snapshot.rate.map(|rate| rate.0.0).filter(|rate| *rate > 0);
    let zones_before = current
        .filter(|layout| layout.version > 0)
        .and_then(|layout| layout.zone_redundancy);
    let mut preview = Preview {
        version,
        what: crate::words::change(snapshot, change),
        zones: zones(
            document,
            &roles_before,
            &roles_after,
            forecast,
            before,
            &held,
            &filling(snapshot),
        ),
        hosts,
        partitions: Some(moved),
        bytes: to_move,
        rate,
        // Destinations receive side by side, so the one that gets most is what takes time.
        seconds: slowest.zip(rate).map(|(bytes, rate)| bytes.div_ceil(rate)),
        usable_before: forecast
            .partition_size_before
            .map(|size| size.saturating_mul(PARTITIONS)),
        usable_after: forecast
            .partition_size
            .map(|size| size.saturating_mul(PARTITIONS)),
        zones_before,
        zones_after: Some(forecast.zone_redundancy),
        prices: Vec::new(),
        refusals: judge_forecast(document, snapshot, forecast)
            .iter()
            .map(ToString::to_string)
            .collect(),
    };
    preview.prices = prices(document, &preview, change);
    preview
}

#[expect(
    clippy::too_many_arguments,
    reason = "one line of a table, from as many columns"
)]
fn host(
    snapshot: &Snapshot,
    document: &Document,
    id: NodeId,
    role: &NodeRole,
    held: u64,
    node: NodeForecast,
    bytes: Option<u64>,
    first: bool,
) -> HostPreview {
    let known = snapshot.hosts.iter().find(|(_, facts)| facts.id == Some(id));
    let former = || {
        snapshot
            .hosts
            .iter()
            .find(|(_, facts)| facts.former.contains(&id))
    };
    let name = known
        .or_else(former)
        .map_or_else(|| id.short(), |(name, _)| name.to_string());
    let outgoing = (held + node.incoming).saturating_sub(node.partitions);
    // Who holds nothing, or all, leaves Garage no choice.
    let exact = first
        || node.partitions == 0
        || node.partitions == PARTITIONS
        || (node.incoming == 0 && outgoing == 0);
    let around = |n: u64, most: u64| {
        if exact {
            return Bounds::exactly(n);
        }
        let slack = (node.partitions * SPREAD).div_ceil(100).max(1);
        Bounds::between(n.saturating_sub(slack), (n + slack).min(most))
    };
    let partitions_in = around(node.incoming, PARTITIONS);
    let partitions_out = around(outgoing, held);
    let in_bytes = |bounds: Bounds| {
        bytes.map(|bytes| Bounds::between(share(bytes, bounds.least), share(bytes, bounds.most)))
    };
    HostPreview {
        host: name,
        zone: role.zone.clone(),
        partitions: held,
        partitions_after: around(node.partitions, PARTITIONS),
        partitions_in,
        partitions_out,
        bytes_in: in_bytes(partitions_in),
        bytes_out: in_bytes(partitions_out),
        room: known.and_then(|(_, facts)| room(document, facts)),
    }
}

/// Nodes whose new data disk is not full yet: no block is certain to lie there.
fn filling(snapshot: &Snapshot) -> BTreeSet<NodeId> {
    let unplaced = snapshot.moves.iter().filter(|facts| facts.placed.is_none());
    unplaced
        .filter(|facts| !facts.older_metadata)
        .filter_map(|facts| facts.refilled)
        .collect()
}

/// What would be in trouble if a zone vanished while data moves: blocks are certain to lie only where they lay before,
/// and not on disks that are `filling`; a write needs its quorum before and after.
fn zones(
    document: &Document,
    roles_before: &BTreeMap<NodeId, NodeRole>,
    roles_after: &BTreeMap<NodeId, NodeRole>,
    forecast: &Forecast,
    before: Option<&LayoutMap>,
    held: &impl Fn(&NodeId) -> u64,
    filling: &BTreeSet<NodeId>,
) -> Vec<ZonePreview> {
    let copies = u64::from(document.spec.garage.replication_factor);
    let quorums = quorums(usize::from(document.spec.garage.replication_factor));
    let storage = |roles: &BTreeMap<NodeId, NodeRole>| -> BTreeSet<String> {
        let stores = roles.values().filter(|role| role.capacity.is_some());
        stores.map(|role| role.zone.clone()).collect()
    };
    let names: BTreeSet<String> = storage(roles_before)
        .union(&storage(roles_after))
        .cloned()
        .collect();
    let rest = |quorum: usize| copies + 1 - u64::try_from(quorum).unwrap_or(copies);
    let (unwritable_from, unreadable_from) = (rest(quorums.write), rest(quorums.read));
    names
        .into_iter()
        .map(|zone| {
            let in_zone = |roles: &BTreeMap<NodeId, NodeRole>, id: &NodeId| {
                roles.get(id).is_some_and(|role| role.zone == zone)
            };
            let after: Vec<u64> = forecast
                .nodes
                .iter()
                .filter(|(id, _)| in_zone(roles_after, id))
                .map(|(_, node)| node.partitions)
                .collect();
            let redundancy = u64::from(forecast.zone_redundancy);
            let new = |at_least| holding(&after, copies, redundancy, at_least);
            let old: [Bounds; 3] = match before {
                Some(map) => {
                    let loss = loss_without(&[map], map, |id| in_zone(roles_before, id));
                    let gone = |id: &NodeId| in_zone(roles_before, id) || filling.contains(id);
                    let lost = loss_without(&[map], map, gone).lost;
                    [loss.unwritable, loss.unreadable, lost].map(|n| Bounds::exactly(u64::from(n)))
                }
                None => {
                    let held_by = |gone: &dyn Fn(&NodeId) -> bool| -> Vec<u64> {
                        roles_before.keys().filter(|id| gone(id)).map(held).collect()
                    };
                    let now = held_by(&|id| in_zone(roles_before, id));
                    let without = held_by(&|id| in_zone(roles_before, id) || filling.contains(id));
                    // Those that fill elsewhere may be the only copies in other zones.
                    let elsewhere = filling.iter().filter(|id| !in_zone(roles_before, id)).count();
                    let apart = redundancy.saturating_sub(u64::try_from(elsewhere).unwrap_or(redundancy));
                    [
                        holding(&now, copies, redundancy, unwritable_from),
                        holding(&now, copies, redundancy, unreadable_from),
                        holding(&without, copies, apart, copies),
                    ]
                }
            };
            let [unwritable, unreadable, lost] = old;
            let new = new(unwritable_from);
            ZonePreview {
                zone,
                unwritable: Bounds {
                    least: unwritable.least.max(new.least),
                    most: (unwritable.most + new.most).min(PARTITIONS),
                },
                unreadable,
                lost,
            }
        })
        .collect()
}

/// How many partitions have at least so many copies on nodes that hold so many partitions each, when copies of each lie in
/// at least `redundancy` zones and all these nodes are in one.
fn holding(nodes: &[u64], copies: u64, redundancy: u64, at_least: u64) -> Bounds {
    let total: u64 = nodes.iter().sum();
    let here = u64::try_from(nodes.iter().filter(|held| **held > 0).count()).unwrap_or(0);
    let most_here = (copies + 1).saturating_sub(redundancy.max(1)).min(here);
    if at_least > most_here || at_least == 0 {
        return Bounds::default();
    }
    let beyond = total.saturating_sub(PARTITIONS * (at_least - 1));
    Bounds {
        least: beyond.div_ceil(most_here + 1 - at_least).min(PARTITIONS),
        most: (total / at_least).min(PARTITIONS),
    }
}

/// What the document consents to by lowering a figure, and what that costs.
fn prices(document: &Document, preview: &Preview, change: &Staged) -> Vec<String> {
    let mut prices = Vec::new();
    if let (Some(before), Some(Some(after))) = (preview.zones_before, change.zone_redundancy)
        && after < before
    {
        let copies = document.spec.garage.replication_factor;
        let together = copies + 1 - after;
        let lost = if together >= copies {
            "and may be lost with it"
        } else {
            "and some copy survives"
        };
        prices.push(format!(
            "spec.garage.zoneRedundancy falls from {before} to {after}: up to {together} of {copies} copies may lie in one \
             zone; without that zone such data cannot be written, {lost}"
        ));
    }
    if let (Some(before), Some(after)) = (preview.usable_before, preview.usable_after)
        && after < before
    {
        prices.push(format!(
            "the cluster can hold {} instead of {}",
            Bytes(after).about(),
            Bytes(before).about()
        ));
    }
    prices
}

/// Bytes in the bucket, one copy counted; `None` where nobody looked.
fn bucket_bytes(snapshot: &Snapshot) -> Option<u64> {
    let access = snapshot.cluster.as_ref()?.access.as_ref()?;
    Some(access.bucket?.bytes.0)
}
