//! The gateway's configuration file, parsed once: what leaves this room is typed, checked and complete.

mod file;
mod fleet;
mod load;
mod quantity;
mod upkeep;

pub use fleet::FleetConfig;
pub use load::{ConfigError, load, load_bucket};
pub use quantity::{ByteSize, Span};

use std::net::SocketAddr;
use std::path::PathBuf;

use hayloft_nixcache::token::{Signer, Verifier};
use hayloft_nixcache::{CacheName, StoreDir};
use hayloft_store::cluster_key::ClusterKey;
use hayloft_store::object::s3::S3Config;
use url::Url;

use crate::depot::Upkeep;

/// Everything that the gateway is told.
#[derive(Debug)]
pub struct Config {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The URL that clients reach it by, if it is fixed; its path ends in a slash.
    pub public_url: Option<Url>,
    /// The folder of the index and of what is being made.
    pub state_dir: PathBuf,
    /// The key that signs the log and seals secrets.
    pub key: ClusterKey,
    /// The bucket.
    pub s3: S3Config,
    /// Tokens: how they are verified and made.
    pub tokens: Tokens,
    /// The other gateways on the bucket; none: this one is alone.
    pub fleet: Option<FleetConfig>,
    /// Bytes of stored frames that are kept in memory.
    pub memory: ByteSize,
    /// Bytes a second that are sent to clients elsewhere, at the most; 0: no bound.
    pub uplink: u64,
    /// What the gateway does by itself.
    pub upkeep: Upkeep,
    /// Where metrics are served, if they are.
    pub metrics: Option<SocketAddr>,
    /// The OpenTelemetry collector that traces are sent to, if they are.
    pub traces: Option<Url>,
    /// Caches that this file declares.
    pub caches: Vec<DeclaredCache>,
}

/// The key for tokens.
#[derive(Debug)]
pub struct Tokens {
    /// Checks them.
    pub verifier: Verifier,
    /// Makes them; none when there is only a public key.
    pub signer: Option<Signer>,
    /// The `iss` of tokens made here.
    pub issuer: Option<String>,
    /// The `aud` of tokens made here.
    pub audiences: Vec<String>,
}

/// A cache that the file declares. What is `None` is not declared: it keeps its value, or gets the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredCache {
    /// Its name.
    pub name: CacheName,
    /// Whether everybody may pull.
    pub public: Option<bool>,
    /// The priority in nix-cache-info.
    pub priority: Option<i32>,
    /// The store directory.
    pub store_dir: Option<StoreDir>,
    /// Names of keys whose paths clients need not push.
    pub upstream_keys: Option<Vec<String>>,
    /// How long paths are kept, in seconds.
    pub retention: Option<u32>,
    /// Bytes that are sent for all its paths together, at the most.
    pub max_size: Option<ByteSize>,
}
