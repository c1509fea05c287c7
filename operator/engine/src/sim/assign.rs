//! A balanced assignment of partitions: as even as capacities and zones allow, with few moves. Simpler than Garage's own,
//! which is optimal.

use std::collections::BTreeMap;

use hayloft_api::NodeId;
use hayloft_api::question::{LayoutMap, PARTITIONS};

use super::SimError;
use crate::NodeRole;

pub(super) fn assign(
    roles: &BTreeMap<NodeId, NodeRole>,
    copies: usize,
    zone_redundancy: usize,
    before: Option<&LayoutMap>,
) -> Result<LayoutMap, SimError> {
    let storage: BTreeMap<NodeId, (&str, u64)> = roles
        .iter()
        .filter_map(|(id, role)| Some((*id, (role.zone.as_str(), role.capacity?))))
        .collect();
    if storage.len() < copies {
        return Err(SimError::Impossible(format!(
            "number of nodes with positive capacity ({}) is smaller than the replication factor ({copies})",
            storage.len()
        )));
    }
    let mut zones: Vec<&str> = storage.values().map(|(zone, _)| *zone).collect();
    zones.sort_unstable();
    zones.dedup();
    if zones.len() < zone_redundancy {
        return Err(SimError::Impossible(format!(
            "number of zones with non-gateway nodes ({}) is smaller than the redundancy parameter ({zone_redundancy})",
            zones.len()
        )));
    }
    let total: u128 = storage.values().map(|(_, capacity)| u128::from(*capacity)).sum();
    let fair = |capacity: u64| {
        let share = u128::from(capacity) * (PARTITIONS * copies) as u128 / total.max(1);
        usize::try_from(share).unwrap_or(PARTITIONS).min(PARTITIONS)
    };
    let mut held: BTreeMap<NodeId, usize> = storage.keys().map(|id| (*id, 0)).collect();
    let mut holders = Vec::with_capacity(PARTITIONS);
    for partition in 0..=u8::MAX {
        let old: &[NodeId] = before.map_or(&[], |map| map.holders_of(partition));
        let mut chosen: Vec<NodeId> = Vec::new();
        while chosen.len() < copies {
            let used: Vec<&str> = chosen
                .iter()
                .filter_map(|id| storage.get(id))
                .map(|(zone, _)| *zone)
                .collect();
            let mut distinct = used.clone();
            distinct.sort_unstable();
            distinct.dedup();
            // So many of the places that are left must be in zones that are new.
            let must = zone_redundancy.saturating_sub(distinct.len());
            let left = copies - chosen.len();
            let candidates = storage
                .iter()
                .filter(|(id, _)| !chosen.contains(id))
                .filter(|(_, (zone, _))| must < left || !used.contains(zone));
            // Whoever is below its fair share and has it already, then whoever is furthest below.
            let best = candidates.min_by_key(|(id, (_, capacity))| {
                let now = held.get(id).copied().unwrap_or(0);
                let fair = fair(*capacity);
                let keeps = old.contains(id) && now < fair;
                (!keeps, now >= fair, now * 1000 / fair.max(1), **id)
            });
            let Some((id, _)) = best else {
                return Err(SimError::Impossible("no assignment found".to_owned()));
            };
            chosen.push(*id);
            *held.entry(*id).or_default() += 1;
        }
        chosen.sort();
        holders.push(chosen);
    }
    Ok(LayoutMap {
        zones: storage
            .iter()
            .map(|(id, (zone, _))| (*id, (*zone).to_owned()))
            .collect(),
        holders,
    })
}
