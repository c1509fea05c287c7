//! Calls about one node, which any member passes on to it.

use std::collections::BTreeMap;

use hayloft_api::NodeId;
use hayloft_api::question::BlockName;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::client::SLOW;
use super::{AdminError, Client};

/// Which nodes are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// The member that answers.
    Itself,
    /// This one.
    One(NodeId),
    /// All of the layout and all that are connected. One that hangs holds the answer up until it is found dead (66 s).
    All,
}

impl Whom {
    fn query(self) -> String {
        match self {
            Self::Itself => "self".to_owned(),
            Self::One(id) => id.to_string(),
            Self::All => "*".to_owned(),
        }
    }
}

/// What came of asking several nodes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Answers<T> {
    /// By node, its answer.
    pub success: BTreeMap<NodeId, T>,
    /// By node, why there is none, in Garage's words.
    pub error: BTreeMap<NodeId, String>,
}

/// What a node knows of its tables and blocks.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatistics {
    /// Its tables.
    #[serde(default)]
    pub table_stats: Vec<TableStatistics>,
    /// Its blocks.
    pub block_manager_stats: Option<BlockStatistics>,
}

/// A table of a node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TableStatistics {
    /// Its name.
    pub table_name: String,
    /// Its rows.
    pub items: u64,
    /// Rows that are not yet in the tree by which nodes compare.
    pub merkle_queue_len: u64,
    /// Rows that other nodes shall be told.
    pub insert_queue_len: u64,
    /// Graves to be deleted everywhere.
    pub gc_queue_len: u64,
}

/// The blocks of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockStatistics {
    /// Reference counts that it keeps, graves included: no measure of progress.
    pub rc_entries: u64,
    /// Blocks to look at, those that are due later included.
    pub resync_queue_len: u64,
    /// Blocks with which it failed last.
    pub resync_errors: u64,
}

/// A background worker of a node.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Worker {
    /// Counted from the start of its process: not the same after a restart.
    pub id: u64,
    /// What it does, e.g. `Block repair worker`.
    pub name: String,
    /// Whether it is at it.
    pub state: WorkerState,
    /// How often it failed.
    pub errors: u64,
    /// How often it failed since it last succeeded.
    pub consecutive_errors: u64,
    /// How far it is, in Garage's words.
    pub progress: Option<String>,
    /// What it has before it.
    pub queue_length: Option<u64>,
    /// What it keeps failing with.
    pub persistent_errors: Option<u64>,
}

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WorkerState {
    /// Working.
    Busy,
    /// Working, and pausing for the sake of others.
    #[serde(rename_all = "camelCase")]
    Throttled {
        /// For how long.
        duration_secs: f64,
    },
    /// Waiting for work.
    Idle,
    /// Ended; a repair's worker stays listed.
    Done,
}

/// A setting or a fact of a node's workers that can be asked for by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variable {
    /// How many workers move blocks, 1 to 8.
    ResyncWorkers,
    /// How long each of them pauses, as a multiple of what a step took.
    ResyncTranquility,
    /// The same for scrubs.
    ScrubTranquility,
    /// When the last scrub ended; cannot be set.
    ScrubLastCompleted,
    /// Damaged blocks that scrubs found; cannot be set.
    ScrubCorruptions,
}

impl Variable {
    fn as_str(self) -> &'static str {
        match self {
            Self::ResyncWorkers => "resync-worker-count",
            Self::ResyncTranquility => "resync-tranquility",
            Self::ScrubTranquility => "scrub-tranquility",
            Self::ScrubLastCompleted => "scrub-last-completed",
            Self::ScrubCorruptions => "scrub-corruptions_detected",
        }
    }
}

/// A repair that a node can be told to make. All but the foreground ones run as workers, which [`Client::workers`] lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Repair {
    /// Compare tables with other nodes.
    Tables,
    /// Look at every block that is referred to or stored.
    Blocks,
    /// Versions whose object is gone.
    Versions,
    /// Uploads whose object is gone.
    MultipartUploads,
    /// References of blocks whose version is gone.
    BlockRefs,
    /// Count references anew.
    BlockRc,
    /// Move blocks to the disk where they belong.
    Rebalance,
    /// Names of buckets; in the foreground.
    Aliases,
    /// Forget all that is to be looked at; in the foreground. Never without [`Repair::Blocks`] after it.
    ClearResyncQueue,
    /// Read all blocks and check them.
    Scrub(Scrub),
}

