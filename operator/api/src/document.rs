//! The CacheCluster document: what one community declares.

mod admission;
mod caches;
mod garage;
mod gateway;
mod hosts;
mod rebalance;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use admission::{AdmissionSpec, Approval};
pub use caches::CacheSpec;
pub use garage::GarageSpec;
pub use gateway::{GatewayCacheSpec, GatewaySpec};
pub use hosts::{Away, HostSpec, HostState, PoolSpec, Role};
pub use rebalance::{RebalanceSpec, ResyncWorkers};

use crate::rules::{MAX_CACHES, MAX_HOSTS, MAX_POOLS, Violations};
use crate::{ClusterName, HostName, cel};

/// Why a text is not a valid document.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is no YAML, or a field is unknown, missing or of another type. The source names the field and the line.
    #[error("the document cannot be read")]
    Parse(#[source] serde_yaml::Error),
    /// It is readable, and breaks rules.
    #[error("the document is not valid")]
    Rules(#[source] Violations),
}

/// A `CacheCluster` document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document {
    /// The version of this format.
    pub api_version: ApiVersion,
    /// What kind of document it is.
    pub kind: Kind,
    /// Its name.
    pub metadata: Metadata,
    /// What is declared.
    pub spec: Spec,
}

impl Document {
    /// Reads a document and checks it against all rules that need nothing but the document.
    ///
    /// # Errors
    /// With the path of each wrong field, what was given and what is allowed.
    pub fn from_yaml(text: &str) -> Result<Self, DocumentError> {
        let document: Self = serde_yaml::from_str(text).map_err(DocumentError::Parse)?;
        crate::rules::check(&document).map_err(DocumentError::Rules)?;
        Ok(document)
    }

    /// Writes the document, with every default spelt out.
    ///
    /// # Errors
    /// None that a document read by [`Document::from_yaml`] can cause.
    pub fn to_yaml(&self) -> Result<String, DocumentError> {
        serde_yaml::to_string(self).map_err(DocumentError::Parse)
    }

    /// The declared host of that name.
    pub fn host(&self, name: &HostName) -> Option<&HostSpec> {
        self.spec.hosts.iter().find(|host| host.name == *name)
    }

    /// The declared hosts that hold data.
    pub fn storage_hosts(&self) -> impl Iterator<Item = &HostSpec> {
        self.spec.hosts.iter().filter(|host| host.has(Role::Storage))
    }

    /// The one host that answers Nix clients where gateways cannot be linked, as at home: the first with role `gateway` that is
    /// active, or the first of all when none is. Others with that role have to wait there.
    pub fn gateway_host(&self) -> Option<&HostSpec> {
        let gateways = || self.spec.hosts.iter().filter(|host| host.has(Role::Gateway));
        gateways()
            .find(|host| host.state.is_active())
            .or_else(|| gateways().next())
    }
}

/// Versions of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApiVersion {
    /// The first one.
    #[serde(rename = "hayloft.dev/v1alpha1")]
    V1Alpha1,
}

/// Kinds of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A cluster.
    CacheCluster,
}

/// What the document is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// The cluster's name; immutable.
    pub name: ClusterName,
}

/// What is declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = cel::spec()))]
pub struct Spec {
    /// How data is kept.
    pub garage: GarageSpec,
    /// Hosts that are declared by name.
    #[serde(default)]
    #[schemars(
        length(max = MAX_HOSTS),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub hosts: Vec<HostSpec>,
    /// Hosts that the operator makes in Kubernetes.
    #[serde(default)]
    #[schemars(
        length(max = MAX_POOLS),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub pools: Vec<PoolSpec>,
    /// Who may join.
    #[serde(default)]
    pub admission: AdmissionSpec,
    /// How data is moved.
    #[serde(default)]
    pub rebalance: RebalanceSpec,
    /// How Nix clients are served.
    #[serde(default)]
    pub gateway: GatewaySpec,
    /// Declared caches; others are left alone.
    #[serde(default)]
    #[schemars(
        length(max = MAX_CACHES),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub caches: Vec<CacheSpec>,
}
