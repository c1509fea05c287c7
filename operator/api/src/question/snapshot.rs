//! Snapshots of a member's metadata, and their copies on other hosts.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Digest;
use crate::{HostName, NodeId};

/// Names a snapshot of one host: Garage's own name of it, which is the time at which it was made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SnapshotId(pub String);

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A snapshot of a member's metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotInfo {
    /// Which one.
    pub id: SnapshotId,
    /// The node whose metadata it is.
    pub node: NodeId,
    /// When it was made.
    pub taken: Timestamp,
    /// Its files, in the order in which they are sent.
    pub files: Vec<SnapshotFile>,
}

/// A file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotFile {
    /// Its name, without any folder.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Of its content.
    pub digest: Digest,
}

impl SnapshotInfo {
    /// Bytes in all.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// A snapshot of another host that is kept here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptSnapshot {
    /// Whose it is.
    pub of: HostName,
    /// What it is.
    pub info: SnapshotInfo,
    /// Whether all of it is here.
    pub whole: bool,
}
