//! What the depot takes and gives. No I/O here.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use hayloft_index::StoredPath;
use hayloft_nixcache::{CacheName, KeyPair, NarHash, PublicKey, StorePath, StorePathHash};
use hayloft_store::cluster_key::ClusterKey;
use hayloft_store::object::s3::S3Config;
use tokio::sync::watch;

use super::collect::CollectSettings;
use super::error::ReadError;
use super::scrub::ScrubSettings;

/// Tells the time. Comes in from `main`.
pub type Clock = Arc<dyn Fn() -> jiff::Timestamp + Send + Sync>;

/// What the depot needs from the outside world besides the bucket.
#[derive(Clone)]
pub struct Effects {
    /// Wall clock; only for times that people see, never for decisions of safety.
    pub clock: Clock,
    /// Seed of the depot's random numbers: names of packs and epochs, nonces, cache keys.
    pub seed: [u8; 32],
}

impl fmt::Debug for Effects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Effects { .. }")
    }
}

/// Everything [`super::Depot::open`] must know.
#[derive(Clone, Debug)]
pub struct DepotConfig {
    /// The bucket: where and as whom it is asked, which may change while the depot is open.
    pub s3: watch::Receiver<S3Config>,
    /// A private folder; the index lives in it as `index.sqlite`.
    pub state_dir: PathBuf,
    /// From it come the log-signing key and the sealing key.
    pub key: ClusterKey,
    /// Bytes of frames kept in memory for reading again.
    pub memory: u64,
    /// What it does by itself.
    pub upkeep: Upkeep,
}

/// What the depot does by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upkeep {
    /// How what nobody needs is collected.
    pub collect: CollectSettings,
    /// How what is stored is looked through for damage.
    pub scrub: ScrubSettings,
    /// Bytes of frames kept on disk below the state folder; 0: none.
    pub disk: u64,
}

/// A cache, with the secret it signs with.
#[derive(Clone, Debug)]
pub struct Cache {
    /// Its name.
    pub name: CacheName,
    /// What its narinfos are signed with.
    pub keypair: KeyPair,
    /// The public half.
    pub public_key: PublicKey,
    /// Whether anyone may read it.
    pub is_public: bool,
    /// The store directory of all its paths, usually `/nix/store`.
    pub store_dir: String,
    /// Nix's priority; lower is asked first.
    pub priority: i32,
    /// Names of keys whose signed paths clients need not push.
    pub upstream_cache_key_names: Vec<String>,
    /// How long unused paths are kept, in seconds; none: the default.
    pub retention: Option<u32>,
    /// When it was made.
    pub created_at: jiff::Timestamp,
}

/// A cache to make.
#[derive(Clone, Debug)]
pub struct NewCache {
    /// Its name; must be free.
    pub name: CacheName,
    /// Its signing key; none: a fresh one named after the cache.
    pub keypair: Option<KeyPair>,
    /// Whether anyone may read it.
    pub is_public: bool,
    /// The store directory of all its paths.
    pub store_dir: String,
    /// Nix's priority.
    pub priority: i32,
    /// Names of keys whose signed paths clients need not push.
    pub upstream_cache_key_names: Vec<String>,
    /// How long unused paths are kept, in seconds.
    pub retention: Option<u32>,
}

/// Changes to a cache; what is none stays.
#[derive(Clone, Debug, Default)]
pub struct CachePatch {
    /// A new signing key.
    pub keypair: Option<NewKey>,
    /// Whether anyone may read it.
    pub is_public: Option<bool>,
    /// The store directory of all its paths.
    pub store_dir: Option<String>,
    /// Nix's priority.
    pub priority: Option<i32>,
    /// Names of keys whose signed paths clients need not push.
    pub upstream_cache_key_names: Option<Vec<String>>,
    /// `Some(None)`: back to the default.
    pub retention: Option<Option<u32>>,
}

/// Where a new signing key comes from.
#[derive(Clone, Debug)]
pub enum NewKey {
    /// Made by the depot, named after the cache.
    Generate,
    /// Given.
    Given(KeyPair),
}

/// A path as a cache knows it: everything a narinfo needs.
#[derive(Clone, Debug)]
pub struct PathEntry {
    /// The cache it is in.
    pub cache: CacheName,
    /// The hash part of the store path.
    pub hash: StorePathHash,
    /// The whole store path.
    pub store_path: StorePath,
    /// SHA-256 of the NAR.
    pub nar_hash: NarHash,
    /// Bytes of the NAR.
    pub nar_size: u64,
    /// Base names, sorted, each once.
    pub references: Vec<String>,
    /// Base name of the derivation.
    pub deriver: Option<String>,
    /// Content address.
    pub ca: Option<String>,
    /// Signatures that came with the upload, as `name:base64`.
    pub sigs: Vec<String>,
    /// Bytes that are sent for the NAR (zstd).
    pub file_size: u64,
    /// BLAKE3 of the manifest, hex. A strong entity tag (without quotes).
    pub etag: String,
    /// When the record was made.
    pub created_at: jiff::Timestamp,
    /// The subject of the token that pushed it.
    pub created_by: Option<String>,
}

impl PathEntry {
    pub(super) fn new(cache: CacheName, hash: StorePathHash, path: &StoredPath) -> Self {
        Self {
            cache,
            hash,
            store_path: path.path.clone(),
            nar_hash: path.nar_hash,
            nar_size: path.nar_size,
            references: path.references.clone(),
            deriver: path.deriver.clone(),
            ca: path.ca.clone(),
            sigs: path.sigs.clone(),
            file_size: path.file_size,
            etag: path.etag.to_hex(),
            created_at: jiff::Timestamp::from_millisecond(path.created_at).unwrap_or_default(),
            created_by: path.created_by.clone(),
        }
    }
}

/// What became of an upload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Uploaded {
    /// Nothing new had to be stored.
    pub deduplicated: bool,
    /// Bytes that will be sent for this NAR.
    pub file_size: u64,
    /// Part of the NAR's bytes that was there already, 0 to 1.
    pub frac_deduplicated: f64,
}

/// A NAR on its way out: concatenated zstd frames.
pub struct NarBody {
    /// Exactly the number of bytes that `stream` yields.
    pub length: u64,
    /// Bytes of the whole body, which is more than `length` for a range.
    pub total: u64,
    /// A strong entity tag (without quotes).
    pub etag: String,
    /// Verified bytes, in order.
    pub stream: BoxStream<'static, Result<Bytes, ReadError>>,
}

impl fmt::Debug for NarBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NarBody")
            .field("length", &self.length)
            .field("etag", &self.etag)
            .finish_non_exhaustive()
    }
}
