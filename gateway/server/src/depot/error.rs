//! How each of the depot's doors can fail.

use hayloft_nixcache::nar::NarError;
use hayloft_nixcache::{CacheName, NarHash};

/// Any error, boxed.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why the depot could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The bucket does not answer, or refuses.
    #[error("the bucket cannot be used")]
    Bucket(#[source] hayloft_store::object::ObjectError),
    /// The bucket holds something this version cannot read, or that was tampered with.
    #[error("the log in the bucket cannot be followed")]
    Log(#[source] hayloft_store::log::LogError),
    /// A log object that must be there is not.
    #[error("{object} is missing from the bucket: the log has a hole and cannot be followed past it")]
    Hole {
        /// Its key.
        object: String,
    },
    /// The bucket was written by a newer version.
    #[error("the bucket's format is {found}, this version reads {known}: use a newer hayloft-gateway")]
    Format {
        /// What the bucket says.
        found: u32,
        /// What this version reads.
        known: u32,
    },
    /// The index in the state folder cannot be used.
    #[error("the index in the state folder cannot be used")]
    Index(#[source] hayloft_index::IndexError),
    /// The state folder cannot be made.
    #[error("the state folder {} cannot be made", path.display())]
    StateDir {
        /// The folder.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The cluster key does not work.
    #[error("the cluster key cannot be used")]
    Key(#[source] hayloft_store::cluster_key::SecretError),
    /// Another gateway took over while this one started.
    #[error("another gateway opened a newer epoch on this bucket; only one may write at a time")]
    Deposed,
    /// What counts cannot be shown.
    #[error("what counts cannot be shown")]
    Show(#[source] BoxError),
    /// The index holds what does not count.
    #[error(
        "the index holds records that do not count any more: restart the gateway, it makes the index again"
    )]
    Astray,
    /// A record names a key that this cluster key cannot open.
    #[error("the signing key of cache {cache} cannot be opened with this cluster key")]
    Sealed {
        /// The cache.
        cache: CacheName,
    },
}

/// Why a question or a change failed.
#[derive(Debug, thiserror::Error)]
pub enum DepotError {
    /// There is such a cache already.
    #[error("there is already a cache named {0}")]
    CacheExists(CacheName),
    /// There is no such cache.
    #[error("there is no cache named {0}")]
    NoSuchCache(CacheName),
    /// The index did not answer.
    #[error("the index does not answer")]
    Index(#[source] hayloft_index::IndexError),
    /// Nothing can be written now.
    #[error("{0}")]
    Unavailable(String),
    /// A value that cannot be stored.
    #[error("{0}")]
    Invalid(String),
}

/// Why an upload was not taken. Nothing of the path is visible then.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// There is no such cache.
    #[error("there is no cache named {0}")]
    NoSuchCache(CacheName),
    /// The path is not in this cache's store directory.
    #[error("cache {cache} holds paths of {expected}, not {given}")]
    StoreDir {
        /// The cache.
        cache: CacheName,
        /// Its store directory.
        expected: String,
        /// The path's.
        given: String,
    },
    /// The body is another NAR than announced.
    #[error("the NAR's hash is {actual}, but {expected} was announced")]
    HashMismatch {
        /// Announced.
        expected: NarHash,
        /// Computed.
        actual: NarHash,
    },
    /// The body is longer or shorter than announced.
    #[error("the NAR has {actual}{} bytes, but {expected} were announced", if *.more { " or more" } else { "" })]
    SizeMismatch {
        /// Announced.
        expected: u64,
        /// Seen.
        actual: u64,
        /// Reading stopped there.
        more: bool,
    },
    /// The body is no NAR.
    #[error("the body is not a valid NAR")]
    Nar(#[source] NarError),
    /// The body broke off or could not be read.
    #[error("the body could not be read to its end")]
    Body(#[source] BoxError),
    /// The path is known with other contents.
    #[error(
        "this cache knows the path with NAR hash {known}, and a path's contents never change: rebuild it, or push it to another cache (the pushed one has {given})"
    )]
    OtherNarHash {
        /// What the cache holds.
        known: NarHash,
        /// What was pushed.
        given: NarHash,
    },
    /// Nothing can be stored now; try again.
    #[error("{0}")]
    Unavailable(String),
    /// The index did not answer.
    #[error("the index does not answer")]
    Index(#[source] hayloft_index::IndexError),
}

/// Why a NAR was not sent, or not to its end.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// What is stored is missing or not what was stored; the path now counts as missing.
    #[error("the stored NAR is damaged; the path is reported missing until it is pushed again")]
    Damaged,
    /// The path went away.
    #[error("the path is not there any more")]
    Gone,
    /// The requested range is not within the body.
    #[error("the range is not within the {length} bytes of the body")]
    Range {
        /// Bytes of the body.
        length: u64,
    },
    /// The bucket does not answer; try again.
    #[error("{0}")]
    Unavailable(String),
}

/// An error with its causes, in one line for the log.
pub(super) fn sentence(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
