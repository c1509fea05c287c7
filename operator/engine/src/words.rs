//! Steps, reasons and waits as sentences.

use std::fmt;

use hayloft_api::Bytes;

use crate::{Reason, RoleChange, Step, Waiting, WaitsFor};

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
            Self::FormerDown { host } => write!(
                f,
                "the node that {host} was before, which is still connected, to stop"
            ),
            Self::OnlyCopy { host } => write!(
                f,
                "the old metadata folder of {host}: everything has one copy only, and what the earlier node held \
                 would be lost; put the folder back, or begin a new cluster"
            ),
            Self::FitGarage { unfit } => write!(f, "another Garage: {unfit}"),
            Self::LargerDisk { disk, pledge } => {
                write!(f, "a larger disk or a smaller pledge: {pledge} are pledged, and the disk has {disk}")
            }
            Self::Bucket => f.write_str("the layout, the bucket and its key"),
            Self::GatewayAddress => f.write_str("an address to listen at, which its agent does not report"),
            Self::SharedLog { host } => write!(
                f,
                "gateways that can share the log of one bucket, which is to come; until then {host} alone answers \
                 clients"
            ),
            Self::GatewayStopped { hosts } => write!(f, "the gateway of {} to stop", list(hosts)),
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
            Self::NewNode { host } => write!(f, "{host} came back as another node"),
            Self::NeverReturns => {
                f.write_str("a node that lost its role is down and cannot say that it heard of it")
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
            Self::SkipGone { through, version } => {
                write!(
                    f,
                    "settle layout version {version} without the nodes that are gone, through {through}"
                )
            }
            Self::EnsureKey { through } => write!(f, "make the access key, through {through}"),
            Self::EnsureBucket { through } => write!(f, "make the bucket, through {through}"),
            Self::AllowKey { through } => write!(f, "let the key use the bucket, through {through}"),
        }
    }
}
