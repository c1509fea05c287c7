//! The second judge. It knows nothing of how plans are made, and reads the facts by itself.

use std::collections::BTreeSet;

use hayloft_api::document::Role;
use hayloft_api::{Bytes, Document, HostName, NodeId};

use crate::{NodeRole, Plan, RoleChange, Snapshot, Staged, Step};

/// A rule that a plan, or what Garage makes of it, would break.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Objection {
    /// More than one layout version in one plan.
    #[error("the plan changes the layout {0} times; one version at a time is allowed")]
    SeveralVersions(usize),
    /// Not the version after the current one.
    #[error("the plan applies layout version {planned}, and {next} is next")]
    WrongVersion {
        /// The planned one.
        planned: u64,
        /// The next one.
        next: u64,
    },
    /// The layout changes and nobody knows the current one.
    #[error("the plan changes the layout without having seen it")]
    Blind,
    /// The current version is not settled.
    #[error("the plan changes the layout while version {0} is in flight")]
    InFlight(u64),
    /// A role holder is down and keeps its role.
    #[error("the plan changes the layout while {0} is down and keeps its role")]
    HolderDown(String),
    /// A role for a node that is not there.
    #[error("the plan gives a role to {0}, which is down")]
    JoinerDown(String),
    /// The staging area holds something else.
    #[error("the plan changes the layout while changes are staged that it does not know")]
    ForeignStaging,
    /// The staging area would be emptied of what somebody else put there.
    #[error("the plan reverts changes that somebody else staged")]
    RevertsForeign,
    /// Fewer holders than copies.
    #[error("{have} storage hosts would hold {need} copies")]
    TooFewHosts {
        /// Holders.
        have: usize,
        /// Copies.
        need: u8,
    },
    /// Fewer zones than declared.
    #[error("storage hosts would be in {have} zones, and copies shall be in {need}")]
    TooFewZones {
        /// Zones.
        have: usize,
        /// As declared.
        need: u8,
    },
    /// The only copy of something would be given up.
    #[error("the plan takes the role of a node that is down, and everything has one copy only")]
    LosesOnlyCopy,
    /// Somebody who has a role would be skipped.
    #[error("the plan skips nodes that are down while {0} is one of them and has a role")]
    SkipsHolder(String),
    /// More than one removal.
    #[error("the plan takes the roles of {0} hosts at once")]
    SeveralRemovals(usize),
    /// A removal after another whose data is not proven to lie elsewhere.
    #[error("the plan takes a role while the data of {0}, which left before, is not proven to lie elsewhere")]
    RemovalUnproven(HostName),
    /// A declared host loses its role.
    #[error("the plan takes the role of {0}, which is declared to hold data")]
    RemovesDeclared(HostName),
    /// A host that holds data is told to stop.
    #[error("the plan stops Garage on {0}, which holds data")]
    StopsHolder(HostName),
    /// A gateway without a bucket.
    #[error("the plan starts the gateway of {0} before there is a bucket")]
    GatewayTooEarly(HostName),
    /// Several gateways on one bucket, which would take the writing from each other.
    #[error("the plan lets several gateways serve one bucket: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    SeveralGateways(BTreeSet<HostName>),
    /// Writes through several members.
    #[error("the plan writes through several members: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    SeveralWriters(BTreeSet<HostName>),
    /// Garage would keep another number of copies.
    #[error("Garage would keep {forecast} copies, and {declared} are declared")]
    ForecastReplication {
        /// By Garage.
        forecast: u8,
        /// As declared.
        declared: u8,
    },
    /// Garage would spread copies over fewer zones.
    #[error("Garage would spread copies over {forecast} zones, and {declared} are declared")]
    ForecastZones {
        /// By Garage.
        forecast: u8,
        /// As declared.
        declared: u8,
    },
    /// Partitions of next to nothing.
    #[error("partitions would be smaller than 100 bytes; a pledge is far too small")]
    ForecastTiny,
    /// A disk would overflow.
    #[error(
        "{} would arrive at {host}, and {} fit beside what it holds and the reserve",
        Bytes(*.incoming), Bytes(*.room)
    )]
    DoesNotFit {
        /// The host.
        host: HostName,
        /// Bytes that arrive.
        incoming: u64,
        /// Bytes that fit.
        room: u64,
    },
}

