//! What a joiner says, and what it is answered.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{HostKey, Member, TokenId, TrustList};
use crate::agent::DiskReport;
use crate::document::Role;
use crate::{Bytes, HostName, NodeId, OwnerName, Rate, Secret, ZoneName, exposed};

/// A host asks to be let in. The same question may be put any number of times: a host that was let in once gets the same
/// answer, and its token is not spent again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JoinAsk {
    /// Its token.
    pub token: TokenId,
    /// The token's secret: 64 hex digits.
    #[serde(with = "exposed")]
    pub secret: Secret,
    /// A request for a certificate of its host key, in PEM; the proof that it holds that key.
    pub request: String,
    /// What it says of itself.
    pub facts: JoinFacts,
}

/// What a joiner says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JoinFacts {
    /// The name it wants.
    pub name: HostName,
    /// Who owns it.
    #[serde(default)]
    pub owner: Option<OwnerName>,
    /// The zone it is in.
    pub zone: ZoneName,
    /// What it is ready to do.
    pub roles: Vec<Role>,
    /// Bytes it lends.
    #[serde(default)]
    pub pledge: Option<Bytes>,
    /// The most bytes a second that it may send; `None`: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplink: Option<Rate>,
    /// The disk that its data would be on.
    pub disk: DiskReport,
    /// Bytes of blocks that lie there already, from an earlier life.
    #[serde(default)]
    pub held: u64,
    /// Its Garage node.
    pub garage_id: NodeId,
    /// The version of its Garage program, e.g. `2.5.0`; `None`: none was found.
    #[serde(default)]
    pub garage_version: Option<String>,
    /// The replication factor that its Garage ran with before; `None`: it never ran.
    #[serde(default)]
    pub replication_factor: Option<u8>,
    /// `host:port` at which its agent is to be reached.
    pub address: String,
    /// `host:port` at which its Garage is to be reached by other members' Garage.
    pub rpc_address: String,
    /// Its clock as it asked.
    pub clock: Timestamp,
    /// Members that it dialled, and what came of it.
    #[serde(default)]
    pub dialled: Vec<Dialled>,
}

/// What came of dialling an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dialled {
    /// The member at one end: the one that was dialled, or the one that dialled.
    pub member: HostName,
    /// The address that was dialled.
    pub address: String,
    /// Why it was not reached; `None`: it was.
    #[serde(default)]
    pub failed: Option<String>,
}

/// What a joiner is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "is")]
pub enum JoinAnswer {
    /// It belongs. Every secret it needs comes over the link that it can open now.
    Welcome(Box<Welcome>),
    /// It should dial these members and ask again with what came of it.
    Dial {
        /// Members and their addresses.
        members: Vec<(HostName, String)>,
    },
    /// A person has to approve it.
    Wait {
        /// In a sentence.
        why: String,
    },
    /// It does not belong.
    Refused {
        /// Everything that speaks against it.
        refusals: Vec<JoinRefusal>,
    },
}

/// What one who belongs needs to show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Welcome {
    /// Who it is now.
    pub member: Member,
    /// Its certificate and those above, in PEM.
    pub chain: String,
    /// Whom it may trust.
    pub trust: TrustList,
}

/// One thing that speaks against letting a host in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[error("{why}; {remedy}")]
pub struct JoinRefusal {
    /// Which check.
    pub check: Check,
    /// What is wrong.
    pub why: String,
    /// What to do.
    pub remedy: String,
}

/// What is looked at before a host is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Check {
    /// The token, and the proof of the host key.
    Token,
    /// What the token allows.
    Limits,
    /// What the document says of the host, or of hosts that join.
    Document,
    /// The clocks.
    Clock,
    /// The pledge and the disk.
    Disk,
    /// Garage's version.
    Garage,
    /// The replication factor that its Garage ran with before.
    ReplicationFactor,
    /// Another host has the same name, key or Garage node.
    Duplicate,
    /// Members reach it, and it reaches them.
    Reach,
    /// Its address means something to its own network only.
    PrivateAddress,
    /// A person refused it, or put it out.
    Person,
}

/// A member that renews its certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RenewAsk {
    /// A request in PEM for a certificate of the key that the connection was opened with.
    pub request: String,
}

/// A host that asked to join and was not refused, as people are told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Admitted {
    /// Its key.
    pub key: HostKey,
    /// The token that it came with.
    pub token: TokenId,
    /// What it said of itself then.
    pub facts: JoinFacts,
    /// Whether it belongs.
    pub standing: Admission,
    /// Since when.
    pub at: Timestamp,
    /// Until when it is expected to be away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away: Option<Timestamp>,
}

impl Admission {
    /// Whether it belongs now.
    pub const fn belongs(self) -> bool {
        matches!(self, Self::In | Self::Leaving)
    }
}

/// Whether a host belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Admission {
    /// It waits for a person's word.
    Waiting,
    /// It does.
    In,
    /// It does until the others hold what it holds; then it is out.
    Leaving,
    /// Not any more, or never.
    Out,
}
