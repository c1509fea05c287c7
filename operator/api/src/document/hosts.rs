//! Hosts, by name and in pools.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Bytes, HostName, OwnerName, Rate, ZoneName, cel};

/// A part that a host plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Holds data.
    Storage,
    /// Answers Nix clients.
    Gateway,
}

impl Role {
    /// As the document writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Storage => "storage",
            Self::Gateway => "gateway",
        }
    }
}

/// A declared host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = cel::roles_and_pledge()))]
pub struct HostSpec {
    /// Its name, unique.
    pub name: HostName,
    /// Who owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<OwnerName>,
    /// Its failure domain.
    pub zone: ZoneName,
    /// What it does.
    #[schemars(length(min = 1, max = 2), extend("x-kubernetes-list-type" = "set"))]
    pub roles: Vec<Role>,
    /// Bytes it lends; needed for `storage`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pledge: Option<Bytes>,
    /// A DNS name or IP address at which other hosts reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[^\s/]+$"))]
    pub address: Option<String>,
    /// Whether it takes part.
    #[serde(default, skip_serializing_if = "HostState::is_active")]
    pub state: HostState,
    /// An absence that is announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away: Option<Away>,
    /// The most bytes a second that it may send, to members and clients. Default: no limit but `rebalance.maxRate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplink: Option<Rate>,
}

impl HostSpec {
    /// Whether it plays that part.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

/// Whether a declared host takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum HostState {
    /// It does.
    #[default]
    Active,
    /// It gives its data away and then holds none.
    Drained,
}

impl HostState {
    /// Whether it is `active`.
    pub fn is_active(&self) -> bool {
        *self == Self::Active
    }
}

/// An announced absence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Away {
    /// Until when the host is not missed.
    pub until: jiff::Timestamp,
}

/// Hosts that the operator makes in Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = cel::roles_and_pledge()))]
pub struct PoolSpec {
    /// Its name; its hosts are called `<name>-0`, `<name>-1`, …
    pub name: HostName,
    /// Their failure domain.
    pub zone: ZoneName,
    /// How many.
    #[schemars(range(max = 256))]
    pub replicas: u16,
    /// What they do.
    #[schemars(length(min = 1, max = 2), extend("x-kubernetes-list-type" = "set"))]
    pub roles: Vec<Role>,
    /// Bytes that each lends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pledge: Option<Bytes>,
    /// The class of their volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
}
