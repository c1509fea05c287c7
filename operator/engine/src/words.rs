//! Steps, reasons and waits as sentences.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use hayloft_api::{Bytes, HostName, Span};

use hayloft_api::NodeId;

use crate::{
    Drift, MoveKey, Reason, RepairKind, ResyncFacts, RoleChange, Snapshot, Staged, Step, Waiting, WaitsFor,
};

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

/// A change of the layout, with hosts by name.
pub(crate) fn change(snapshot: &Snapshot, change: &Staged) -> String {
    let host = |id: &NodeId| {
        let mut hosts = snapshot.hosts.iter();
        let known = hosts.find(|(_, facts)| facts.id == Some(*id) || facts.former.contains(id));
        known.map_or_else(|| id.short(), |(name, _)| name.to_string())
    };
    let held = |id: &NodeId| {
        snapshot
            .cluster
            .as_ref()
            .is_some_and(|cluster| cluster.layout.roles.contains_key(id))
    };
    let (mut joins, mut changes, mut leaves) = (Vec::new(), Vec::new(), Vec::new());
    for (id, change) in &change.roles {
        match change {
            RoleChange::Remove => leaves.push(host(id)),
            RoleChange::Assign(_) if held(id) => changes.push(host(id)),
            RoleChange::Assign(_) => joins.push(host(id)),
        }
    }
    moved(&joins, &changes, &leaves, change.zone_redundancy.is_some())
}

