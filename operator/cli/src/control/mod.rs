//! How commands reach a running `hayloft up`: HTTP on a socket in its folder, which only its user can open.

pub(crate) mod client;
pub(crate) mod server;

use serde::{Deserialize, Serialize};

use crate::changes::Change;

/// What applying a document does, or did.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Outcome {
    /// What differs from what is followed now.
    pub(crate) changes: Vec<Change>,
    /// What is to be done at once for it, in order, each with its reason.
    pub(crate) steps: Vec<String>,
    /// What is to be done later, each with what it waits for.
    pub(crate) waiting: Vec<String>,
    /// What of it does not hold in this home, one sentence each.
    pub(crate) notices: Vec<String>,
    /// Whether it is followed now.
    pub(crate) applied: bool,
}

/// Why a request was refused.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Refusal {
    /// A sentence.
    pub(crate) error: String,
}
