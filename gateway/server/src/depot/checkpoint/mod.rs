//! Checkpoints of the index in the bucket: written by the committer now and then, read by a gateway whose disk is empty.

mod load;
mod write;

pub(super) use load::load;
pub(super) use write::{Writer, keep_writing};

use hayloft_store::key::{LogPlace, ObjectKey};
use hayloft_store::object::{ObjectError, SharedStore, list_all};

/// The file that a checkpoint is made from, or that one is read into, before it has a name of its own.
const FILE: &str = "checkpoint.sqlite";

/// The places of all checkpoints, from the oldest.
async fn places(store: &SharedStore) -> Result<Vec<LogPlace>, ObjectError> {
    let keys = list_all(store.as_ref(), ObjectKey::CHECKPOINTS, None).await?;
    Ok(keys
        .iter()
        .filter_map(|key| match ObjectKey::parse(key) {
            Some(ObjectKey::Checkpoint(place)) => Some(place),
            _ => None,
        })
        .collect())
}
