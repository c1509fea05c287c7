//! How Nix clients are served.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules::MAX_URL;
use crate::{Bytes, cel};

/// How Nix clients are served.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GatewaySpec {
    /// The URL that clients use. Default: made from each request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = MAX_URL),
        regex(pattern = r"^https?://([^/?#@:\s\[\]]+|\[[0-9A-Fa-f:.]+\])(:(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[0-5]?[0-9]{1,4}))?(/[^?#\s]*)?$"),
        extend("x-kubernetes-validations" = [cel::rule(
            "isURL(self)",
            "publicUrl: a URL such as https://cache.example.org is allowed"
        )])
    )]
    pub public_url: Option<String>,
    /// What gateways keep near.
    pub cache: GatewayCacheSpec,
}

/// What a gateway keeps near.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GatewayCacheSpec {
    /// In memory. Default: 256Mi.
    pub memory: Bytes,
    /// On disk. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<Bytes>,
}

impl Default for GatewayCacheSpec {
    fn default() -> Self {
        Self {
            memory: Bytes(256 << 20),
            disk: None,
        }
    }
}
