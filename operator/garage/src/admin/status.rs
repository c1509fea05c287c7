//! Members as one of them sees them.

use hayloft_api::NodeId;
use hayloft_api::agent::Peer;
use serde::Deserialize;

use super::{AdminError, Client};

/// All nodes that the answering member knows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// The layout's version; 0 before the first.
    pub layout_version: u64,
    /// Connected nodes, nodes of the layout, and nodes of older layouts that are still live.
    pub nodes: Vec<Node>,
}

/// One node, from the answering member's view.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Its version, when connected.
    pub garage_version: Option<String>,
    /// The RPC address it is reached at.
    pub addr: Option<String>,
    /// Whether it is connected.
    pub is_up: bool,
    /// Seconds since it was last heard, for one that is not connected.
    pub last_seen_secs_ago: Option<u64>,
    /// Its role in the current layout.
    pub role: Option<NodeRole>,
    /// It held partitions in an older live version and has none now. About metadata only, not blocks.
    pub draining: bool,
    /// The file system of its blocks; comes by gossip every 10 s.
    pub data_partition: Option<Free>,
}

/// A node's role.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeRole {
    /// Its zone.
    pub zone: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Bytes; `None` for a Garage gateway.
    pub capacity: Option<u64>,
}

/// Space on a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Free {
    /// Free.
    pub available: u64,
    /// All.
    pub total: u64,
}

/// Connectivity of the nodes that partitions are assigned to. It says nothing about where data lies.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// All in a word.
    pub status: HealthStatus,
    /// Partitions with a write quorum, of 256.
    pub partitions_quorum: u64,
    /// Partitions whose nodes are all connected, of 256.
    pub partitions_all_ok: u64,
}

/// Connectivity in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HealthStatus {
    /// All storage nodes are connected.
    Healthy,
    /// Some are not; every partition has a quorum.
    Degraded,
    /// Some partition has none.
    Unavailable,
}

/// The outcome of connecting to one peer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connected {
    /// Whether it is connected now.
    pub success: bool,
    /// Why not.
    pub error: Option<String>,
}

impl Client {
    /// All nodes that the member knows.
    ///
    /// # Errors
    /// When it does not answer, or refuses the token.
    pub async fn status(&self) -> Result<ClusterStatus, AdminError> {
        self.get("GetClusterStatus", &[]).await
    }

    /// Connectivity of partitions.
    ///
    /// # Errors
    /// When it does not answer, or refuses the token.
    pub async fn health(&self) -> Result<Health, AdminError> {
        self.get("GetClusterHealth", &[]).await
    }

    /// Whether the member answers and reaches a write quorum of every partition. Asked where no token is needed, so it is
    /// the same for a member that has other secrets. Bounded by the caller.
    pub async fn reaches_quorum(&self) -> bool {
        self.unasked("/health").await == Some(true)
    }

    /// Whether the member answers at all, where no token is needed, whatever it sees of the others. Costs it next to nothing.
    /// Bounded by the caller.
    pub async fn answers(&self) -> bool {
        self.unasked("/health").await.is_some()
    }

    /// Makes the member connect to peers; one outcome for each, in order. Garage gives each dial 10 s.
    ///
    /// # Errors
    /// When it does not answer, or refuses the token; a peer that cannot be reached is no error here.
    pub async fn connect(&self, peers: &[Peer]) -> Result<Vec<Connected>, AdminError> {
        let addresses: Vec<String> = peers.iter().map(ToString::to_string).collect();
        self.post("ConnectClusterNodes", Some(&addresses), super::client::SLOW)
            .await
    }
}
