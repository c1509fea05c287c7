//! The JSON of attic's API, as its client sends and expects it.

use serde::{Deserialize, Serialize};

use crate::{CacheName, KeyPair, PublicKey, StoreDir, StorePathHash};

/// The header that carries an [`UploadInfo`](crate::UploadInfo) when it is small.
pub const NAR_INFO_HEADER: &str = "x-attic-nar-info";
/// The header that says how many bytes of the body, from its beginning, are the upload info.
pub const NAR_INFO_PREAMBLE_HEADER: &str = "x-attic-nar-info-preamble-size";
/// The header that marks answers of a public cache.
pub const VISIBILITY_HEADER: &str = "x-attic-cache-visibility";
/// What the client `celler` calls [`NAR_INFO_HEADER`].
pub const CELLER_NAR_INFO_HEADER: &str = "x-celler-nar-info";
/// What the client `celler` calls [`NAR_INFO_PREAMBLE_HEADER`].
pub const CELLER_NAR_INFO_PREAMBLE_HEADER: &str = "x-celler-nar-info-preamble-size";
/// What the client `celler` calls [`VISIBILITY_HEADER`].
pub const CELLER_VISIBILITY_HEADER: &str = "x-celler-cache-visibility";
/// The longest upload info in a header: attic's client switches to the preamble from here on.
pub const MAX_NAR_INFO_IN_HEADER: usize = 4096;
/// The longest upload info in a preamble.
pub const MAX_NAR_INFO: usize = 1024 * 1024;

/// How long paths of a cache are kept: `"Global"`, or `{"Period": seconds}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Retention {
    /// As long as the server keeps them by default.
    Global,
    /// This many seconds; 0 keeps them for ever.
    Period(u32),
}

/// What `GET /_api/v1/cache-config/{cache}` answers. Clients take every field as optional, so a missing one is no error.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CacheConfig {
    /// The URL that Nix substitutes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub substituter_endpoint: Option<String>,
    /// The URL that the API is under; clients send what follows to it, tokens included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_endpoint: Option<String>,
    /// The key that clients must trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<PublicKey>,
    /// Whether everybody may pull.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_public: Option<bool>,
    /// The store directory of all paths in the cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_dir: Option<StoreDir>,
    /// The priority in nix-cache-info; lower is asked earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// Names of keys whose paths clients need not push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_cache_key_names: Option<Vec<String>>,
    /// How long paths are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_period: Option<Retention>,
}

/// Which signing key a cache gets. Holds a secret when it is not `Generate`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub enum KeypairConfig {
    /// A new one, named after the cache.
    Generate,
    /// This one.
    Keypair(KeyPair),
}

impl Serialize for KeypairConfig {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Generate => serializer.serialize_unit_variant("KeypairConfig", 0, "Generate"),
            Self::Keypair(pair) => serializer.serialize_newtype_variant(
                "KeypairConfig",
                1,
                "Keypair",
                pair.expose_secret().as_str(),
            ),
        }
    }
}

/// The body of `POST /_api/v1/cache-config/{cache}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateCache {
    /// The signing key.
    pub keypair: KeypairConfig,
    /// Whether everybody may pull.
    pub is_public: bool,
    /// The store directory of all paths in the cache.
    pub store_dir: StoreDir,
    /// The priority in nix-cache-info; lower is asked earlier.
    pub priority: i32,
    /// Names of keys whose paths clients need not push.
    pub upstream_cache_key_names: Vec<String>,
}

/// The body of `PATCH /_api/v1/cache-config/{cache}`: what is absent stays. Fields that nobody may set are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PatchCache {
    /// The signing key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keypair: Option<KeypairConfig>,
    /// Whether everybody may pull.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_public: Option<bool>,
    /// The store directory of all paths in the cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_dir: Option<StoreDir>,
    /// The priority in nix-cache-info.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// Names of keys whose paths clients need not push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_cache_key_names: Option<Vec<String>>,
    /// How long paths are kept. Attic's client sends this always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_period: Option<Retention>,
}

/// The body of `POST /_api/v1/get-missing-paths`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetMissingPathsRequest {
    /// The cache to look in.
    pub cache: CacheName,
    /// The paths to look for.
    pub store_path_hashes: Vec<StorePathHash>,
}

/// The answer: those that the cache does not have, without order and repetitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetMissingPathsResponse {
    /// The missing ones.
    pub missing_paths: Vec<StorePathHash>,
}

/// What became of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum UploadKind {
    /// The NAR was stored.
    Uploaded,
    /// The NAR was there already.
    Deduplicated,
    /// Something that a newer server says; the upload succeeded.
    #[serde(other)]
    Other,
}

/// What `PUT /_api/v1/upload-path` answers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct UploadResult {
    /// What became of it.
    pub kind: UploadKind,
    /// The length in bytes of the stored, compressed NAR.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_size: Option<u64>,
    /// The part of the NAR that was stored already, from 0 to 1.
    #[serde(default)]
    pub frac_deduplicated: Option<f64>,
}

/// What every refusal by the API looks like. Attic's client prints `error: message`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The HTTP status.
    pub code: u16,
    /// The error's name, such as `NoSuchCache`.
    pub error: String,
    /// A sentence for people.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn retention_and_keys_have_attics_forms() {
        assert_eq!(serde_json::to_value(Retention::Global).unwrap(), json!("Global"));
        assert_eq!(
            serde_json::to_value(Retention::Period(60)).unwrap(),
            json!({"Period": 60})
        );
        assert_eq!(
            serde_json::to_value(KeypairConfig::Generate).unwrap(),
            json!("Generate")
        );
        let pair = KeyPair::from_seed("main", [7; 32]).unwrap();
        let given = json!({"Keypair": pair.expose_secret().as_str()});
        let config: KeypairConfig = serde_json::from_value(given.clone()).unwrap();
        assert_eq!(config, KeypairConfig::Keypair(pair));
        assert_eq!(serde_json::to_value(config).unwrap(), given);
    }

    #[test]
    fn a_patch_ignores_what_nobody_may_set() {
        let patch: PatchCache = serde_json::from_value(json!({
            "public_key": "main:AAAA", "api_endpoint": "http://x/", "is_public": true, "priority": null,
        }))
        .unwrap();
        assert_eq!(
            patch,
            PatchCache {
                is_public: Some(true),
                ..PatchCache::default()
            }
        );
    }

    #[test]
    fn an_upload_result_of_a_newer_server_is_still_one() {
        let result: UploadResult = serde_json::from_value(json!({"kind": "Queued"})).unwrap();
        assert_eq!(result.kind, UploadKind::Other);
        let result = UploadResult {
            kind: UploadKind::Uploaded,
            file_size: None,
            frac_deduplicated: None,
        };
        let expected = json!({"kind": "Uploaded", "frac_deduplicated": null});
        assert_eq!(serde_json::to_value(result).unwrap(), expected);
    }
}
