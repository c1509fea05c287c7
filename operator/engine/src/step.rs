//! Steps, their reasons, and what steps wait for.

use std::collections::BTreeMap;
use std::fmt;

use hayloft_api::agent::Peer;
use hayloft_api::document::CacheSpec;
use hayloft_api::{Bytes, HostName, NodeId, Window, ZoneName};
use jiff::Timestamp;
use serde::Serialize;

use crate::RoleChange;

/// What one host shall run, without secrets.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostPlan {
    /// Its Garage.
    pub garage: Option<GaragePlan>,
    /// Its gateway.
    pub gateway: Option<GatewayPlan>,
}

/// A host's Garage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GaragePlan {
    /// Copies of everything.
    pub replication_factor: u8,
    /// Whether to flush before acknowledging.
    pub fsync: bool,
    /// Its zone.
    pub zone: ZoneName,
    /// The other members.
    pub peers: Vec<Peer>,
}

/// A host's gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayPlan {
    /// Where it listens.
    pub listen: String,
    /// The URL that clients use.
    pub public_url: Option<String>,
    /// S3 endpoints, nearest first.
    pub endpoints: Vec<String>,
    /// Bytes of frames to keep in memory.
    pub memory: Bytes,
    /// Declared caches.
    pub caches: Vec<CacheSpec>,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "step")]
pub enum Step {
    /// Tell a host what it shall run.
    Desire {
        /// The host.
        host: HostName,
        /// All it shall run.
        plan: HostPlan,
    },
    /// Make a member connect to others.
    Connect {
        /// The member.
        through: HostName,
        /// The others.
        peers: Vec<Peer>,
    },
    /// Empty Garage's staging area of what was left there by an interrupted change.
    RevertStaging {
        /// The member that is told.
        through: HostName,
    },
    /// Stage, preview, judge and apply one layout version.
    ChangeLayout {
        /// The member that is told.
        through: HostName,
        /// The new version.
        version: u64,
        /// What becomes of whose role.
        roles: BTreeMap<NodeId, RoleChange>,
        /// A new zone redundancy.
        zone_redundancy: Option<u8>,
    },
    /// Make the access key.
    EnsureKey {
        /// The member that is told.
        through: HostName,
    },
    /// Make the bucket.
    EnsureBucket {
        /// The member that is told.
        through: HostName,
    },
    /// Let the key read and write the bucket.
    AllowKey {
        /// The member that is told.
        through: HostName,
    },
}

/// Why something is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "because")]
pub enum Reason {
    /// The host was not told anything yet by this coordinator.
    Untold,
    /// What it was told is no longer what it shall run.
    Outdated,
    /// These hosts run Garage and the member is not connected to them.
    Unconnected {
        /// The hosts.
        hosts: Vec<HostName>,
    },
    /// An earlier change was interrupted between staging and applying.
    Interrupted,
    /// There is no layout yet.
    FirstLayout,
    /// The layout is not what the document declares.
    LayoutDiffers {
        /// Hosts that get a role.
        joins: Vec<HostName>,
        /// Hosts whose zone or pledge changes.
        changes: Vec<HostName>,
        /// Hosts that lose their role.
        leaves: Vec<HostName>,
        /// Whether the zone redundancy changes.
        redundancy: bool,
    },
    /// It does not exist.
    Missing,
}

/// Something that must wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// What is to be done.
    pub what: String,
    /// What it waits for.
    pub waits_for: WaitsFor,
}

