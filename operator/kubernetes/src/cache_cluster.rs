//! The kind `CacheCluster`.

use hayloft_api::CacheName;
use hayloft_api::document::Spec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Nix binary cache that a community keeps together: how data is kept, the hosts and pools, who may join, and the caches.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[kube(
    group = "hayloft.dev",
    version = "v1alpha1",
    kind = "CacheCluster",
    plural = "cacheclusters",
    shortname = "cc",
    category = "hayloft",
    namespaced,
    derive = "PartialEq",
    status = "CacheClusterStatus",
    doc = "A Nix binary cache that a community keeps together.",
    validation = Rule::new("!self.metadata.name.contains('.') && self.metadata.name.size() <= 40")
        .message("metadata.name: use 1 to 40 lower-case letters, digits and hyphens, beginning and ending with a letter or digit"),
    validation = Rule::new("self.spec.pools.all(p, self.metadata.name.size() + p.name.size() <= 50)")
        .message("pools: the names of the cluster and of a pool may have 50 characters together, for objects are named after both"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether clients can push and pull"
    ),
    printcolumn(
        name = "Hosts",
        type_ = "string",
        json_path = ".status.hosts.summary",
        description = "Hosts that are up, of those that there should be"
    ),
    printcolumn(name = "Copies", type_ = "integer", json_path = ".spec.garage.replicationFactor", priority = 1),
    printcolumn(
        name = "Stored",
        type_ = "string",
        json_path = ".status.stored",
        description = "Bytes in the bucket, one copy counted"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        description = "What it is doing, or what is wrong"
    ),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct CacheClusterSpec(pub Spec);

/// What was seen and done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CacheClusterStatus {
    /// The generation of the object that this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What is so, and what is wrong.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// How many hosts there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosts: Option<HostCount>,
    /// Bytes in the bucket, one copy counted, for people to read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored: Option<String>,
    /// The version of Garage's layout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout_version: Option<i64>,
    /// Where clients push and pull.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The caches that there are.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub caches: Vec<CacheStatus>,
}

/// How many hosts there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostCount {
    /// That are up.
    pub up: i32,
    /// That there should be.
    pub declared: i32,
    /// Both, as `3/3`.
    pub summary: String,
}

/// A cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CacheStatus {
    /// Its name.
    pub name: CacheName,
    /// What clients check its signatures with, for `trusted-public-keys`.
    pub public_key: String,
}
