//! Layout versions.

use std::collections::{BTreeMap, BTreeSet};

use hayloft_api::{HostName, NodeId};
use jiff::SignedDuration;

use super::Objection;
use super::facts::{Facts, is_up};
use crate::{AskedFor, ClusterFacts, NodeRole, RoleChange};

/// So many versions may be on their way.
const UNPLACED: usize = 3;

/// A member that was told to apply a version is given so long to be heard again.
const HEARD: SignedDuration = SignedDuration::from_secs(60);

pub(super) fn change(
    facts: Facts<'_>,
    through: &HostName,
    version: u64,
    roles: &BTreeMap<NodeId, RoleChange>,
    zone_redundancy: Option<u8>,
    objections: &mut Vec<Objection>,
) {
    let Some(cluster) = facts.cluster() else {
        objections.push(Objection::Blind);
        return;
    };
    numbering(facts, cluster, through, version, objections);
    agreement(facts, cluster, objections);
    let current = &cluster.layout;
    let removed: Vec<NodeId> = roles
        .iter()
        .filter(|(id, change)| **change == RoleChange::Remove && current.roles.contains_key(*id))
        .map(|(id, _)| *id)
        .collect();
    let (live, dead): (Vec<NodeId>, Vec<NodeId>) = removed.iter().partition(|id| is_up(cluster, **id));
    // What frees a version that the dead hold up may be applied above it.
    let frees = !dead.is_empty();
    if current.version > 0 && !current.settled && !frees {
        objections.push(Objection::InFlight(current.version));
    }
    for id in current
        .roles
        .keys()
        .filter(|id| !is_up(cluster, **id) && !removed.contains(id))
    {
        objections.push(Objection::HolderDown(facts.name(*id)));
    }
    // Filling a disk again makes no version for Garage to keep.
    let versions = facts.unplaced().filter(|moved| moved.refilled.is_none());
    let unplaced = versions.count();
    if unplaced >= UNPLACED && !frees {
        objections.push(Objection::TooManyUnplaced(unplaced));
    }
    removals(facts, cluster, &live, &dead, objections);
    for (id, change) in roles {
        if matches!(change, RoleChange::Assign(_)) {
            if !is_up(cluster, *id) {
                objections.push(Objection::JoinerDown(facts.name(*id)));
            }
            if facts.snapshot.barred.contains(id) {
                objections.push(Objection::LetsIn(facts.name(*id)));
            }
        }
    }
    redundancy(facts, cluster, roles, zone_redundancy, objections);
}

/// Who may lose its role.
fn removals(
    facts: Facts<'_>,
    cluster: &ClusterFacts,
    live: &[NodeId],
    dead: &[NodeId],
    objections: &mut Vec<Objection>,
) {
    if live.len() > 1 {
        objections.push(Objection::SeveralRemovals(live.len()));
    }
    if !live.is_empty() && !dead.is_empty() {
        objections.push(Objection::MixedRemovals);
    }
    let barred = |id: &NodeId| facts.snapshot.barred.contains(id);
    for id in live {
        if let Some((host, known)) = facts.host(*id)
            && known.id == Some(*id)
            && facts.wants_data_on(host)
            && !barred(id)
        {
            objections.push(Objection::RemovesDeclared(host.clone()));
        }
    }
    if let (Some(earlier), false) = (facts.unplaced().next(), live.is_empty()) {
        objections.push(Objection::RemovalUnproven(earlier.version));
    }
    if dead.is_empty() {
        return;
    }
    if facts.document.spec.garage.replication_factor == 1 {
        objections.push(Objection::LosesOnlyCopy);
    }
    for id in dead.iter().filter(|id| !barred(id) && !facts.is_former(**id)) {
        objections.push(Objection::RemovesAbsent(facts.name(*id)));
    }
    let named = |id: &NodeId| {
        facts
            .host(*id)
            .is_some_and(|(host, _)| facts.asked(host) == Some(AskedFor::Evict))
    };
    // A host that is another node now has lost what the earlier one held.
    if dead.iter().all(|id| named(id) || facts.is_former(*id)) {
        return;
    }
    // What those who left before have not given away yet can only come from them.
    let lost = facts.unplaced().find(|moved| {
        let mut left = moved
            .before
            .keys()
            .filter(|id| !cluster.layout.roles.contains_key(*id));
        left.any(|id| !is_up(cluster, *id))
    });
    if let Some(moved) = lost {
        objections.push(Objection::RemovalUnproven(moved.version));
    }
}

fn redundancy(
    facts: Facts<'_>,
    cluster: &ClusterFacts,
    roles: &BTreeMap<NodeId, RoleChange>,
    zone_redundancy: Option<u8>,
    objections: &mut Vec<Objection>,
) {
    let mut after: BTreeMap<NodeId, &NodeRole> = cluster
        .layout
        .roles
        .iter()
        .map(|(id, role)| (*id, role))
        .collect();
    for (id, change) in roles {
        match change {
            RoleChange::Assign(role) => after.insert(*id, role),
            RoleChange::Remove => after.remove(id),
        };
    }
    after.retain(|_, role| role.capacity.is_some());
    let garage = &facts.document.spec.garage;
    if after.len() < usize::from(garage.replication_factor) {
        objections.push(Objection::TooFewHosts {
            have: after.len(),
            need: garage.replication_factor,
        });
    }
    let zones: BTreeSet<&str> = after.values().map(|role| role.zone.as_str()).collect();
    let need = zone_redundancy
        .or(cluster.layout.zone_redundancy)
        .unwrap_or(garage.zones());
    if zones.len() < usize::from(need) {
        objections.push(Objection::TooFewZones {
            have: zones.len(),
            need,
        });
    }
}

