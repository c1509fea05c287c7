//! Narinfos as they are sent. Signing one costs more than all else of its answer, so those that are asked for often
//! are kept.

use std::sync::Arc;

use bytes::Bytes;
use hayloft_index::StoredPath;
use hayloft_nixcache::{CacheName, Compression, KeyError, NarInfo, PublicKey, StorePathHash};
use moka::sync;

use super::types::Cache;

/// Bytes of narinfos that are kept.
const MEMORY: u64 = 24 * 1024 * 1024;

/// A narinfo, and what it was made of: it holds as long as that does.
#[derive(Clone)]
struct Kept {
    path: Arc<StoredPath>,
    key: PublicKey,
    text: Bytes,
}

/// Narinfos that were asked for lately.
pub(super) struct Narinfos(sync::Cache<(CacheName, StorePathHash), Kept>);

impl Narinfos {
    pub(super) fn new() -> Self {
        let cache = sync::Cache::builder()
            .max_capacity(MEMORY)
            // The text, and about as much for the path that it was made of.
            .weigher(|_, kept: &Kept| u32::try_from(kept.text.len() * 2 + 400).unwrap_or(u32::MAX))
            .build();
        Self(cache)
    }

    /// The narinfo of a path with this hash, signed with the cache's key.
    pub(super) fn of(
        &self,
        cache: &Cache,
        hash: &StorePathHash,
        path: Arc<StoredPath>,
    ) -> Result<Bytes, KeyError> {
        let at = (cache.name.clone(), *hash);
        if let Some(kept) = self.0.get(&at)
            && Arc::ptr_eq(&kept.path, &path)
            && kept.key == cache.public_key
        {
            return Ok(kept.text);
        }
        let text = Bytes::from(signed(cache, hash, &path)?.to_string());
        let kept = Kept {
            path,
            key: cache.public_key.clone(),
            text: text.clone(),
        };
        self.0.insert(at, kept);
        Ok(text)
    }
}

/// The narinfo of a path, with one signature by the cache's key of now.
fn signed(cache: &Cache, hash: &StorePathHash, path: &StoredPath) -> Result<NarInfo, KeyError> {
    let mut narinfo = NarInfo {
        url: format!("nar/{hash}.nar"),
        compression: Compression::Zstd,
        // What is signed and checked is the NAR itself; hashing the compressed bytes, too, would gain nothing.
        file_hash: None,
        file_size: Some(path.file_size),
        store_path: path.path.clone(),
        nar_hash: path.nar_hash,
        nar_size: path.nar_size,
        references: path.references.clone(),
        deriver: path.deriver.clone(),
        ca: path.ca.clone(),
        signatures: Vec::new(),
    };
    narinfo.signatures = vec![cache.keypair.sign(&narinfo.fingerprint())?];
    Ok(narinfo)
}
