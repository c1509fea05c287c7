//! The bucket, its key, and the secrets.

use std::collections::BTreeSet;

use hayloft_api::{Bytes, HostName};
use jiff::Timestamp;

/// The bucket and its key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    /// Whether the key exists.
    pub key: bool,
    /// Whether the key may make buckets, which it needs not.
    pub key_creates: bool,
    /// The bucket, if it exists.
    pub bucket: Option<BucketFacts>,
    /// Other keys that may do something with the bucket.
    pub strangers: BTreeSet<String>,
    /// The coordinator's own admin token.
    pub token: AdminTokenFacts,
}

/// The bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketFacts {
    /// Whether the key may read and write it.
    pub allowed: bool,
    /// Whether the key may also administer it, which it needs not.
    pub owner: bool,
    /// Whether it is found by its name; else only by the id that was remembered.
    pub alias: bool,
    /// Its limit in bytes, one copy counted.
    pub quota: Option<Bytes>,
    /// Whether it is limited in objects.
    pub object_quota: bool,
    /// Whether it is served as a web site.
    pub website: bool,
    /// Whether it has rules that delete objects by themselves.
    pub lifecycle: bool,
    /// Whether it has CORS rules.
    pub cors: bool,
    /// Bytes in it, one copy counted.
    pub bytes: Bytes,
}

impl BucketFacts {
    /// A bucket as it should be, with so many bytes in it.
    pub fn good(bytes: Bytes) -> Self {
        Self {
            allowed: true,
            owner: false,
            alias: true,
            quota: None,
            object_quota: false,
            website: false,
            lifecycle: false,
            cors: false,
            bytes,
        }
    }
}

impl Access {
    /// Whether a gateway can work with it.
    pub fn ready(&self) -> bool {
        self.key && self.bucket.is_some_and(|bucket| bucket.allowed && bucket.alias)
    }
}

/// The admin token of Garage's own kind that the coordinator uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AdminTokenFacts {
    /// Nobody looked.
    #[default]
    Unknown,
    /// There is none but the static one.
    Missing,
    /// There is one.
    Held {
        /// Until when it is good.
        expires: Timestamp,
        /// Whether it may do just what the coordinator does.
        scoped: bool,
    },
}

/// What evicted hosts still know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SecretsFacts {
    /// Hosts that were evicted and know secrets that are still in use.
    pub known_to: BTreeSet<HostName>,
    /// Hosts that do not have the new secrets yet, while they are being renewed.
    pub behind: BTreeSet<HostName>,
    /// How far that has come.
    pub renewal: Renewal,
}

/// How far a renewal of secrets has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Renewal {
    /// None was begun.
    #[default]
    None,
    /// New secrets were made and told to hosts, which go on using the old ones.
    Staged {
        /// Since when.
        since: Timestamp,
        /// Hosts that are there and have not written them down yet.
        lacking: BTreeSet<HostName>,
    },
    /// All were told to use the new ones; what else the evicted hosts knew is being renewed.
    Switched,
}
