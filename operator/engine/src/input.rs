//! The document and the facts, joined. What comes after sees only this.

use std::collections::BTreeMap;

use hayloft_api::agent::Peer;
use hayloft_api::document::{HostSpec, Role};
use hayloft_api::{Document, HostName, NodeId};
use jiff::Timestamp;

use crate::{AskedFor, ClusterFacts, HostFacts, MoveFacts, NodeRole, ReportFacts, Snapshot};

/// Why no plan can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Two hosts have the same node key.
    #[error(
        "{one} and {other} have the same Garage node key, so one is a copy of the other; stop one of them, empty its \
         metadata folder and let it join as a new host"
    )]
    SameNode {
        /// One host.
        one: HostName,
        /// The other.
        other: HostName,
    },
}

/// All that a plan is made from.
#[derive(Debug, Clone)]
pub struct Input<'a> {
    /// The document, whose rules hold.
    pub document: &'a Document,
    /// The facts.
    pub snapshot: &'a Snapshot,
    /// Declared, reporting and remembered hosts.
    pub members: BTreeMap<&'a HostName, Member<'a>>,
    by_id: BTreeMap<NodeId, &'a HostName>,
}

/// One host: what is declared of it and what is known.
#[derive(Debug, Clone)]
pub struct Member<'a> {
    /// Its name.
    pub name: &'a HostName,
    /// As declared.
    pub spec: Option<&'a HostSpec>,
    /// As known.
    pub facts: Option<&'a HostFacts>,
    /// Its role in the current layout.
    pub role: Option<&'a NodeRole>,
    /// Whether the asked member is connected to its Garage (or is its Garage).
    pub up: bool,
    /// Whether its node was evicted.
    pub barred: bool,
}

impl<'a> Member<'a> {
    /// Its Garage node.
    pub fn id(&self) -> Option<NodeId> {
        self.facts.and_then(|facts| facts.id)
    }

    /// Its last report.
    pub fn report(&self) -> Option<&'a ReportFacts> {
        self.facts.and_then(|facts| facts.report.as_ref())
    }

    /// Whether the document gives it that role now.
    pub fn has(&self, role: Role) -> bool {
        self.spec.is_some_and(|spec| spec.has(role))
    }

    /// Whether data is wanted on it: by the document, and no person asked it to go.
    pub fn shall_store(&self) -> bool {
        let goes = matches!(
            self.asked(),
            Some(AskedFor::Drain | AskedFor::Remove | AskedFor::Evict)
        );
        self.has(Role::Storage) && self.spec.is_some_and(|spec| spec.state.is_active()) && !goes
    }

    /// What a person asked of it.
    pub fn asked(&self) -> Option<AskedFor> {
        self.facts.and_then(|facts| facts.asked).map(|asked| asked.what)
    }

    /// Whether a person said that its data disk was replaced, and it was not filled again since.
    pub fn has_new_disk(&self) -> bool {
        self.facts.is_some_and(HostFacts::has_new_disk)
    }

    /// Whether it runs Garage: data is wanted on it, or it still holds some from when it was.
    pub fn keeps_garage(&self) -> bool {
        let left = self.facts.is_some_and(|facts| facts.left.is_some());
        (self.shall_store() || self.role.is_some() || left) && (!self.barred || self.role.is_some())
    }

    /// When its Garage last started.
    pub fn started(&self) -> Option<Timestamp> {
        self.report().and_then(|report| report.garage_started)
    }

    /// Whether its agent can be talked to and its Garage runs.
    pub fn runs(&self) -> bool {
        self.facts.is_some_and(|facts| facts.agent) && self.report().is_some_and(|report| report.garage_runs)
    }

    /// Whether its gateway runs, or may be started any moment, as far as is known. A host whose agent cannot be talked
    /// to does not count: nothing can be waited for there.
    pub fn may_run_gateway(&self) -> bool {
        self.facts.is_some_and(|facts| {
            let told = facts.told.as_ref().is_some_and(|told| told.gateway.is_some());
            facts.agent && (told || facts.report.as_ref().is_some_and(|report| report.gateway_runs))
        })
    }

    /// Whether its gateway knows of others, so that it lets them order changes. One that can be linked is never told to be alone,
    /// also where it is not remembered what it was told.
    pub fn is_linked(&self) -> bool {
        let told = self.facts.and_then(|facts| facts.told.as_ref());
        match told.and_then(|told| told.gateway.as_ref()) {
            Some(gateway) => gateway.fleet.is_some(),
            None => self.report().is_some_and(|report| report.link_addr.is_some()),
        }
    }

    /// How other members reach its Garage.
    pub fn peer(&self) -> Option<Peer> {
        Some(Peer {
            id: self.id()?,
            addr: self.reached_at(&self.report()?.rpc_addr),
        })
    }

    /// Where others reach what its agent says is at `addr`. An agent that listens everywhere does not know its host's
    /// public address; the document may.
    pub fn reached_at(&self, addr: &str) -> String {
        let everywhere = ["0.0.0.0:", "[::]:", ":::"]
            .iter()
            .find_map(|any| addr.strip_prefix(any));
        match (everywhere, self.spec.and_then(|spec| spec.address.as_ref())) {
            (Some(port), Some(address)) if address.contains(':') => format!("[{address}]:{port}"),
            (Some(port), Some(address)) => format!("{address}:{port}"),
            _ => addr.to_owned(),
        }
    }
}

