//! How a version settles.

use std::collections::BTreeSet;

use hayloft_api::NodeId;
use hayloft_api::question::quorums;

use super::{SimGarage, SimVersion};

impl SimGarage {
    pub(super) fn begin(&mut self, next: SimVersion) {
        let first = self.versions.is_empty();
        let number = next.version;
        self.versions.push(next);
        if first {
            for node in self.nodes.values_mut() {
                node.tracker.ack = number;
                node.tracker.sync = number;
                node.tracker.sync_ack = number;
            }
        }
    }

    pub(super) fn live_versions(&self) -> impl Iterator<Item = &SimVersion> {
        self.versions.iter().filter(|version| version.live)
    }

    /// Nodes with a role in a live version.
    pub(super) fn taking_part(&self) -> BTreeSet<NodeId> {
        self.live_versions()
            .flat_map(|version| version.roles.keys().copied())
            .collect()
    }

    /// No older version is live, or every node that has a role is synced to the newest: a lone node never says so.
    pub(super) fn is_settled(&self) -> bool {
        let current = self.current_version();
        let Some(newest) = self.versions.last() else {
            return true;
        };
        let synced = |id: &NodeId| {
            self.nodes
                .get(id)
                .is_some_and(|node| node.tracker.sync >= current)
        };
        self.live_versions().count() < 2 || newest.roles.keys().all(synced)
    }

    /// One second of gossip: acks, then sync, then word of it, one after the other.
    pub(super) fn gossip(&mut self) {
        let current = self.current_version();
        if self.live_versions().count() < 2 {
            return;
        }
        let taking_part = self.taking_part();
        let all = |garage: &Self, of: fn(&super::Tracker) -> u64, who: &BTreeSet<NodeId>| {
            who.iter().all(|id| {
                garage
                    .nodes
                    .get(id)
                    .is_some_and(|node| of(&node.tracker) >= current)
            })
        };
        let acked = all(self, |tracker| tracker.ack, &taking_part);
        let roles: BTreeSet<NodeId> = self
            .versions
            .last()
            .map(|version| version.roles.keys().copied().collect())
            .unwrap_or_default();
        let synced = acked && all(self, |tracker| tracker.sync, &roles);
        let told = synced && all(self, |tracker| tracker.sync_ack, &roles);
        if told && roles.len() > 1 {
            // Versions retire together.
            let stuck = self.versions.len() - 1;
            for version in self.versions.iter_mut().take(stuck) {
                version.live = false;
            }
            return;
        }
        let may_sync = acked && (synced || self.has_quorums());
        for (id, node) in &mut self.nodes {
            if !node.up || !taking_part.contains(id) {
                continue;
            }
            if node.tracker.ack < current {
                node.tracker.ack = current;
            } else if may_sync && node.tracker.sync < current {
                node.tracker.sync = current;
            } else if synced {
                node.tracker.sync_ack = current;
            }
        }
        self.refer();
    }

    /// Synced tables tell every node which blocks it should have.
    pub(super) fn refer(&mut self) {
        let current = self.current_version();
        if self.live_versions().count() > 1 && self.is_settled() && self.referred < current {
            self.referred = current;
            self.settle();
        }
    }

    /// Whether every partition of every older live version has a write quorum up, from which it can be synced.
    fn has_quorums(&self) -> bool {
        let current = self.current_version();
        self.live_versions()
            .filter(|version| version.version < current)
            .all(|version| {
                version.map.holders.iter().all(|holders| {
                    let up = holders.iter().filter(|id| self.is_up(**id)).count();
                    up >= quorums(holders.len()).write
                })
            })
    }
}