/// Judges a plan; nothing to object to is an empty list.
pub fn check(document: &Document, snapshot: &Snapshot, plan: &Plan) -> Vec<Objection> {
    let mut objections = Vec::new();
    let mut versions = 0;
    let mut writers = BTreeSet::new();
    for planned in &plan.steps {
        match &planned.step {
            Step::ChangeLayout {
                through,
                version,
                roles,
                zone_redundancy,
            } => {
                versions += 1;
                writers.insert(through.clone());
                let change = Staged {
                    roles: roles.clone(),
                    zone_redundancy: zone_redundancy.map(Some),
                };
                layout(document, snapshot, *version, &change, &mut objections);
            }
            Step::RevertStaging { through } => {
                writers.insert(through.clone());
                let staged = snapshot.cluster.as_ref().map(|cluster| &cluster.layout.staged);
                let ours = snapshot.staged_by_us.as_ref();
                if !staged.is_some_and(|staged| ours.is_some_and(|ours| staged.is_within(ours))) {
                    objections.push(Objection::RevertsForeign);
                }
            }
            Step::SkipGone { through, .. } => {
                writers.insert(through.clone());
                skip(snapshot, &mut objections);
            }
            Step::EnsureKey { through } | Step::EnsureBucket { through } | Step::AllowKey { through } => {
                writers.insert(through.clone());
            }
            Step::Desire { host, plan } => {
                if plan.garage.is_none() && holds_data(snapshot, host) {
                    objections.push(Objection::StopsHolder(host.clone()));
                }
                let access = snapshot
                    .cluster
                    .as_ref()
                    .and_then(|cluster| cluster.access.as_ref());
                let bucket = snapshot.bucket_made || access.is_some_and(crate::Access::ready);
                if plan.gateway.is_some() && !bucket {
                    objections.push(Objection::GatewayTooEarly(host.clone()));
                }
            }
            _ => {}
        }
    }
    several_gateways(snapshot, plan, &mut objections);
    if versions > 1 {
        objections.push(Objection::SeveralVersions(versions));
    }
    if writers.len() > 1 {
        objections.push(Objection::SeveralWriters(writers));
    }
    objections
}

/// One gateway writes to the bucket: whoever is told to be it must be the only one that is told so.
fn several_gateways(snapshot: &Snapshot, plan: &Plan, objections: &mut Vec<Objection>) {
    let mut serving: BTreeSet<HostName> = snapshot
        .hosts
        .iter()
        .filter(|(_, facts)| facts.agent)
        .filter(|(_, facts)| facts.told.as_ref().is_some_and(|told| told.gateway.is_some()))
        .map(|(host, _)| host.clone())
        .collect();
    let mut starts = false;
    for planned in &plan.steps {
        if let Step::Desire { host, plan } = &planned.step {
            if plan.gateway.is_some() {
                starts = true;
                serving.insert(host.clone());
            } else {
                serving.remove(host);
            }
        }
    }
    if starts && serving.len() > 1 {
        objections.push(Objection::SeveralGateways(serving));
    }
}

/// Whether a host has a role, may have one, or had one and nobody proved that its data lies elsewhere.
fn holds_data(snapshot: &Snapshot, host: &HostName) -> bool {
    snapshot.hosts.get(host).is_some_and(|facts| {
        let role = facts.id.is_some_and(|id| {
            snapshot
                .cluster
                .as_ref()
                .is_some_and(|cluster| cluster.layout.roles.contains_key(&id))
        });
        let unknown =
            snapshot.cluster.is_none() && facts.report.as_ref().is_some_and(|report| report.garage_runs);
        role || unknown || facts.left.is_some()
    })
}

