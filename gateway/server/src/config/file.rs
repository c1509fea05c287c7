//! The file as it is written. Nothing here is checked beyond its shape: texts are parsed where errors can name the field.

use std::path::PathBuf;

use serde::Deserialize;

use super::ByteSize;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct File {
    #[serde(default = "default_listen")]
    pub(super) listen: String,
    pub(super) public_url: Option<String>,
    pub(super) state_dir: PathBuf,
    pub(super) key_file: PathBuf,
    pub(super) s3: S3,
    pub(super) tokens: Tokens,
    pub(super) link: Option<Link>,
    #[serde(default)]
    pub(super) gateways: Vec<Gateway>,
    pub(super) committer: Option<Committer>,
    pub(super) epoch_floor: Option<u64>,
    #[serde(default)]
    pub(super) cache: Memory,
    pub(super) metrics: Option<Metrics>,
    pub(super) traces: Option<Traces>,
    #[serde(default)]
    pub(super) send: Send,
    #[serde(default)]
    pub(super) collect: Collect,
    #[serde(default)]
    pub(super) scrub: Scrub,
    #[serde(default)]
    pub(super) caches: Vec<Cache>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Metrics {
    pub(super) listen: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Traces {
    pub(super) otlp: String,
}

fn default_listen() -> String {
    "127.0.0.1:8080".to_owned()
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Link {
    pub(super) name: Option<String>,
    pub(super) listen: String,
    pub(super) cert_file: PathBuf,
    pub(super) key_file: PathBuf,
    pub(super) ca_file: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Gateway {
    pub(super) name: String,
    pub(super) url: String,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Committer {
    Flag(bool),
    Word(String),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct S3 {
    pub(super) endpoints: Vec<String>,
    pub(super) region: String,
    pub(super) bucket: String,
    pub(super) access_key_id: String,
    pub(super) secret_access_key_file: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Tokens {
    pub(super) hs256_secret_file: Option<PathBuf>,
    pub(super) rs256_secret_file: Option<PathBuf>,
    pub(super) rs256_public_key_file: Option<PathBuf>,
    pub(super) issuer: Option<String>,
    #[serde(default)]
    pub(super) audiences: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Memory {
    #[serde(default = "default_memory")]
    pub(super) memory: ByteSize,
    #[serde(default = "default_disk")]
    pub(super) disk: ByteSize,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            memory: default_memory(),
            disk: default_disk(),
        }
    }
}

fn default_disk() -> ByteSize {
    ByteSize(0)
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Collect {
    pub(super) every: Option<String>,
    pub(super) grace: Option<String>,
    pub(super) abandoned_after: Option<String>,
    pub(super) settle: Option<String>,
    pub(super) max_rate: Option<ByteSize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Send {
    pub(super) max_rate: Option<ByteSize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Scrub {
    pub(super) every: Option<String>,
    pub(super) max_rate: Option<ByteSize>,
}

fn default_memory() -> ByteSize {
    ByteSize(256 << 20)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Cache {
    pub(super) name: String,
    pub(super) public: Option<bool>,
    pub(super) priority: Option<i32>,
    pub(super) store_dir: Option<String>,
    pub(super) upstream_keys: Option<Vec<String>>,
    pub(super) retention: Option<String>,
    pub(super) max_size: Option<ByteSize>,
}
