//! Layout versions as a member's own file has them: the only place where the nodes of a partition are told.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Digest, LayoutDigest};
use crate::NodeId;

/// Partitions of a Garage cluster. The partition of a block is the first byte of its name.
pub const PARTITIONS: usize = 256;

/// The layout versions in a member's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LayoutFacts {
    /// Live versions, oldest first; none before the first layout.
    pub versions: Vec<LayoutVersion>,
    /// Versions of no effect any more that the file still remembers, oldest first.
    pub old_versions: Vec<LayoutVersion>,
}

/// One version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LayoutVersion {
    /// Its number.
    pub version: u64,
    /// Of its roles, parameters and assignment: the same on every member that agrees.
    pub digest: Digest,
    /// Copies of each partition.
    pub replication_factor: u8,
    /// Who holds what, when it was asked for.
    pub map: Option<LayoutMap>,
}

/// The nodes of every partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LayoutMap {
    /// Nodes with a capacity, with their zone.
    pub zones: BTreeMap<NodeId, String>,
    /// By partition: always 256, each with as many nodes as there are copies.
    pub holders: Vec<Vec<NodeId>>,
}

impl LayoutMap {
    /// Whether every partition has that many distinct holders with a zone.
    pub fn is_whole(&self, replication_factor: u8) -> bool {
        super::assignment::is_whole(self, usize::from(replication_factor))
    }
}

impl LayoutFacts {
    /// The newest version's number and digest; `None` before the first layout.
    pub fn digest(&self) -> Option<LayoutDigest> {
        self.versions.last().map(|newest| LayoutDigest {
            version: newest.version,
            digest: newest.digest,
        })
    }

    /// A version by its number, live or old.
    pub fn version(&self, version: u64) -> Option<&LayoutVersion> {
        let all = self.versions.iter().chain(&self.old_versions);
        all.into_iter().find(|known| known.version == version)
    }
}