/// Who joins, changes and leaves, as one sentence.
pub(crate) fn moved<T: fmt::Display>(joins: &[T], changes: &[T], leaves: &[T], redundancy: bool) -> String {
    let mut parts = Vec::new();
    for (hosts, does) in [(joins, "join"), (changes, "change"), (leaves, "leave")] {
        if !hosts.is_empty() {
            let s = if hosts.len() == 1 { "s" } else { "" };
            parts.push(format!("{} {does}{s}", list(hosts)));
        }
    }
    if redundancy {
        parts.push("the zone redundancy changes".to_owned());
    }
    if parts.is_empty() {
        "nothing changes".to_owned()
    } else {
        list(&parts)
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
            Self::Steady { returns, until } => write!(
                f,
                "it to stay until {until:.0}: it came back {returns} times within a day"
            ),
            Self::NoOtherCopy { host } => write!(
                f,
                "other copies of what {host} holds: there are none, for everything has one copy only; drain it instead, \
                 while it is up"
            ),
            Self::Arrivals { hosts } if hosts.is_empty() => f.write_str("the zone redundancy to change first"),
            Self::Arrivals { hosts } => write!(f, "{}, which come first", list(hosts)),
            Self::Removal { hosts } => write!(f, "the role of {} to end", list(hosts)),
            Self::Calm => f.write_str("moves and other upkeep to end, and everyone to be up"),
            Self::JoinWindow { until } => write!(f, "other hosts that may join with it, until {until:.0}"),
            Self::Windows { windows } => write!(f, "the time of day at which data may move: {}", list(windows)),
            Self::Promises { promised, need } => write!(
                f,
                "more agents: {promised} have promised to follow this coordinator, and {need} must"
            ),
            Self::OtherCoordinator { holder } => write!(
                f,
                "another coordinator ({holder}), which leads this cluster, to stop; run only one"
            ),
            Self::Confirmation => f.write_str(
                "a person: the document is older than the one in force; `hayloft apply -f FILE --older` says that it is meant",
            ),
            Self::Repairs { version, hosts } => write!(
                f,
                "a repair of {} that begins after version {version} settled and finds no error",
                list(hosts)
            ),
            Self::TableRepairs { version, hosts } => {
                write!(f, "the tables of {} to be compared with those of the others", list(hosts))?;
                match version {
                    Some(version) => write!(f, ", for version {version} settled without some"),
                    None => Ok(()),
                }
            }
            Self::Filled { host } => write!(f, "the new data disk of {host} to hold all that it should"),
            Self::Mended { host } => write!(
                f,
                "{host} to hold all that it should again: its metadata went back to an earlier state"
            ),
            Self::Comparison { version, missing: None } => write!(
                f,
                "a comparison of the blocks that former and new holders of version {version} list"
            ),
            Self::Comparison {
                version,
                missing: Some(missing),
            } => write!(
                f,
                "{missing} blocks that former holders list and new holders of version {version} do not"
            ),
            Self::Placed { version } => {
                write!(f, "all data of layout version {version} to be where it belongs")
            }
            Self::GarageDelay { until } => write!(f, "Garage's fixed delay, until {until:.0}"),
            Self::Empty { host, blocks: None } => write!(f, "{host} to be empty, which its own disk must say"),
            Self::Empty {
                host,
                blocks: Some(blocks),
            } => write!(f, "{host} to be empty: it still holds {blocks} blocks"),
            Self::Absence {
                host,
                observed: Span { seconds: 0 },
                ..
            } => write!(f, "{host} to come back: it went away minutes ago"),
            Self::Absence {
                host,
                observed,
                dead_after,
            } => write!(
                f,
                "{host} to come back: it was seen to be away for {observed}, and is taken for dead after {dead_after}; start it, or put it out with `hayloft host evict {host}`"
            ),
            Self::Away { host, until } => write!(f, "{host}, whose absence is announced until {until:.0}"),
            Self::PersonForDead { hosts } => write!(
                f,
                "a person: {} are all taken for dead, and a rule puts out one host at a time; start those that live, and put out the others with `hayloft host evict NAME`",
                list(hosts)
            ),
            Self::AllowMissing { version, hosts } => write!(
                f,
                "{}: without them no quorum can say that version {version} is complete; start them, or give up what only they held with `hayloft host allow-missing-data {} --version {version}`",
                list(hosts),
                hosts.join(" ")
            ),
            Self::Agreement { hosts } => write!(
                f,
                "all members to have the same layout: that of {} is another one",
                list(hosts)
            ),
            Self::Answer { through, version } => write!(
                f,
                "{through}, which was told to apply version {version} and whose answer was not heard"
            ),
            Self::DataLost { host } => write!(
                f,
                "the data disk of {host}, which is empty or not mounted: mount it, or, if it was replaced, say so with `hayloft host new-disk {host}`"
            ),
            Self::Barred { host } => write!(f, "{host} to forget its evicted node and come back as a new one"),
            Self::Admission { why } => f.write_str(why),
            Self::Staged { hosts } => write!(
                f,
                "the new secrets to be written down on {}, so that all use them from one moment on",
                list(hosts)
            ),
            Self::Secrets { hosts } => write!(f, "the new secrets to be in use on {}", list(hosts)),
            Self::Renewal { known_to } => write!(f, "the secrets that {} knew to be renewed", list(known_to)),
            Self::Clock { ahead } if *ahead < 0 => write!(
                f,
                "its clock, which is {} s behind, to be set; switch time synchronisation on",
                ahead.unsigned_abs()
            ),
            Self::Clock { ahead } => write!(
                f,
                "its clock, which is {ahead} s ahead, to be set; switch time synchronisation on"
            ),
            Self::Settling { version } => write!(f, "layout version {version} to settle"),
            Self::HostsDown { hosts } => {
                write!(f, "{}, which has a role in the layout and is down", list(hosts))
            }
            Self::ForeignStaging => f.write_str(
                "the staged layout changes that somebody else made: apply or revert them with `garage layout`",
            ),
            Self::Placement { host } => {
                write!(f, "all data of {host}, which leaves first, to lie on other hosts")
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
            Self::GarageTrial { host } => write!(
                f,
                "Garage on {host}, which runs anew, to prove itself"
            ),
            Self::GarageRefused { host, version } => write!(
                f,
                "a person: Garage {version} did not come up on {host}, whose former one runs again; look at its journal, and install \
                 another one"
            ),
            Self::FitGarage { unfit } => write!(f, "another Garage: {unfit}"),
            Self::LargerDisk { disk, pledge } => {
                write!(f, "a larger disk or a smaller pledge: {pledge} are pledged, and the disk has {}", disk.about())
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
            } => f.write_str(&moved(joins, changes, leaves, *redundancy)),
            Self::NewNodes { hosts } if hosts.len() == 1 => {
                write!(f, "{} came back as another node", list(hosts))
            }
            Self::NewNodes { hosts } => write!(f, "{} came back as other nodes", list(hosts)),
            Self::NeverReturns => {
                f.write_str("a node that lost its role is down and cannot say that it heard of it")
            }
            Self::Missing => f.write_str("it does not exist"),
            Self::Drifted => f.write_str("it was changed by somebody else"),
            Self::NotDeclared => f.write_str("it is not as the document declares"),
            Self::Retired => f.write_str("it is empty, and all it held lies elsewhere"),
            Self::Stranded { blocks } => write!(
                f,
                "it left, and {blocks} blocks lie on its disk that it has forgotten to offer to others"
            ),
            Self::BeforeGarage { version } => {
                write!(
                    f,
                    "Garage {version} is installed, and tables shall be whole before a host restarts into it"
                )
            }
            Self::OtherGarage { version } => {
                write!(f, "Garage {version} is installed on it, and it is its turn")
            }
            Self::Barred => f.write_str("the node that it was is evicted; it may come back as a new one"),
            Self::NewDisk => f.write_str("its data disk was replaced, as a person said"),
            Self::OlderMetadata => f.write_str("its metadata went back to an earlier state"),
            Self::DeadTooLong { host, observed } => write!(f, "{host} was seen to be away for {observed}"),
            Self::Asked { hosts } if hosts.is_empty() => f.write_str("a person asked for it"),
            Self::Asked { hosts } => write!(f, "a person asked for it and named {}", list(hosts)),
            Self::Evicted { hosts } if hosts.len() == 1 => write!(f, "{} is evicted", list(hosts)),
            Self::Evicted { hosts } => write!(f, "{} are evicted", list(hosts)),
            Self::Split { hosts } => write!(
                f,
                "the layout of {} is another one of the same version",
                list(hosts)
            ),
            Self::Move { version } => write!(f, "layout version {version} moves data"),
            Self::Calm => f.write_str("nothing has to move fast now"),
            Self::Due { last: None } => f.write_str("it was never done"),
            Self::Due { last: Some(last) } => write!(f, "it was last done at {last:.0}"),
            Self::Expires { at: None } => f.write_str("there is none yet"),
            Self::Expires { at: Some(at) } => write!(f, "it expires at {at:.0}"),
        }
    }
}