impl Repair {
    /// The name of the worker that does it, where one is made for it.
    #[must_use]
    pub fn worker(self) -> Option<&'static str> {
        match self {
            Self::Blocks => Some("Block repair worker"),
            Self::Versions => Some("version repair worker"),
            Self::MultipartUploads => Some("multipart_upload repair worker"),
            Self::BlockRefs => Some("block_ref repair worker"),
            Self::BlockRc => Some("Block refcount repair worker"),
            Self::Rebalance => Some("Block rebalance worker"),
            Self::Tables | Self::Aliases | Self::ClearResyncQueue | Self::Scrub(_) => None,
        }
    }
}

/// What works off a comparison of tables ([`Repair::Tables`]): workers that are always there, one for each table.
pub const TABLE_SYNCS: [&str; 5] = [
    "bucket_v2 sync",
    "object sync",
    "version sync",
    "block_ref sync",
    "key sync",
];

/// What shall become of a scrub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Scrub {
    /// Begin.
    Start,
    /// Rest for 24 hours.
    Pause,
    /// Go on.
    Resume,
    /// End.
    Cancel,
}

/// A block that a node failed with.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockError {
    /// The block.
    pub block_hash: BlockName,
    /// How often it is referred to.
    pub refcount: u64,
    /// How often it failed.
    pub error_count: u64,
    /// Seconds until it is tried again.
    pub next_try_in_secs: u64,
}

/// What a node knows of a block.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockInfo {
    /// How often it is referred to; 0: it is not needed any more.
    pub refcount: u64,
    /// By what.
    pub versions: Vec<BlockUse>,
}

/// A use of a block.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockUse {
    /// The reference is a grave.
    pub ref_deleted: bool,
    /// The version that refers to it is a grave.
    pub version_deleted: bool,
    /// There is no such version any more.
    pub garbage_collected: bool,
    /// Whose version it is.
    pub backlink: Option<Backlink>,
}

