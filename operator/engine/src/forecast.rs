//! The judge of what Garage says a new layout would do, before it is applied.

use std::collections::BTreeMap;

use hayloft_api::{Document, NodeId};

use crate::{ClusterFacts, Objection, Snapshot};

/// Garage's preview of a layout. How partitions are split over hosts may differ a little when it is applied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Forecast {
    /// Copies of everything.
    pub replication_factor: u8,
    /// Zones that copies of each partition are spread over, at least.
    pub zone_redundancy: u8,
    /// Partitions would be too small to be of use.
    pub tiny_partitions: bool,
    /// By node.
    pub nodes: BTreeMap<NodeId, NodeForecast>,
    /// Bytes that a partition could hold.
    pub partition_size: Option<u64>,
    /// Bytes that a partition can hold now.
    pub partition_size_before: Option<u64>,
}

/// A node in a preview.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeForecast {
    /// Partitions it will hold.
    pub partitions: u64,
    /// Those of them that it does not hold now.
    pub incoming: u64,
}

/// Judges a preview: redundancy must not fall below what is declared, and what arrives must fit the real disks, with
/// the reserve left free. What leaves a disk stays there for minutes more, so it frees nothing here.
pub fn judge_forecast(document: &Document, snapshot: &Snapshot, forecast: &Forecast) -> Vec<Objection> {
    let mut objections = Vec::new();
    let garage = &document.spec.garage;
    if forecast.replication_factor != garage.replication_factor {
        objections.push(Objection::ForecastReplication {
            forecast: forecast.replication_factor,
            declared: garage.replication_factor,
        });
    }
    if forecast.zone_redundancy < garage.zones() {
        objections.push(Objection::ForecastZones {
            forecast: forecast.zone_redundancy,
            declared: garage.zones(),
        });
    }
    if forecast.tiny_partitions {
        objections.push(Objection::ForecastTiny);
    }
    let bytes = snapshot.cluster.as_ref().map_or(0, ClusterFacts::stored);
    for (id, node) in &forecast.nodes {
        let host = snapshot.hosts.iter().find(|(_, facts)| facts.id == Some(*id));
        let Some((name, facts)) = host else { continue };
        // What earlier versions still bring counts too.
        let coming = snapshot.moves.iter().filter(|facts| facts.placed.is_none());
        let coming: u64 = coming.filter_map(|facts| facts.destinations.get(id)).sum();
        let incoming = share(
            bytes,
            node.incoming
                .saturating_add(if node.incoming > 0 { coming } else { 0 }),
        );
        let Some(room) = room(document, facts) else {
            continue;
        };
        if incoming > 0 && incoming > room {
            objections.push(Objection::DoesNotFit {
                host: name.clone(),
                incoming,
                room,
            });
        }
    }
    objections
}

/// Bytes of so many partitions: each of the 256 holds about the same share of the data.
pub fn share(bytes: u64, partitions: u64) -> u64 {
    (bytes / 256)
        .saturating_mul(partitions)
        .saturating_add((bytes % 256) * partitions / 256)
}

/// Bytes that fit a host's disk beside what lies there, with the reserve left free. What goes lies there for ten minutes
/// more, so it makes no room.
pub(crate) fn room(document: &Document, facts: &crate::HostFacts) -> Option<u64> {
    let disk = facts.report.as_ref()?.disk?;
    let reserve = document.spec.rebalance.reserve.of(disk.data_total);
    Some(disk.data_available.saturating_sub(reserve))
}