/// A version's number is one above all that anybody has or may have, and nothing is staged that is not known.
fn numbering(
    facts: Facts<'_>,
    cluster: &ClusterFacts,
    through: &HostName,
    version: u64,
    objections: &mut Vec<Objection>,
) {
    let mut next = cluster.layout.version + 1;
    for known in facts.snapshot.hosts.values() {
        let holder = known.id.is_some_and(|id| cluster.layout.roles.contains_key(&id));
        if let Some(layout) = known.report.as_ref().and_then(|report| report.layout)
            && holder
        {
            next = next.max(layout.version + 1);
        }
    }
    if let Some(unanswered) = &facts.snapshot.unanswered
        && unanswered.through != *through
    {
        if cluster.layout.version < unanswered.version
            && facts.snapshot.now.duration_since(unanswered.at) < HEARD
        {
            objections.push(Objection::Unanswered(unanswered.through.clone()));
        }
        next = next.max(unanswered.version + 1);
    }
    if version != next {
        objections.push(Objection::WrongVersion {
            planned: version,
            next,
        });
    }
    if !cluster.layout.staged.is_empty() {
        objections.push(Objection::ForeignStaging);
    }
}

/// All live members have the layout that the asked one has.
fn agreement(facts: Facts<'_>, cluster: &ClusterFacts, objections: &mut Vec<Objection>) {
    let held = facts.held();
    let mut digests = BTreeSet::new();
    for (host, (version, digest)) in &held {
        // News of a version that has just been applied may still travel.
        if *version != cluster.layout.version && cluster.layout.settled {
            objections.push(Objection::Disagreement((*host).clone()));
        }
        if *version == cluster.layout.version && digests.insert(digest) && digests.len() > 1 {
            objections.push(Objection::Disagreement((*host).clone()));
        }
    }
}

pub(super) fn heal(facts: Facts<'_>, through: &HostName, version: u64, objections: &mut Vec<Objection>) {
    let Some(cluster) = facts.cluster() else {
        objections.push(Objection::Blind);
        return;
    };
    numbering(facts, cluster, through, version, objections);
    for id in cluster.layout.roles.keys().filter(|id| !is_up(cluster, **id)) {
        objections.push(Objection::HolderDown(facts.name(*id)));
    }
    let newest = version.saturating_sub(1);
    let held = facts.held();
    let digests: BTreeSet<&String> = held
        .values()
        .filter(|(version, _)| *version == newest)
        .map(|(_, digest)| digest)
        .collect();
    if digests.len() < 2 {
        objections.push(Objection::NoSplit);
    }
}

/// Only what this coordinator staged is taken back.
pub(super) fn revert(facts: Facts<'_>, objections: &mut Vec<Objection>) {
    let staged = facts.cluster().map(|cluster| &cluster.layout.staged);
    let ours = facts.snapshot.staged_by_us.as_ref();
    if !staged.is_some_and(|staged| ours.is_some_and(|ours| staged.is_within(ours))) {
        objections.push(Objection::RevertsForeign);
    }
}

/// Garage skips everyone who is down: nobody who has a role may be.
pub(super) fn skip(facts: Facts<'_>, version: u64, objections: &mut Vec<Objection>) {
    let Some(cluster) = facts.cluster() else {
        objections.push(Objection::Blind);
        return;
    };
    if version != cluster.layout.version {
        objections.push(Objection::NotStuck(version));
    }
    for id in cluster.layout.roles.keys().filter(|id| !is_up(cluster, **id)) {
        objections.push(Objection::SkipsHolder(facts.name(*id)));
    }
}

/// A person named everyone whose data is given up, nobody else is missing, and the version is stuck.
pub(super) fn allow_missing(
    facts: Facts<'_>,
    version: u64,
    hosts: &BTreeSet<HostName>,
    objections: &mut Vec<Objection>,
) {
    skip(facts, version, objections);
    let Some(cluster) = facts.cluster() else { return };
    if cluster.layout.settled {
        objections.push(Objection::NotStuck(version));
    }
    for host in hosts
        .iter()
        .filter(|host| !facts.snapshot.may_lack.contains(*host))
    {
        objections.push(Objection::GivesUp(host.to_string()));
    }
    let gone = cluster.nodes.iter().filter(|(_, node)| node.draining && !node.up);
    for (id, _) in gone {
        if !facts.host(*id).is_some_and(|(host, _)| hosts.contains(host)) {
            objections.push(Objection::GivesUp(facts.name(*id)));
        }
    }
}
