//! Arithmetic over who holds which partition: what moves between two versions, and what would be missing without some nodes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{LayoutMap, PARTITIONS};
use crate::NodeId;

/// Copies that must be written before a write is acknowledged, and asked before a read is answered (Garage's
/// `consistent` mode: a read always meets the last write).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quorums {
    /// For a write.
    pub write: usize,
    /// For a read.
    pub read: usize,
}

/// The quorums of a replication factor.
pub fn quorums(replication_factor: usize) -> Quorums {
    let read = replication_factor.div_ceil(2);
    Quorums {
        read,
        write: replication_factor + 1 - read,
    }
}

/// Partitions that change hands between two versions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Moves {
    /// By node, the partitions that it gets.
    pub gained: BTreeMap<NodeId, Vec<u8>>,
    /// By node, the partitions that it gives away.
    pub lost: BTreeMap<NodeId, Vec<u8>>,
}

impl Moves {
    /// Copies of partitions that get a new holder: what Garage calls moved partitions.
    pub fn total(&self) -> usize {
        self.gained.values().map(Vec::len).sum()
    }
}

/// Partitions in trouble without some nodes, of 256.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Loss {
    /// No write would be acknowledged.
    pub unwritable: u16,
    /// No list or lookup would be answered.
    pub unreadable: u16,
    /// No copy would be left.
    pub lost: u16,
}

impl LayoutMap {
    /// Partitions that a node holds.
    pub fn partitions_of(&self, node: &NodeId) -> usize {
        self.holders.iter().filter(|nodes| nodes.contains(node)).count()
    }

    /// The nodes that hold a partition; none when the map is not whole.
    pub fn holders_of(&self, partition: u8) -> &[NodeId] {
        self.holders
            .get(usize::from(partition))
            .map_or(&[], Vec::as_slice)
    }

    /// What changes hands from `self` to `after`.
    pub fn moves_to(&self, after: &Self) -> Moves {
        let mut moves = Moves::default();
        for partition in 0..=u8::MAX {
            let (old, new) = (self.holders_of(partition), after.holders_of(partition));
            for node in new.iter().filter(|node| !old.contains(node)) {
                moves.gained.entry(*node).or_default().push(partition);
            }
            for node in old.iter().filter(|node| !new.contains(node)) {
                moves.lost.entry(*node).or_default().push(partition);
            }
        }
        moves
    }

