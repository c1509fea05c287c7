//! The facts as the second judge reads them.

use std::collections::BTreeMap;

use hayloft_api::document::Role;
use hayloft_api::{Document, HostName, NodeId};

use crate::{AskedFor, ClusterFacts, HostFacts, MoveFacts, Snapshot};

/// Document and snapshot.
#[derive(Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) document: &'a Document,
    pub(super) snapshot: &'a Snapshot,
}

impl<'a> Facts<'a> {
    pub(super) fn cluster(self) -> Option<&'a ClusterFacts> {
        self.snapshot.cluster.as_ref()
    }

    /// The host that is, or was, a node.
    pub(super) fn host(self, id: NodeId) -> Option<(&'a HostName, &'a HostFacts)> {
        let mut hosts = self.snapshot.hosts.iter();
        let is = |facts: &HostFacts| facts.id == Some(id);
        hosts.find(|(_, facts)| is(facts)).or_else(|| {
            self.snapshot
                .hosts
                .iter()
                .find(|(_, facts)| facts.former.contains(&id))
        })
    }

    pub(super) fn name(self, id: NodeId) -> String {
        self.host(id)
            .map_or_else(|| id.short(), |(name, _)| name.to_string())
    }

    /// Whether a host is another node now, and this one is what it was.
    pub(super) fn is_former(self, id: NodeId) -> bool {
        self.snapshot
            .hosts
            .values()
            .any(|facts| facts.former.contains(&id))
            && !self.snapshot.hosts.values().any(|facts| facts.id == Some(id))
    }

    pub(super) fn asked(self, host: &HostName) -> Option<AskedFor> {
        self.snapshot.hosts.get(host)?.asked.map(|asked| asked.what)
    }

    /// Whether the document, and no person against it, wants data on a host.
    pub(super) fn wants_data_on(self, host: &HostName) -> bool {
        let declared = self
            .document
            .host(host)
            .is_some_and(|spec| spec.has(Role::Storage) && spec.state.is_active());
        declared && matches!(self.asked(host), None | Some(AskedFor::NewDisk))
    }

    /// Versions whose data is on its way.
    pub(super) fn unplaced(self) -> impl Iterator<Item = &'a MoveFacts> {
        self.snapshot.moves.iter().filter(|facts| facts.placed.is_none())
    }

    /// What live members with a role have on disk: version and digest in one text.
    pub(super) fn held(self) -> BTreeMap<&'a HostName, (u64, String)> {
        let Some(cluster) = self.cluster() else {
            return BTreeMap::new();
        };
        let hosts = self.snapshot.hosts.iter();
        hosts
            .filter(|(_, facts)| {
                facts.agent && facts.id.is_some_and(|id| cluster.layout.roles.contains_key(&id))
            })
            .filter(|(_, facts)| !facts.id.is_some_and(|id| self.snapshot.barred.contains(&id)))
            .filter_map(|(host, facts)| {
                let report = facts.report.as_ref().filter(|report| report.garage_runs)?;
                let layout = report.layout?;
                Some((host, (layout.version, layout.digest.to_string())))
            })
            .collect()
    }
}

/// Whether a node is connected.
pub(super) fn is_up(cluster: &ClusterFacts, id: NodeId) -> bool {
    cluster.nodes.get(&id).is_some_and(|node| node.up)
}