impl<'a> Input<'a> {
    /// What one member says of the cluster.
    pub fn cluster(&self) -> Option<&'a ClusterFacts> {
        self.snapshot.cluster.as_ref()
    }

    /// Moves that are not placed, oldest first.
    pub fn unplaced(&self) -> impl Iterator<Item = &'a MoveFacts> {
        self.snapshot.moves.iter().filter(|facts| facts.placed.is_none())
    }

    /// When a node's Garage last started.
    pub fn started(&self, id: NodeId) -> Option<Timestamp> {
        self.host_of(id)?.started()
    }

    /// Whether data may be moved at this time of the day.
    pub fn in_window(&self) -> bool {
        let windows = &self.document.spec.rebalance.windows;
        windows.is_empty()
            || windows
                .iter()
                .any(|window| window.contains(self.snapshot.minute_of_day))
    }

    /// The host with that Garage node.
    pub fn host_of(&self, id: NodeId) -> Option<&Member<'a>> {
        self.members.get(self.by_id.get(&id)?)
    }

    /// The host that was this node before and is another one now.
    pub fn former_host(&self, id: NodeId) -> Option<&'a HostName> {
        let mut hosts = self.snapshot.hosts.iter();
        hosts
            .find(|(_, facts)| facts.former.contains(&id))
            .map(|(name, _)| name)
    }

    /// A node's host, or the node itself where that is not known.
    pub fn name_of(&self, id: NodeId) -> String {
        self.host_of(id).map_or_else(
            || match self.former_host(id) {
                Some(host) => format!("the node that {host} was before"),
                None => format!("node {}", id.short()),
            },
            |member| member.name.to_string(),
        )
    }
}

/// Joins document and facts.
///
/// # Errors
/// When the facts contradict each other so that nothing can be planned safely.
pub fn validate<'a>(document: &'a Document, snapshot: &'a Snapshot) -> Result<Input<'a>, Invalid> {
    let mut ids: BTreeMap<NodeId, &HostName> = BTreeMap::new();
    for (name, facts) in &snapshot.hosts {
        if let Some(id) = facts.id
            && let Some(one) = ids.insert(id, name)
        {
            return Err(Invalid::SameNode {
                one: one.clone(),
                other: name.clone(),
            });
        }
    }
    let cluster = snapshot.cluster.as_ref();
    let names = document
        .spec
        .hosts
        .iter()
        .map(|host| &host.name)
        .chain(snapshot.hosts.keys());
    let members = names
        .map(|name| {
            let facts = snapshot.hosts.get(name);
            let id = facts.and_then(|facts| facts.id);
            let node = |id| cluster.and_then(|cluster| cluster.nodes.get(&id));
            let member = Member {
                name,
                spec: document.host(name),
                facts,
                role: id.and_then(|id| cluster?.layout.roles.get(&id)),
                up: id.and_then(node).is_some_and(|node| node.up),
                barred: id.is_some_and(|id| snapshot.barred.contains(&id)),
            };
            (name, member)
        })
        .collect();
    Ok(Input {
        document,
        snapshot,
        members,
        by_id: ids,
    })
}
