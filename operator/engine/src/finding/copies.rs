//! Whether there are enough copies, far enough apart, on disks that are large enough.

use std::collections::{BTreeMap, BTreeSet};

use hayloft_api::document::HostSpec;
use hayloft_api::question::quorums;
use hayloft_api::status::{ConditionType, Reason};
use hayloft_api::{Bytes, OwnerName};

use super::{Facts, Finding};
use crate::WaitsFor;
use crate::forecast::{room, share};

/// With less, metadata and blocks soon cannot be written any more, whatever reserve is declared.
const LEAST_FREE: u64 = 256 << 20;

pub(super) fn fits(facts: Facts<'_>) -> Finding {
    let kind = ConditionType::Fits;
    let snapshot = facts.snapshot;
    for waiting in &facts.plan.waiting {
        if matches!(waiting.waits_for, WaitsFor::LargerDisk { .. }) {
            return Finding::bad(kind, Reason::DiskTooSmall, waiting.to_string());
        }
    }
    let Some(cluster) = &snapshot.cluster else {
        return Finding::good(kind, "no move is known of");
    };
    let bytes = cluster.stored();
    for (name, host) in &snapshot.hosts {
        let Some(id) = host.id.filter(|id| cluster.layout.roles.contains_key(id)) else {
            continue;
        };
        let Some(disk) = host.report.as_ref().and_then(|report| report.disk) else {
            continue;
        };
        let coming = snapshot.moves.iter().filter(|moved| moved.placed.is_none());
        let coming: u64 = coming.filter_map(|moved| moved.destinations.get(&id)).sum();
        let (coming, room) = (
            share(bytes, coming),
            room(facts.document, host).unwrap_or(u64::MAX),
        );
        if coming > room {
            let text = format!(
                "up to {} are on their way to {name}, and {} fit beside what it holds and the reserve; make room there, \
                 or lower its pledge",
                Bytes(coming).about(),
                Bytes(room).about()
            );
            return Finding::bad(kind, Reason::DiskTooSmall, text);
        }
        let reserve = facts.document.spec.rebalance.reserve.of(disk.data_total);
        let least = LEAST_FREE.min(disk.data_total / 20);
        if disk.data_available < least {
            let text = format!(
                "the disk of {name} is full: {} are free, and Garage needs some to write anything; make room there, lower its \
                 pledge, or add a host",
                Bytes(disk.data_available).about()
            );
            return Finding::bad(kind, Reason::DiskTooSmall, text);
        }
        if disk.data_available < reserve {
            let text = format!(
                "{} are free on the disk of {name}, less than the reserve of {}; make room there, lower its pledge, or add \
                 a host",
                Bytes(disk.data_available).about(),
                Bytes(reserve).about()
            );
            return Finding::bad(kind, Reason::DiskTooSmall, text);
        }
    }
    Finding::good(
        kind,
        "what is on its way fits the disks, with the reserve left free",
    )
}

/// Garage places data by what is pledged: a disk that other things fill meanwhile gets more than it can take.
pub(super) fn pledges_kept(facts: Facts<'_>) -> Finding {
    let kind = ConditionType::PledgesKept;
    let snapshot = facts.snapshot;
    let Some(cluster) = &snapshot.cluster else {
        return Finding::good(kind, "no member could be asked");
    };
    let bytes = cluster.stored();
    let layout = &cluster.layout;
    for (name, host) in &snapshot.hosts {
        let Some(id) = host.id else { continue };
        let pledge = layout.roles.get(&id).and_then(|role| role.capacity);
        let disk = host.report.as_ref().and_then(|report| report.disk);
        let (Some(pledge), Some(disk)) = (pledge, disk) else {
            continue;
        };
        let holds = share(bytes, layout.partitions.get(&id).copied().unwrap_or(0));
        let room = disk.data_available.saturating_add(holds);
        if pledge > room {
            let text = format!(
                "{name} pledges {}, and its disk has room for {} with what it holds; make room there, or lower its pledge to that",
                Bytes(pledge).about(),
                Bytes(room).about()
            );
            return Finding::bad(kind, Reason::OverPledged, text);
        }
    }
    Finding::good(kind, "every disk has room for what is pledged")
}

pub(super) fn redundant(facts: Facts<'_>) -> Finding {
    let kind = ConditionType::Redundant;
    for waiting in &facts.plan.waiting {
        let reason = match waiting.waits_for {
            WaitsFor::MoreHosts { .. } => Reason::TooFewHosts,
            WaitsFor::MoreZones { .. } => Reason::TooFewZones,
            _ => continue,
        };
        return Finding::bad(kind, reason, waiting.to_string());
    }
    let Some(cluster) = &facts.snapshot.cluster else {
        return Finding::good(kind, "no member could be asked");
    };
    let garage = &facts.document.spec.garage;
    let storage: Vec<_> = cluster.storage().collect();
    if cluster.layout.version > 0 && storage.len() < usize::from(garage.replication_factor) {
        let text = format!(
            "{} hosts hold data, and {} copies are declared; add hosts",
            storage.len(),
            garage.replication_factor
        );
        return Finding::bad(kind, Reason::TooFewHosts, text);
    }
    if let Some(zones) = cluster
        .layout
        .zone_redundancy
        .filter(|zones| *zones < garage.zones())
    {
        let text = format!(
            "copies lie in at least {zones} zones, and {} are declared",
            garage.zones()
        );
        return Finding::bad(kind, Reason::TooFewZones, text);
    }
    Finding::good(
        kind,
        format!(
            "{} copies, in at least {} zones",
            garage.replication_factor,
            garage.zones()
        ),
    )
}

/// No owner alone should be able to stop writes, or hold all copies of something. By the document: the layout keeps what
/// it promises of zones, and within that any host may be given any partition.
pub(super) fn owners_apart(facts: Facts<'_>) -> Finding {
    let kind = ConditionType::OwnersApart;
    let garage = &facts.document.spec.garage;
    let copies = usize::from(garage.replication_factor);
    let mut owners: BTreeMap<&OwnerName, Vec<&HostSpec>> = BTreeMap::new();
    let storage: Vec<&HostSpec> = facts
        .document
        .storage_hosts()
        .filter(|host| host.state.is_active())
        .collect();
    for host in &storage {
        if let Some(owner) = &host.owner {
            owners.entry(owner).or_default().push(host);
        }
    }
    let alone = owners.values().any(|hosts| hosts.len() == storage.len());
    if copies == 1 || owners.is_empty() || alone {
        return Finding::good(kind, "no two owners share the copies");
    }
    let quorums = quorums(copies);
    let mut exposed = Vec::new();
    for (owner, hosts) in owners {
        let zones: BTreeSet<_> = hosts.iter().map(|host| &host.zone).collect();
        // Copies lie in at least so many zones, so some must lie in zones where the owner has no host.
        let elsewhere = usize::from(garage.zones()).saturating_sub(zones.len());
        let most = (copies - elsewhere.min(copies)).min(hosts.len());
        if most == copies {
            exposed.push(format!("{owner} may hold all {copies} copies of something"));
        } else if most >= quorums.write {
            exposed.push(format!(
                "{owner} may hold {most} of {copies} copies, a write quorum"
            ));
        }
    }
    if exposed.is_empty() {
        return Finding::good(kind, "no owner alone holds a write quorum of anything");
    }
    let text = format!(
        "{}: put the hosts of each owner into one zone, or raise spec.garage.zoneRedundancy",
        exposed.join("; ")
    );
    Finding::bad(kind, Reason::OwnerHoldsTooMuch, text)
}