    /// All zones in which nodes hold partitions.
    pub fn zone_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.zones.values().map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// What would be in trouble if the nodes that `gone` names vanished.
///
/// A write needs its quorum in every live version; metadata is read from the oldest live one, to which all are
/// synced; a block is certain to lie with the holders of `placed`, the newest version whose blocks are all where it wants
/// them, and nowhere else.
pub fn loss_without(live: &[&LayoutMap], placed: &LayoutMap, gone: impl Fn(&NodeId) -> bool) -> Loss {
    let left = |map: &LayoutMap, partition: u8| {
        let holders = map.holders_of(partition);
        let left = holders.iter().filter(|node| !gone(node)).count();
        (left, quorums(holders.len()))
    };
    let mut loss = Loss::default();
    for partition in 0..=u8::MAX {
        let unwritable = live.iter().any(|map| {
            let (left, quorums) = left(map, partition);
            left < quorums.write
        });
        let unreadable = live.first().is_some_and(|map| {
            let (left, quorums) = left(map, partition);
            left < quorums.read
        });
        let (certain, _) = left(placed, partition);
        loss.unwritable += u16::from(unwritable);
        loss.unreadable += u16::from(unreadable);
        loss.lost += u16::from(certain == 0);
    }
    loss
}

/// [`loss_without`] each zone in turn.
pub fn loss_by_zone(live: &[&LayoutMap], placed: &LayoutMap) -> BTreeMap<String, Loss> {
    let all: BTreeMap<NodeId, &str> = live
        .iter()
        .copied()
        .chain([placed])
        .flat_map(|map| map.zones.iter().map(|(node, zone)| (*node, zone.as_str())))
        .collect();
    let names: std::collections::BTreeSet<&str> = all.values().copied().collect();
    names
        .into_iter()
        .map(|zone| {
            let gone = |node: &NodeId| all.get(node) == Some(&zone);
            (zone.to_owned(), loss_without(live, placed, gone))
        })
        .collect()
}

/// Whether a map is whole: every partition has as many holders, and each is another node with a zone.
pub(super) fn is_whole(map: &LayoutMap, replication_factor: usize) -> bool {
    map.holders.len() == PARTITIONS
        && map.holders.iter().all(|holders| {
            let mut distinct = holders.clone();
            distinct.sort_unstable();
            distinct.dedup();
            distinct.len() == replication_factor && holders.iter().all(|node| map.zones.contains_key(node))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: u8) -> NodeId {
        NodeId::from_public_key([n; 32])
    }

    /// Nodes 1, 2, 3 … in zones of their own; each partition is held by `holders(partition)`.
    fn map(nodes: u8, holders: impl Fn(u8) -> Vec<u8>) -> LayoutMap {
        LayoutMap {
            zones: (1..=nodes).map(|n| (node(n), format!("zone-{n}"))).collect(),
            holders: (0..=u8::MAX)
                .map(|partition| holders(partition).into_iter().map(node).collect())
                .collect(),
        }
    }

    #[test]
    fn quorums_are_garages() {
        let pairs: Vec<_> = (1..=5).map(quorums).collect();
        let expected = [(1, 1), (2, 1), (2, 2), (3, 2), (3, 3)];
        assert_eq!(
            pairs,
            expected.map(|(write, read)| Quorums { write, read }),
            "write and read for factors 1 to 5"
        );
    }

    #[test]
    fn moves_are_what_each_node_gains_and_loses() {
        let before = map(4, |_| vec![1, 2, 3]);
        let after = map(4, |partition| {
            if partition < 64 {
                vec![1, 2, 4]
            } else {
                vec![1, 2, 3]
            }
        });
        let moves = before.moves_to(&after);
        assert_eq!(moves.total(), 64);
        assert_eq!(moves.gained[&node(4)], (0..64).collect::<Vec<u8>>());
        assert_eq!(moves.lost[&node(3)], (0..64).collect::<Vec<u8>>());
        assert_eq!(after.partitions_of(&node(4)), 64);
        assert_eq!(after.moves_to(&after).total(), 0);
    }

    #[test]
    fn one_zone_of_three_can_vanish_and_two_cannot() {
        let map = map(3, |_| vec![1, 2, 3]);
        let without = |gone: &[u8]| loss_without(&[&map], &map, |id| gone.iter().any(|n| *id == node(*n)));
        assert_eq!(without(&[1]), Loss::default());
        let two = Loss {
            unwritable: 256,
            unreadable: 256,
            lost: 0,
        };
        assert_eq!(without(&[1, 2]), two);
        assert_eq!(without(&[1, 2, 3]).lost, 256);
        assert_eq!(loss_by_zone(&[&map], &map).len(), 3);
    }

    #[test]
    fn during_a_move_quorums_of_both_versions_count_and_blocks_lie_only_where_they_were() {
        let before = map(5, |_| vec![1, 2, 3]);
        let after = map(5, |_| vec![1, 4, 5]);
        let gone = |id: &NodeId| *id == node(4) || *id == node(5);
        let meanwhile = loss_without(&[&before, &after], &before, gone);
        assert_eq!(meanwhile.unwritable, 256, "the new version has no quorum");
        assert_eq!(meanwhile.unreadable, 0, "metadata is read from the old one");
        assert_eq!(meanwhile.lost, 0);
        let old_gone = |id: &NodeId| [1, 2, 3].iter().any(|n| *id == node(*n));
        assert_eq!(loss_without(&[&after], &before, old_gone).lost, 256);
    }

    #[test]
    fn a_map_with_a_hole_is_seen() {
        let good = map(3, |_| vec![1, 2, 3]);
        assert!(is_whole(&good, 3));
        assert!(!is_whole(&map(3, |_| vec![1, 1, 2]), 3));
        assert!(!is_whole(&map(2, |_| vec![1, 2, 3]), 3));
        let short = LayoutMap {
            holders: good.holders[1..].to_vec(),
            ..good
        };
        assert!(!is_whole(&short, 3));
    }
}
