//! New secrets after an eviction: what the evicted host knew opens nothing any more.
//!
//! Garage reads its RPC secret when it starts, and members with different ones do not see each other. So new ones are first
//! told to all hosts, which write them down and go on as before, and are then put to use at one moment.

use std::collections::BTreeSet;

use hayloft_api::HostName;
use hayloft_api::agent::StagedSecrets;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How far a renewal of secrets has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rotation {
    /// Hosts that know the old ones.
    pub(crate) known_to: BTreeSet<HostName>,
    /// The new ones, until they are in use, and since when hosts are told them.
    #[serde(default)]
    pub(crate) staged: Option<(StagedSecrets, Timestamp)>,
    /// When all were told to use them, so that their Garages restarted together.
    #[serde(default)]
    pub(crate) told: Option<Timestamp>,
    /// The access key that was in use before.
    pub(crate) old_key: String,
    /// When a member was first seen to be connected to the others again.
    pub(crate) back: Option<Timestamp>,
    /// Whether the secret that signs clients' tokens is another one, if one of them knew it.
    #[serde(default)]
    pub(crate) tokens_renewed: bool,
    /// Whether the new access key is in use.
    pub(crate) key_made: bool,
}