/// What something waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "waitsFor")]
pub enum WaitsFor {
    /// Agents that did not report yet.
    Agents {
        /// Their hosts.
        hosts: Vec<HostName>,
    },
    /// Garage daemons that do not run or are not connected.
    GarageUp {
        /// Their hosts.
        hosts: Vec<HostName>,
    },
    /// A member that can be asked.
    Observation,
    /// More hosts that can hold data.
    MoreHosts {
        /// How many there are.
        have: usize,
        /// How many copies there shall be.
        need: u8,
    },
    /// Hosts in more zones.
    MoreZones {
        /// In how many zones they are.
        have: usize,
        /// In how many zones copies shall be.
        need: u8,
    },
    /// Other hosts may join in the same version until then.
    JoinWindow {
        /// When it ends.
        until: Timestamp,
    },
    /// A time of the day at which data may be moved.
    Windows {
        /// When that is.
        windows: Vec<Window>,
    },
    /// Metadata of the current layout version to be synced.
    Settling {
        /// The version.
        version: u64,
    },
    /// Hosts with a role in the layout to come back.
    HostsDown {
        /// The hosts.
        hosts: Vec<String>,
    },
    /// Somebody to apply or revert what somebody else staged.
    ForeignStaging,
    /// Proof that all of an earlier leaver's data lies elsewhere.
    Placement {
        /// The earlier leaver.
        host: HostName,
    },
    /// A new identity: what the host knows is too old to be merged.
    NewIdentity {
        /// When it left.
        left: Timestamp,
    },
    /// Another Garage on the host.
    FitGarage {
        /// What is wrong with the one it has.
        unfit: String,
    },
    /// A disk as large as the pledge.
    LargerDisk {
        /// What the disk has.
        disk: Bytes,
        /// What is pledged.
        pledge: Bytes,
    },
    /// The first layout, bucket and key.
    Bucket,
    /// An address that the host does not report.
    GatewayAddress,
    /// A member that has a role and runs.
    Member,
    /// A person: the role is no host's that is known here.
    Person,
    /// Kubernetes.
    Kubernetes,
}

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn list<T: fmt::Display>(items: &[T]) -> String {
    match items {
        [] => "none".to_owned(),
        [only] => only.to_string(),
        [init @ .., last] => {
            let init: Vec<String> = init.iter().map(ToString::to_string).collect();
            format!("{} and {last}", init.join(", "))
        }
    }
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agents { hosts } => write!(f, "a first report of {}", list(hosts)),
            Self::GarageUp { hosts } => write!(f, "Garage to be up on {}", list(hosts)),
            Self::Observation => f.write_str("a member of Garage that answers"),
            Self::MoreHosts { have, need } => {
                write!(f, "more storage hosts: {have} could hold data, and {need} copies are declared")
            }
            Self::MoreZones { have, need } => {
                write!(f, "storage hosts in more zones: they would be in {have}, and {need} are declared")
            }
            Self::JoinWindow { until } => write!(f, "other hosts that may join with it, until {until:.0}"),
            Self::Windows { windows } => write!(f, "the time of day at which data may move: {}", list(windows)),
            Self::Settling { version } => write!(f, "layout version {version} to settle"),
            Self::HostsDown { hosts } => {
                write!(f, "{}, which has a role in the layout and is down", list(hosts))
            }
            Self::ForeignStaging => f.write_str(
                "the staged layout changes that somebody else made: apply or revert them with `garage layout`",
            ),
            Self::Placement { host } => {
                write!(f, "proof that all data of {host}, which left before, lies on other hosts")
            }
            Self::NewIdentity { left } => write!(
                f,
                "a new identity: it left at {left:.0}, too long ago to come back as the same node; start it with an \
                 empty metadata folder"
            ),
            Self::FitGarage { unfit } => write!(f, "another Garage: {unfit}"),
            Self::LargerDisk { disk, pledge } => {
                write!(f, "a larger disk or a smaller pledge: {pledge} are pledged, and the disk has {disk}")
            }
            Self::Bucket => f.write_str("the layout, the bucket and its key"),
            Self::GatewayAddress => f.write_str("an address to listen at, which its agent does not report"),
            Self::Member => f.write_str("a running Garage with a role in the layout"),
            Self::Person => f.write_str(
                "a person: no host known here has this node; remove its role with `garage layout remove`, or let \
                 its host join",
            ),
            Self::Kubernetes => f.write_str("the operator in Kubernetes, which makes the hosts of pools"),
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: waits for {}", self.what, self.waits_for)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untold => f.write_str("it was not told anything yet"),
            Self::Outdated => f.write_str("what it was told is outdated"),
            Self::Unconnected { hosts } => write!(f, "it is not connected to {}", list(hosts)),
            Self::Interrupted => f.write_str("an earlier change was interrupted before it was applied"),
            Self::FirstLayout => f.write_str("there is no layout yet"),
            Self::LayoutDiffers {
                joins,
                changes,
                leaves,
                redundancy,
            } => {
                let mut parts = Vec::new();
                for (hosts, does) in [(joins, "join"), (changes, "change"), (leaves, "leave")] {
                    if !hosts.is_empty() {
                        let s = if hosts.len() == 1 { "s" } else { "" };
                        parts.push(format!("{} {does}{s}", list(hosts)));
                    }
                }
                if *redundancy {
                    parts.push("the zone redundancy changes".to_owned());
                }
                f.write_str(&list(&parts))
            }
            Self::Missing => f.write_str("it does not exist"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Desire { host, plan } => {
                write!(f, "tell {host} to run ")?;
                let mut parts = Vec::new();
                if let Some(garage) = &plan.garage {
                    parts.push(format!(
                        "Garage (zone {}, {} peers)",
                        garage.zone,
                        garage.peers.len()
                    ));
                }
                if let Some(gateway) = &plan.gateway {
                    parts.push(format!(
                        "a gateway at {} over {}",
                        gateway.listen,
                        list(&gateway.endpoints)
                    ));
                }
                if parts.is_empty() {
                    f.write_str("nothing")
                } else {
                    f.write_str(&list(&parts))
                }
            }
            Self::Connect { through, peers } => {
                let addresses: Vec<&str> = peers.iter().map(|peer| peer.addr.as_str()).collect();
                write!(f, "connect {through} to {}", list(&addresses))
            }
            Self::RevertStaging { through } => write!(f, "revert the staging area, through {through}"),
            Self::ChangeLayout {
                through,
                version,
                roles,
                zone_redundancy,
            } => {
                write!(f, "apply layout version {version}, through {through}:")?;
                for (id, change) in roles {
                    let short = id.short();
                    match change {
                        RoleChange::Remove => write!(f, " -{short}")?,
                        RoleChange::Assign(role) => {
                            let capacity = role
                                .capacity
                                .map_or("gateway".to_owned(), |n| Bytes(n).to_string());
                            write!(f, " {short}={}/{capacity}/{}", role.zone, role.tags.join("+"))?;
                        }
                    }
                }
                match zone_redundancy {
                    Some(zones) => write!(f, " in at least {zones} zones"),
                    None => Ok(()),
                }
            }
            Self::EnsureKey { through } => write!(f, "make the access key, through {through}"),
            Self::EnsureBucket { through } => write!(f, "make the bucket, through {through}"),
            Self::AllowKey { through } => write!(f, "let the key use the bucket, through {through}"),
        }
    }
}
