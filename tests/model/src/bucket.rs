//! A bucket that reads and writes by quorum.
//!
//! A write that has begun and of which nobody knows the end is *partial*: every read may see it or not, and the next may
//! see it otherwise. That covers a request that comes late, is lost, or whose answer is lost. A write that ended well is
//! *durable*: every read that begins later sees it. A listing sees what was durable when it began, and of the rest what
//! chance will have.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use hayloft_store::Digest;
use hayloft_store::key::{EpochId, LogPlace, PackName, Position};
use hayloft_store::log::record::Record;

/// What lies in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Bucket {
    /// Claims; whether they are durable.
    pub(crate) claims: BTreeMap<EpochId, bool>,
    /// Marks that an epoch is over; whether they are durable.
    pub(crate) marks: BTreeMap<EpochId, bool>,
    pub(crate) log: BTreeMap<LogPlace, Object>,
    /// Packs are named only after they are durable.
    pub(crate) packs: BTreeSet<PackName>,
}

/// A log object.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) position: Position,
    pub(crate) before: Digest,
    pub(crate) records: Arc<Vec<Record>>,
    pub(crate) durable: bool,
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.position == other.position && self.durable == other.durable
    }
}

impl Eq for Object {}

impl Hash for Object {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The digest stands for the rest.
        self.position.digest.hash(state);
        self.durable.hash(state);
    }
}

impl Bucket {
    /// Begins to write a log object.
    pub(crate) fn put_log(&mut self, object: Object) {
        self.log
            .entry(object.position.place)
            .and_modify(|there| {
                if there.position != object.position {
                    *there = object.clone();
                }
            })
            .or_insert(object);
    }

    pub(crate) fn durable_claims(&self) -> BTreeSet<EpochId> {
        durable(&self.claims)
    }

    pub(crate) fn durable_log(&self) -> BTreeSet<LogPlace> {
        self.log
            .iter()
            .filter(|(_, object)| object.durable)
            .map(|(place, _)| *place)
            .collect()
    }
}

fn durable(keys: &BTreeMap<EpochId, bool>) -> BTreeSet<EpochId> {
    keys.iter()
        .filter(|(_, durable)| **durable)
        .map(|(epoch, _)| *epoch)
        .collect()
}

/// All that a listing may show: what was durable when it began, with any of what is there when it ends.
pub(crate) fn listings<K: Ord + Copy>(
    began: &BTreeSet<K>,
    there: impl Iterator<Item = K>,
) -> Vec<BTreeSet<K>> {
    let mut all = vec![began.clone()];
    for key in there.filter(|key| !began.contains(key)) {
        let with: Vec<BTreeSet<K>> = all
            .iter()
            .map(|seen| seen.iter().copied().chain([key]).collect())
            .collect();
        all.extend(with);
    }
    all
}
