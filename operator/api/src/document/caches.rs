//! Declared caches.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules::{MAX_KEY_NAME, MAX_RETENTION, MAX_STORE_DIR, MAX_UPSTREAM_KEYS};
use crate::{CacheName, Span, cel};

/// A declared cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CacheSpec {
    /// Its name, unique.
    pub name: CacheName,
    /// Whether anyone may pull. Default: false.
    #[serde(default)]
    pub public: bool,
    /// Nix's priority; lower is asked first. Default: 41, after cache.nixos.org.
    #[serde(default = "default_priority")]
    #[schemars(range(min = 0))]
    pub priority: i32,
    /// The store that its paths belong to. Default: /nix/store.
    #[serde(default = "default_store_dir")]
    #[schemars(
        length(max = MAX_STORE_DIR),
        // No part is empty, `.` or `..`.
        regex(pattern = r"^(/([^/.\s][^/\s]*|\.[^/.\s][^/\s]*|\.\.[^/\s]+))+$")
    )]
    pub store_dir: String,
    /// How long a path is kept after its last use. Default: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [cel::rule(
        &format!("{0} >= 1 && {0} <= {MAX_RETENTION}", cel::seconds("self")),
        "retention: 1s to 68 years is allowed; leave it out to keep paths for ever"
    )]))]
    pub retention: Option<Span>,
    /// Names of keys whose paths clients need not push.
    #[serde(default = "default_upstream_keys")]
    #[schemars(length(max = MAX_UPSTREAM_KEYS), inner(length(min = 1, max = MAX_KEY_NAME), regex(pattern = r"^[^\s:]+$")))]
    pub upstream_keys: Vec<String>,
}

const fn default_priority() -> i32 {
    41
}

fn default_store_dir() -> String {
    "/nix/store".to_owned()
}

fn default_upstream_keys() -> Vec<String> {
    vec!["cache.nixos.org-1".to_owned()]
}