/// A step with hosts by name where it speaks of nodes.
#[derive(Debug, Clone, Copy)]
pub struct NamedStep<'a> {
    step: &'a Step,
    names: &'a BTreeMap<NodeId, HostName>,
}

impl fmt::Display for NamedStep<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.step.tell(f, self.names)
    }
}

impl fmt::Display for Step {
    /// With the short ids of nodes; see [`Step::named`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tell(f, &BTreeMap::new())
    }
}

impl Step {
    /// The same for people: hosts are called by `names` instead of the ids of their nodes.
    pub const fn named<'a>(&'a self, names: &'a BTreeMap<NodeId, HostName>) -> NamedStep<'a> {
        NamedStep { step: self, names }
    }

    fn tell(&self, f: &mut fmt::Formatter<'_>, names: &BTreeMap<NodeId, HostName>) -> fmt::Result {
        let called = |id: &NodeId| names.get(id).map_or_else(|| id.short(), ToString::to_string);
        let shorts = |nodes: &BTreeSet<NodeId>| {
            let mut called: Vec<String> = nodes.iter().map(called).collect();
            called.sort();
            list(&called)
        };
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
                    f.write_str("nothing")?;
                } else {
                    f.write_str(&list(&parts))?;
                }
                if plan.accept_empty_data {
                    f.write_str(", and to accept its empty data disk")?;
                }
                match plan.forget {
                    Some(id) if plan.erase_blocks => {
                        write!(
                            f,
                            ", to forget that it was node {} and to delete its data",
                            id.short()
                        )
                    }
                    Some(id) => write!(f, ", and to forget that it was node {}", id.short()),
                    None => Ok(()),
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
                    let name = called(id);
                    match change {
                        RoleChange::Remove => write!(f, " -{name}")?,
                        RoleChange::Assign(role) => {
                            let capacity = role
                                .capacity
                                .map_or("gateway".to_owned(), |n| Bytes(n).to_string());
                            write!(f, " {name}={}/{capacity}", role.zone)?;
                            if role.tags != [name] {
                                write!(f, "/{}", role.tags.join("+"))?;
                            }
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
            Self::HealSplit { through, version } => write!(
                f,
                "apply layout version {version} without a change, so that all members agree, through {through}"
            ),
            Self::AllowMissing {
                through,
                version,
                hosts,
            } => write!(
                f,
                "settle layout version {version} without what only {} held, through {through}",
                list(&hosts.iter().collect::<Vec<_>>())
            ),
            Self::QuickenReceivers { through, nodes, .. } => write!(
                f,
                "shorten Garage's receiving delay on {}, through {through}",
                shorts(nodes)
            ),
            Self::LaunchRepair { through, nodes, kind } => {
                let what = match kind {
                    RepairKind::Blocks => "look for missing blocks on",
                    RepairKind::Tables => "repair the tables of",
                    RepairKind::Scrub => "scrub the disk of",
                };
                write!(f, "{what} {}, through {through}", shorts(nodes))
            }
            Self::Compare {
                of:
                    MoveKey {
                        version,
                        refilled: None,
                    },
            } => write!(
                f,
                "compare the blocks that former and new holders of version {version} list"
            ),
            Self::Compare {
                of: MoveKey {
                    refilled: Some(id), ..
                },
            } => write!(
                f,
                "compare the blocks that {}, which is filled again, and the other holders list",
                id.short()
            ),
            Self::SetResync {
                through,
                nodes,
                setting: ResyncFacts { workers, tranquility },
            } => write!(
                f,
                "move blocks with {workers} workers at tranquility {tranquility} on {}, through {through}",
                shorts(nodes)
            ),
            Self::Evict { host, node } => write!(f, "put out {host}, node {}", node.short()),
            Self::StageSecrets { known_to } => write!(
                f,
                "tell all hosts new secrets in place of those that {} knew, to be used later",
                list(&known_to.iter().collect::<Vec<_>>())
            ),
            Self::SwitchSecrets { known_to } => write!(
                f,
                "restart all Garages together with secrets that {} never knew",
                list(&known_to.iter().collect::<Vec<_>>())
            ),
            Self::RotateSecrets { known_to } => write!(
                f,
                "renew the access key and the admin tokens that {} knew",
                list(&known_to.iter().collect::<Vec<_>>())
            ),
            Self::KeepSnapshot { of, on } => write!(f, "keep a snapshot of the metadata of {of} on {on}"),
            Self::Mend { through, drift } => {
                match drift {
                    Drift::Alias => f.write_str("give the bucket its name back")?,
                    Drift::Quota { shall: Some(bytes) } => write!(f, "limit the bucket to {bytes}")?,
                    Drift::Quota { shall: None } => f.write_str("take the limit from the bucket")?,
                    Drift::Website => f.write_str("stop serving the bucket as a web site")?,
                    Drift::Lifecycle => {
                        f.write_str("take away the rules by which the bucket would lose objects")?;
                    }
                    Drift::Cors => f.write_str("take away the bucket's CORS rules")?,
                    Drift::KeyOwns => f.write_str("take the right to administer the bucket from the key")?,
                    Drift::KeyCreates => f.write_str("take the right to make buckets from the key")?,
                }
                write!(f, ", through {through}")
            }
            Self::RenewAdminToken { through } => {
                write!(
                    f,
                    "make an admin token that is limited and expires, through {through}"
                )
            }
            Self::EnsureKey { through } => write!(f, "make the access key, through {through}"),
            Self::EnsureBucket { through } => write!(f, "make the bucket, through {through}"),
            Self::AllowKey { through } => write!(f, "let the key use the bucket, through {through}"),
        }
    }
}
