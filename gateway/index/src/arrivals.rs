//! What comes while somebody collects: a path that is added or pinned may need what was found to be needed by nobody.

use std::sync::{Mutex, PoisonError};

use hayloft_nixcache::{CacheName, StorePathHash};
use hayloft_store::log::record::Record;

use crate::Index;

/// Arrivals that are remembered; with more, whoever collects begins again.
const MOST: usize = 20_000;

/// Something came that collection must know of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// These paths are there or are referred to by one that is.
    Paths {
        /// The cache.
        cache: CacheName,
        /// The paths.
        hashes: Vec<StorePathHash>,
    },
    /// The rules of this cache changed.
    Rules(CacheName),
}

/// More came than is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

#[derive(Debug, Default)]
struct Noted {
    arrivals: Vec<Arrival>,
    overflow: bool,
}

/// Notes arrivals while someone collects.
#[derive(Debug, Default)]
pub(crate) struct Arrivals(Mutex<Option<Noted>>);

impl Arrivals {
    pub(crate) fn note(&self, records: &[Record]) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(noted) = noted.as_mut() else { return };
        for arrival in records.iter().filter_map(arrival) {
            if noted.arrivals.len() == MOST {
                noted.overflow = true;
                return;
            }
            noted.arrivals.push(arrival);
        }
    }

    /// Whether someone who collects has not seen all.
    pub(crate) fn unseen(&self) -> bool {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted
            .as_ref()
            .is_none_or(|noted| noted.overflow || !noted.arrivals.is_empty())
    }
}

fn arrival(record: &Record) -> Option<Arrival> {
    match record {
        Record::PathAdded(path) => {
            let references = path
                .references
                .iter()
                .filter_map(|name| StorePathHash::from_bytes(name.as_bytes().get(..32)?).ok());
            Some(Arrival::Paths {
                cache: path.cache.clone(),
                hashes: std::iter::once(path.path.hash()).chain(references).collect(),
            })
        }
        Record::Pinned { cache, paths, .. } => Some(Arrival::Paths {
            cache: cache.clone(),
            hashes: paths.clone(),
        }),
        Record::CacheConfigured(cache) => Some(Arrival::Rules(cache.name.clone())),
        Record::CacheDestroyed(cache) | Record::CacheLimited { name: cache, .. } => {
            Some(Arrival::Rules(cache.clone()))
        }
        _ => None,
    }
}

impl Index {
    /// From now on arrivals are noted, until [`Index::ignore_arrivals`].
    pub fn watch_arrivals(&self) {
        *self.arrivals.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Noted::default());
    }

    /// No more arrivals are noted.
    pub fn ignore_arrivals(&self) {
        *self.arrivals.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What came since it was asked last.
    ///
    /// # Errors
    /// When more came than is remembered, or nobody watched.
    pub fn arrivals(&self) -> Result<Vec<Arrival>, Overflow> {
        let mut noted = self.arrivals.0.lock().unwrap_or_else(PoisonError::into_inner);
        match noted.as_mut() {
            Some(noted) if !noted.overflow => Ok(std::mem::take(&mut noted.arrivals)),
            _ => Err(Overflow),
        }
    }
}
