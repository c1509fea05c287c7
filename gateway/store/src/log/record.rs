//! Records: the facts that the log orders. Append only: variants and fields are never changed or reordered,
//! new ones go to the end, behind a new format version of the log object.

use hayloft_nixcache::{CacheName, StorePath, StorePathHash};
use serde::{Deserialize, Serialize};

use crate::Digest;
use crate::key::{PackName, Position};
use crate::pack::PackedFrame;

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// The first record of an epoch, alone in its object.
    EpochOpened(EpochOpened),
    /// A cache was made.
    CacheCreated(CacheRecord),
    /// A cache has these values from now on (all of them).
    CacheConfigured(CacheRecord),
    /// A cache is gone, with all its paths.
    CacheDestroyed(CacheName),
    /// A pack is in the bucket.
    PackAdded(PackRecord),
    /// A path is in a cache, or has new metadata there.
    PathAdded(PathRecord),
    /// A path is gone; its NAR hash stays known.
    PathRemoved {
        /// The cache.
        cache: CacheName,
        /// The path.
        path: StorePath,
    },
    /// Something stored is missing or is not what was stored.
    Damaged(DamageRecord),
    /// Nothing may be read from these packs any more, for ever: what was needed of them lies elsewhere. Their
    /// objects may go. Also names packs that nothing else names: uploads that never ended.
    PacksCondemned(Vec<PackName>),
    /// Paths were asked for on a day.
    PathsUsed {
        /// Days since 1970, by the clock of the gateway that was asked.
        day: u32,
        /// The cache.
        cache: CacheName,
        /// The paths.
        paths: Vec<StorePathHash>,
    },
    /// Paths are kept, with all that they refer to. A pin of that name is replaced.
    Pinned {
        /// The cache.
        cache: CacheName,
        /// The pin's name.
        name: String,
        /// The paths.
        paths: Vec<StorePathHash>,
        /// Milliseconds since 1970; none: for ever.
        until: Option<i64>,
    },
    /// A pin is gone.
    Unpinned {
        /// The cache.
        cache: CacheName,
        /// The pin's name.
        name: String,
    },
    /// A push was refused, for the path has another NAR hash.
    NarHashConflict {
        /// The cache.
        cache: CacheName,
        /// The path.
        path: StorePath,
        /// The NAR hash it has.
        known: [u8; 32],
        /// What was pushed.
        given: [u8; 32],
    },
    /// How large a cache may become.
    CacheLimited {
        /// The cache.
        name: CacheName,
        /// Bytes that are sent for all its paths together; none: no limit.
        max_bytes: Option<u64>,
    },
    /// The objects of condemned packs are gone from the bucket.
    PacksDeleted(Vec<PackName>),
    /// Paths that nothing keeps are gone from a cache; their NAR hashes stay known.
    PathsCollected {
        /// The cache.
        cache: CacheName,
        /// The paths.
        paths: Vec<StorePathHash>,
    },
}

impl Record {
    /// The first format of log objects that may hold it.
    #[must_use]
    pub const fn since(&self) -> u32 {
        match self {
            Self::EpochOpened(_)
            | Self::CacheCreated(_)
            | Self::CacheConfigured(_)
            | Self::CacheDestroyed(_)
            | Self::PackAdded(_)
            | Self::PathAdded(_)
            | Self::PathRemoved { .. }
            | Self::Damaged(_) => 1,
            Self::PacksCondemned(_)
            | Self::PathsUsed { .. }
            | Self::Pinned { .. }
            | Self::Unpinned { .. }
            | Self::NarHashConflict { .. }
            | Self::CacheLimited { .. }
            | Self::PacksDeleted(_)
            | Self::PathsCollected { .. } => 2,
        }
    }
}

/// Opens an epoch, and ends every older one: `after` is the last object that counts before this one. What
/// `after` does not lead back to, by its own epoch's opening and so on, never counted and never will.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochOpened {
    /// None: the log begins here.
    pub after: Option<Position>,
}

/// A cache and its settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheRecord {
    /// Its name.
    pub name: CacheName,
    /// Its signing key in Nix's form, sealed with the name as context.
    pub sealed_key: Vec<u8>,
    /// Whether anyone may read it.
    pub is_public: bool,
    /// The store directory of all its paths.
    pub store_dir: String,
    /// Nix's priority.
    pub priority: i32,
    /// Names of keys whose signed paths clients need not push.
    pub upstream_keys: Vec<String>,
    /// Seconds.
    pub retention: Option<u32>,
    /// Milliseconds since 1970.
    pub created_at: i64,
}

/// A pack and where everything lies in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackRecord {
    /// Its name.
    pub name: PackName,
    /// BLAKE3 of the object.
    pub digest: Digest,
    /// Bytes of the object.
    pub size: u64,
    /// What it holds.
    pub frames: Vec<PackedFrame>,
}

/// A path in a cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathRecord {
    /// The cache.
    pub cache: CacheName,
    /// The path.
    pub path: StorePath,
    /// SHA-256 of the NAR.
    pub nar_hash: [u8; 32],
    /// Bytes of the NAR.
    pub nar_size: u64,
    /// Base names, sorted, each once.
    pub references: Vec<String>,
    /// Base name of the derivation.
    pub deriver: Option<String>,
    /// Content address.
    pub ca: Option<String>,
    /// Signatures that came with the upload.
    pub sigs: Vec<String>,
    /// The subject of the token that pushed it.
    pub created_by: Option<String>,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// The manifest's stored form.
    pub manifest: Vec<u8>,
}

/// What was found damaged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamageRecord {
    /// Packs that are not in the bucket any more, or no packs at all.
    pub packs: Vec<PackName>,
    /// Frames that are not what they were, as they lie in a pack.
    pub frames: Vec<(PackName, Digest)>,
}