/// Whose a version is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Backlink {
    /// An object's.
    #[serde(rename_all = "camelCase")]
    Object {
        /// Its bucket.
        bucket_id: String,
        /// Its key.
        key: String,
    },
    /// An unfinished upload's.
    #[serde(rename_all = "camelCase")]
    Upload {
        /// Its bucket, if known.
        bucket_id: Option<String>,
        /// Its key, if known.
        key: Option<String>,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListWorkers {
    busy_only: bool,
    error_only: bool,
}

#[derive(Serialize)]
struct WorkerId {
    id: u64,
}

#[derive(Serialize)]
struct GetVariable {
    variable: &'static str,
}

#[derive(Serialize)]
struct SetVariable {
    variable: &'static str,
    value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Launch {
    repair_type: Repair,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Block {
    block_hash: BlockName,
}

#[derive(Serialize)]
struct RetryAll {
    all: bool,
}

#[derive(Deserialize)]
struct Count {
    count: u64,
}

impl<T> Answers<T> {
    /// The answer of the only node that was asked.
    fn only(self, call: &'static str) -> Result<T, AdminError> {
        if let Some((_, answer)) = self.success.into_iter().next() {
            return Ok(answer);
        }
        let message = self.error.into_values().next();
        Err(AdminError::Node {
            call,
            message: message.unwrap_or_else(|| "it does not know that node".to_owned()),
        })
    }
}

impl Client {
    async fn of_nodes<A: DeserializeOwned>(
        &self,
        call: &'static str,
        whom: Whom,
        body: Option<&impl Serialize>,
    ) -> Result<Answers<A>, AdminError> {
        self.post_with(call, &[("node", &whom.query())], body, SLOW).await
    }

    async fn of_node<A: DeserializeOwned>(
        &self,
        call: &'static str,
        node: NodeId,
        body: Option<&impl Serialize>,
    ) -> Result<A, AdminError> {
        self.of_nodes(call, Whom::One(node), body).await?.only(call)
    }

    /// Queues and tables of nodes.
    ///
    /// # Errors
    /// When the asked member does not answer, or refuses; what other nodes say is in the answer.
    pub async fn node_statistics(&self, whom: Whom) -> Result<Answers<NodeStatistics>, AdminError> {
        self.get("GetNodeStatistics", &[("node", &whom.query())]).await
    }

    /// All background workers of nodes, ended repairs included.
    ///
    /// # Errors
    /// When the asked member does not answer, or refuses; what other nodes say is in the answer.
    pub async fn workers(&self, whom: Whom) -> Result<Answers<Vec<Worker>>, AdminError> {
        let all = ListWorkers {
            busy_only: false,
            error_only: false,
        };
        self.of_nodes("ListWorkers", whom, Some(&all)).await
    }

    /// One background worker.
    ///
    /// # Errors
    /// When the member does not answer, or refuses; [`AdminError::Node`] when the node does, or has no such worker.
    pub async fn worker(&self, node: NodeId, id: u64) -> Result<Worker, AdminError> {
        self.of_node("GetWorkerInfo", node, Some(&WorkerId { id })).await
    }

    /// A variable of nodes' workers.
    ///
    /// # Errors
    /// When the asked member does not answer, or refuses; what other nodes say is in the answer.
    pub async fn variable(&self, whom: Whom, variable: Variable) -> Result<Answers<String>, AdminError> {
        let variable = variable.as_str();
        let answers: Answers<BTreeMap<String, String>> = self
            .of_nodes("GetWorkerVariable", whom, Some(&GetVariable { variable }))
            .await?;
        let Answers { success, error } = answers;
        let value = |(id, mut all): (NodeId, BTreeMap<String, String>)| Some((id, all.remove(variable)?));
        Ok(Answers {
            success: success.into_iter().filter_map(value).collect(),
            error,
        })
    }

    /// Sets a variable of one node's workers. The node keeps it over restarts.
    ///
    /// # Errors
    /// When the member does not answer, or refuses; [`AdminError::Node`] when the node does not take the value.
    pub async fn set_variable(&self, node: NodeId, variable: Variable, value: u32) -> Result<(), AdminError> {
        let body = SetVariable {
            variable: variable.as_str(),
            value: value.to_string(),
        };
        let _: serde_json::Value = self.of_node("SetWorkerVariable", node, Some(&body)).await?;
        Ok(())
    }

    /// Makes a node begin a repair.
    ///
    /// # Errors
    /// When the member does not answer, or refuses; [`AdminError::Node`] when the node does.
    pub async fn repair(&self, node: NodeId, repair: Repair) -> Result<(), AdminError> {
        let body = Launch { repair_type: repair };
        let _: serde_json::Value = self.of_node("LaunchRepairOperation", node, Some(&body)).await?;
        Ok(())
    }

    /// The blocks that nodes failed with.
    ///
    /// # Errors
    /// When the asked member does not answer, or refuses; what other nodes say is in the answer.
    pub async fn block_errors(&self, whom: Whom) -> Result<Answers<Vec<BlockError>>, AdminError> {
        self.get("ListBlockErrors", &[("node", &whom.query())]).await
    }

    /// What a node knows of a block. `None`: it never heard of it, or has forgotten it. The node asks a quorum of others about
    /// each use.
    ///
    /// # Errors
    /// When the member does not answer, or refuses; [`AdminError::Node`] when the node does, also for want of a quorum.
    pub async fn block(&self, node: NodeId, block: BlockName) -> Result<Option<BlockInfo>, AdminError> {
        let body = Block { block_hash: block };
        match self.of_node("GetBlockInfo", node, Some(&body)).await {
            Ok(info) => Ok(Some(info)),
            Err(AdminError::Node { message, .. }) if message.contains("Block not found") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a node try all blocks again with which it failed. Gives how many they are.
    ///
    /// # Errors
    /// When the member does not answer, or refuses; [`AdminError::Node`] when the node does.
    pub async fn retry_blocks(&self, node: NodeId) -> Result<u64, AdminError> {
        let count: Count = self
            .of_node("RetryBlockResync", node, Some(&RetryAll { all: true }))
            .await?;
        Ok(count.count)
    }

    /// Makes a node write a snapshot of its metadata. It keeps the two newest. Comes back when it is on disk, for which
    /// it waits a minute only: an uncertain error may mean that it is made still.
    ///
    /// # Errors
    /// When the member does not answer, or refuses; [`AdminError::Node`] when the node does, e.g. because it is at it.
    pub async fn snapshot_metadata(&self, node: NodeId) -> Result<(), AdminError> {
        let _: serde_json::Value = self.of_node("CreateMetadataSnapshot", node, None::<&()>).await?;
        Ok(())
    }
}
