//! New secrets after an eviction: what the evicted host knew opens nothing any more.

use std::collections::BTreeSet;

use hayloft_api::HostName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How far a renewal of secrets has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rotation {
    /// Hosts that know the old ones.
    pub(crate) known_to: BTreeSet<HostName>,
    /// When all were told the new RPC secret, so that their Garages restarted together.
    pub(crate) told: Timestamp,
    /// The access key that was in use before.
    pub(crate) old_key: String,
    /// When a member was first seen to be connected to the others again.
    pub(crate) back: Option<Timestamp>,
    /// Whether the new access key is in use.
    pub(crate) key_made: bool,
}
