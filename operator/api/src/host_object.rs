//! A host as an object of its own, for those that are not written into the document: hosts of pools, and hosts that joined.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::{Away, HostSpec, HostState, Role};
use crate::{Bytes, ClusterName, HostName, OwnerName, Rate, ZoneName, cel};

/// What is declared of a host. Its name is the object's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = cel::roles_and_pledge()))]
pub struct HostObjectSpec {
    /// The CacheCluster of the same namespace that it belongs to; immutable.
    pub cluster: ClusterRef,
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

/// Names a CacheCluster of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterRef {
    /// Its name.
    #[schemars(extend("x-kubernetes-validations" = [cel::rule("self == oldSelf", "a host does not change its cluster")]))]
    pub name: ClusterName,
}

impl HostObjectSpec {
    /// As the document has it, under that name.
    pub fn into_declared(self, name: HostName) -> HostSpec {
        let Self {
            cluster: ClusterRef { name: _ },
            owner,
            zone,
            roles,
            pledge,
            address,
            state,
            away,
            uplink,
        } = self;
        HostSpec {
            name,
            owner,
            zone,
            roles,
            pledge,
            address,
            state,
            away,
            uplink,
        }
    }
}
