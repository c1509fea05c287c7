//! The kind `Host`.

use hayloft_api::{HostObjectSpec, NodeId};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A host of a cluster: made by the operator for each host of a pool and each that joined, or by a person, for a host that
/// is to join from outside.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[kube(
    group = "hayloft.dev",
    version = "v1alpha1",
    kind = "Host",
    plural = "hosts",
    shortname = "hlh",
    category = "hayloft",
    namespaced,
    derive = "PartialEq",
    status = "HostStatus",
    doc = "A host of a CacheCluster: a pod that the operator made, or a machine elsewhere that joined.",
    selectable = ".spec.cluster.name",
    validation = Rule::new("!self.metadata.name.contains('.') && self.metadata.name.size() <= 63")
        .message("metadata.name: use 1 to 63 lower-case letters, digits and hyphens, beginning and ending with a letter or digit"),
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.cluster.name"),
    printcolumn(name = "Zone", type_ = "string", json_path = ".spec.zone"),
    printcolumn(name = "Roles", type_ = "string", json_path = ".spec.roles", priority = 1),
    printcolumn(name = "Pledge", type_ = "string", json_path = ".spec.pledge"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Owner", type_ = "string", json_path = ".spec.owner", priority = 1),
    printcolumn(name = "Node", type_ = "string", json_path = ".status.garageId", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct HostResourceSpec(pub HostObjectSpec);

/// What was seen of a host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HostStatus {
    /// The generation of the object that this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// All in one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<HostPhase>,
    /// What is so, and what is wrong.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Its Garage node, once heard of.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub garage_id: Option<NodeId>,
    /// Its Garage's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub garage_version: Option<String>,
    /// Bytes of blocks on its disk, when they were last counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored: Option<i64>,
    /// Partitions, of 256, that it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i64>,
}

/// A host in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HostPhase {
    /// It is declared, and did not join yet.
    Pending,
    /// It asks to join, and somebody has to approve.
    AwaitingApproval,
    /// It is up, and takes part.
    Up,
    /// It was seen, and is away.
    Away,
    /// Its data is being given to the others.
    Draining,
    /// It holds nothing any more.
    Empty,
}