/// Garage skips everyone who is down: nobody who has a role may be.
fn skip(snapshot: &Snapshot, objections: &mut Vec<Objection>) {
    let Some(cluster) = &snapshot.cluster else {
        objections.push(Objection::Blind);
        return;
    };
    for id in cluster.layout.roles.keys() {
        if !cluster.nodes.get(id).is_some_and(|node| node.up) {
            objections.push(Objection::SkipsHolder(id.short()));
        }
    }
}

fn layout(
    document: &Document,
    snapshot: &Snapshot,
    version: u64,
    change: &Staged,
    objections: &mut Vec<Objection>,
) {
    let Some(cluster) = &snapshot.cluster else {
        objections.push(Objection::Blind);
        return;
    };
    let current = &cluster.layout;
    if version != current.version + 1 {
        objections.push(Objection::WrongVersion {
            planned: version,
            next: current.version + 1,
        });
    }
    if !current.staged.is_empty() {
        objections.push(Objection::ForeignStaging);
    }
    let host = |id: NodeId| {
        snapshot
            .hosts
            .iter()
            .find(|(_, facts)| facts.id == Some(id))
            .map(|(name, _)| name)
    };
    let name = |id: NodeId| host(id).map_or_else(|| id.short(), ToString::to_string);
    let up = |id: &NodeId| cluster.nodes.get(id).is_some_and(|node| node.up);
    let removed = |id: &NodeId| change.roles.get(id) == Some(&RoleChange::Remove);
    let removes_all_down =
        current.roles.keys().any(|id| !up(id)) && current.roles.keys().filter(|id| !up(id)).all(removed);
    if current.version > 0 && !current.settled && !removes_all_down {
        objections.push(Objection::InFlight(current.version));
    }
    for id in current.roles.keys().filter(|id| !up(id) && !removed(id)) {
        objections.push(Objection::HolderDown(name(*id)));
    }
    let mut after: Vec<&NodeRole> = Vec::new();
    for (id, role) in &current.roles {
        if !change.roles.contains_key(id) {
            after.push(role);
        }
    }
    let mut removals = 0;
    for (id, change) in &change.roles {
        match change {
            RoleChange::Assign(role) => {
                after.push(role);
                if !up(id) {
                    objections.push(Objection::JoinerDown(name(*id)));
                }
            }
            RoleChange::Remove => {
                removals += 1;
                if !up(id) && document.spec.garage.replication_factor == 1 {
                    objections.push(Objection::LosesOnlyCopy);
                }
                let declared = host(*id).and_then(|host| document.host(host));
                if let Some(spec) = declared
                    && spec.has(Role::Storage)
                    && spec.state.is_active()
                {
                    objections.push(Objection::RemovesDeclared(spec.name.clone()));
                }
                // Of a lost disk nothing more is lost by making its copies anew, while those who left before still
                // offer what they hold.
                let renewed = !up(id) && snapshot.hosts.values().any(|facts| facts.former.contains(id));
                let offers = |id: NodeId| current.roles.contains_key(&id) || (renewed && up(&id));
                let earlier = snapshot
                    .hosts
                    .iter()
                    .find(|(_, facts)| facts.left.is_some() && !facts.id.is_some_and(offers));
                if let Some((earlier, _)) = earlier {
                    objections.push(Objection::RemovalUnproven(earlier.clone()));
                }
            }
        }
    }
    if removals > 1 {
        objections.push(Objection::SeveralRemovals(removals));
    }
    after.retain(|role| role.capacity.is_some());
    let garage = &document.spec.garage;
    if after.len() < usize::from(garage.replication_factor) {
        objections.push(Objection::TooFewHosts {
            have: after.len(),
            need: garage.replication_factor,
        });
    }
    let zones: BTreeSet<&str> = after.iter().map(|role| role.zone.as_str()).collect();
    let need = match change.zone_redundancy {
        Some(Some(zones)) => zones,
        _ => current.zone_redundancy.unwrap_or(garage.zones()),
    };
    if zones.len() < usize::from(need) {
        objections.push(Objection::TooFewZones {
            have: zones.len(),
            need,
        });
    }
}
