//! Who belongs to a cluster, by key; and what a joiner and the coordinator say to each other.

mod exchange;
mod token;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{ClusterName, HostName};

pub use exchange::{
    Admission, Admitted, Check, Dialled, JoinAnswer, JoinAsk, JoinFacts, JoinRefusal, RenewAsk, Welcome,
};
pub use token::{TokenId, TokenIdError, TokenLimits, TokenSummary};

/// Where a [`JoinAsk`] is posted at the coordinator's door, without a certificate; answered by a [`JoinAnswer`].
pub const JOIN: &str = "/v1/join";
/// Where a member posts a [`RenewAsk`]; answered by its new certificates in PEM, as a JSON string.
pub const RENEW: &str = "/v1/renew";
/// The port of the coordinator's door, where none is named.
pub const COORDINATOR_PORT: u16 = 7440;
/// The port of an agent's door, where none is named.
pub const AGENT_PORT: u16 = 7441;
/// The port at which gateways reach each other, where none is named.
pub const LINK_PORT: u16 = 7442;
/// The port at which members of Garage reach each other, where none is named.
pub const RPC_PORT: u16 = 3901;

/// The Ed25519 public key of an agent or a coordinator, written `ed25519:` and 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostKey([u8; 32]);

const HOST_KEY_PREFIX: &str = "ed25519:";

/// A text is not a host key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a host key: `ed25519:` and 64 hex digits")]
pub struct HostKeyError {
    /// What was given.
    pub given: String,
}

impl HostKey {
    /// The key with these bytes.
    pub const fn from_bytes(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its first 16 digits, for people who compare two screens.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..8])
    }
}

impl FromStr for HostKey {
    type Err = HostKeyError;
    fn from_str(text: &str) -> Result<Self, HostKeyError> {
        let mut key = [0; 32];
        text.strip_prefix(HOST_KEY_PREFIX)
            .and_then(|digits| hex::decode_to_slice(digits, &mut key).ok())
            .map(|()| Self(key))
            .ok_or_else(|| HostKeyError {
                given: text.to_owned(),
            })
    }
}

impl TryFrom<String> for HostKey {
    type Error = HostKeyError;
    fn try_from(text: String) -> Result<Self, HostKeyError> {
        text.parse()
    }
}

impl From<HostKey> for String {
    fn from(key: HostKey) -> String {
        key.to_string()
    }
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HOST_KEY_PREFIX}{}", hex::encode(self.0))
    }
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostKey({})", self.short())
    }
}

/// One who may speak on the cluster's own links.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Member {
    /// The coordinator.
    Coordinator,
    /// The agent of a host.
    Host(HostName),
}

impl Member {
    /// The name in its certificate. It ends in a domain that is reserved for private use, so it never stands for an address:
    /// those change, and a certificate must not.
    pub fn dns_name(&self, cluster: &ClusterName) -> String {
        let domain = cluster_domain(cluster);
        match self {
            Self::Coordinator => format!("coordinator.role.{domain}"),
            Self::Host(name) => format!("{name}.host.{domain}"),
        }
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coordinator => f.write_str("the coordinator"),
            Self::Host(name) => write!(f, "host {name}"),
        }
    }
}

/// The domain that all names in a cluster's certificates are under, and that its authority may sign no name outside of.
pub fn cluster_domain(cluster: &ClusterName) -> String {
    format!("{cluster}.hayloft.internal")
}

/// Whom every door of a cluster trusts. An agent keeps the newest in its ledger, so that it trusts the same without a
/// coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrustList {
    /// The cluster.
    pub cluster: ClusterName,
    /// Root certificates in PEM: one, or two while the authority is replaced.
    pub roots: Vec<String>,
    /// Who belongs. One who is not in here is refused, whatever certificate is shown.
    pub members: Vec<ListedMember>,
}

impl TrustList {
    /// The key of a member.
    pub fn key_of(&self, member: &Member) -> Option<HostKey> {
        self.members
            .iter()
            .find(|listed| listed.member == *member)
            .map(|listed| listed.key)
    }
}

/// A member and its key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListedMember {
    /// Its key.
    pub key: HostKey,
    /// Who it is.
    pub member: Member,
    /// `host:port` of a host's door, where others find it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub door: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_key_reads_back_as_it_was_written() {
        let key = HostKey::from_bytes([0xa7; 32]);
        assert_eq!(key.to_string().parse::<HostKey>().unwrap(), key);
        for bad in ["", "a7", &"a7".repeat(32), "ed25519:zz", "ed25519:"] {
            assert!(bad.parse::<HostKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_host_that_is_called_coordinator_is_not_the_coordinator() {
        let cluster = "commons".parse().unwrap();
        let host = Member::Host("coordinator".parse().unwrap());
        assert_ne!(host.dns_name(&cluster), Member::Coordinator.dns_name(&cluster));
    }
}
