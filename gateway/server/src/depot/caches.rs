//! The caches as they are now, with their keys opened; asked by every request, so kept in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use hayloft_index::Index;
use hayloft_nixcache::{CacheName, KeyPair};
use hayloft_store::cluster_key::Sealer;
use hayloft_store::log::record::CacheRecord;

use super::error::{DepotError, OpenError};
use super::random::Random;
use super::types::{Cache, CachePatch, NewCache, NewKey};

/// All caches.
pub(super) struct Caches {
    sealer: Sealer,
    now: RwLock<Arc<BTreeMap<CacheName, Cache>>>,
}

impl Caches {
    pub(super) fn new(sealer: Sealer) -> Self {
        Self {
            sealer,
            now: RwLock::default(),
        }
    }

    pub(super) fn all(&self) -> Arc<BTreeMap<CacheName, Cache>> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads them again from the index.
    pub(super) async fn refresh(&self, index: &Index) -> Result<(), OpenError> {
        let mut caches = BTreeMap::new();
        for record in index.caches().await.map_err(OpenError::Index)? {
            let cache = self.open(record)?;
            caches.insert(cache.name.clone(), cache);
        }
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(caches);
        Ok(())
    }

    fn open(&self, record: CacheRecord) -> Result<Cache, OpenError> {
        let CacheRecord {
            name,
            sealed_key,
            is_public,
            store_dir,
            priority,
            upstream_keys,
            retention,
            created_at,
        } = record;
        let sealed = || OpenError::Sealed { cache: name.clone() };
        let key = self
            .sealer
            .open(name.as_str(), &sealed_key)
            .map_err(|_| sealed())?;
        let key = std::str::from_utf8(&key).map_err(|_| sealed())?;
        let keypair: KeyPair = key.parse().map_err(|_| sealed())?;
        Ok(Cache {
            public_key: keypair.public_key(),
            keypair,
            is_public,
            store_dir,
            priority,
            upstream_cache_key_names: upstream_keys,
            retention,
            created_at: jiff::Timestamp::from_millisecond(created_at).unwrap_or_default(),
            name,
        })
    }

    /// The record that makes a cache.
    pub(super) fn create(
        &self,
        new: NewCache,
        now: jiff::Timestamp,
        random: &Random,
    ) -> Result<CacheRecord, DepotError> {
        let NewCache {
            name,
            keypair,
            is_public,
            store_dir,
            priority,
            upstream_cache_key_names,
            retention,
        } = new;
        let keypair = match keypair {
            Some(keypair) => keypair,
            None => generate(&name, random)?,
        };
        Ok(CacheRecord {
            sealed_key: self.seal(&name, &keypair, random)?,
            name,
            is_public,
            store_dir,
            priority,
            upstream_keys: upstream_cache_key_names,
            retention,
            created_at: now.as_millisecond(),
        })
    }

    /// The record that changes a cache.
    pub(super) fn configure(
        &self,
        cache: &Cache,
        patch: CachePatch,
        random: &Random,
    ) -> Result<CacheRecord, DepotError> {
        let CachePatch {
            keypair,
            is_public,
            store_dir,
            priority,
            upstream_cache_key_names,
            retention,
        } = patch;
        let keypair = match keypair {
            None => cache.keypair.clone(),
            Some(NewKey::Given(keypair)) => keypair,
            Some(NewKey::Generate) => generate(&cache.name, random)?,
        };
        Ok(CacheRecord {
            name: cache.name.clone(),
            sealed_key: self.seal(&cache.name, &keypair, random)?,
            is_public: is_public.unwrap_or(cache.is_public),
            store_dir: store_dir.unwrap_or_else(|| cache.store_dir.clone()),
            priority: priority.unwrap_or(cache.priority),
            upstream_keys: upstream_cache_key_names.unwrap_or_else(|| cache.upstream_cache_key_names.clone()),
            retention: retention.unwrap_or(cache.retention),
            created_at: cache.created_at.as_millisecond(),
        })
    }

    fn seal(&self, name: &CacheName, keypair: &KeyPair, random: &Random) -> Result<Vec<u8>, DepotError> {
        let secret = keypair.expose_secret();
        self.sealer
            .seal(random.bytes(), name.as_str(), secret.as_bytes())
            .map_err(|error| DepotError::Invalid(error.to_string()))
    }
}

/// A key named after the cache and eight random digits: Nix heeds only the first trusted key of a name, so two
/// communities that both have a cache `main` could not be trusted side by side if both keys were called `main`.
fn generate(cache: &CacheName, random: &Random) -> Result<KeyPair, DepotError> {
    let name = format!("{cache}-{:08x}", u32::from_le_bytes(random.bytes()));
    KeyPair::from_seed(&name, random.bytes()).map_err(|error| DepotError::Invalid(error.to_string()))
}
