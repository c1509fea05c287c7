//! The bucket, as the store needs it: put, get, list, delete. Two implementations: S3 ([`s3`]), and one in
//! memory ([`memory`]) that can be told to fail, for tests of crashes.

pub mod endpoints;
pub mod memory;
pub mod s3;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;

/// Any error, boxed.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why the bucket did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// There is no such object. Never said for a bucket that does not answer.
    #[error("{key} is not in the bucket")]
    NotFound {
        /// The object.
        key: String,
    },
    /// No endpoint did it: connections, timeouts, 5xx. It may do it later.
    #[error("the bucket does not answer ({what} {key})")]
    Unavailable {
        /// What was asked.
        what: &'static str,
        /// Of which object or prefix.
        key: String,
        /// What the last endpoint that was tried said.
        #[source]
        source: Cause,
    },
    /// The endpoints answer, and refuse: wrong key, no such bucket.
    #[error("the bucket refuses ({what} {key})")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// Of which object or prefix.
        key: String,
        /// What it said.
        #[source]
        source: Cause,
    },
}

impl ObjectError {
    /// Whether the object is known not to be there.
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}

/// A part of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Keys in ascending order.
    pub keys: Vec<String>,
    /// The objects' bytes, in the order of the keys.
    pub sizes: Vec<u64>,
    /// Whether there are more behind the last.
    pub more: bool,
}

/// The answer of a bucket.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, ObjectError>>;

/// A bucket whose writes are seen by every later read and listing (Garage's `consistency_mode = "consistent"`).
pub trait ObjectStore: Send + Sync {
    /// Writes an object, whole.
    fn put<'a>(&'a self, key: &'a str, body: Bytes) -> Answer<'a, ()>;
    /// Reads an object, whole.
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Bytes>;
    /// Reads a part of an object: these bytes, or fewer when the object ends before them.
    fn get_range<'a>(&'a self, key: &'a str, range: Range<u64>) -> Answer<'a, Bytes>;
    /// Lists keys that begin with `prefix` and sort behind `after`.
    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a str>) -> Answer<'a, Page>;
    /// Removes an object; no error when it is not there.
    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()>;
}

/// A bucket that tasks share.
pub type SharedStore = Arc<dyn ObjectStore>;

/// Lists all keys that begin with `prefix` and sort behind `after`, page by page.
///
/// # Errors
/// When a page cannot be had.
pub async fn list_all(
    store: &dyn ObjectStore,
    prefix: &str,
    after: Option<&str>,
) -> Result<Vec<String>, ObjectError> {
    let mut keys: Vec<String> = Vec::new();
    loop {
        let last = keys.last().map(String::as_str).or(after);
        let page = store.list(prefix, last).await?;
        let end = !page.more || page.keys.is_empty();
        keys.extend(page.keys);
        if end {
            return Ok(keys);
        }
    }
}
