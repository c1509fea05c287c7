//! Brings the caches that the configuration file declares to what it says. Others are left alone.

use hayloft_nixcache::StoreDir;
use tracing::info;

use crate::config::{ByteSize, DeclaredCache};
use crate::depot::{Cache, CachePatch, Depot, DepotError, NewCache};

/// Attic's defaults for a cache.
const PRIORITY: i32 = 41;
const UPSTREAM_KEY: &str = "cache.nixos.org-1";

/// Makes the declared caches that are missing, and changes those that differ.
///
/// # Errors
/// When the depot cannot be asked or written; calling it again is always right.
pub(crate) async fn declare(depot: &Depot, declared: &[DeclaredCache]) -> Result<(), DepotError> {
    for wanted in declared {
        match depot.cache(&wanted.name).await? {
            None => {
                depot.create_cache(new(wanted)).await?;
                info!(cache = %wanted.name, "made a declared cache");
            }
            Some(cache) => {
                if let Some(patch) = difference(&cache, wanted) {
                    depot.configure_cache(&wanted.name, patch).await?;
                    info!(cache = %wanted.name, "changed a cache to what is declared");
                }
            }
        }
        if let Some(ByteSize(max_bytes)) = wanted.max_size {
            depot.limit(&wanted.name, Some(max_bytes)).await?;
        }
    }
    Ok(())
}

fn new(wanted: &DeclaredCache) -> NewCache {
    let DeclaredCache {
        name,
        public,
        priority,
        store_dir,
        upstream_keys,
        retention,
        max_size: _,
    } = wanted;
    NewCache {
        name: name.clone(),
        keypair: None,
        is_public: public.unwrap_or(false),
        store_dir: store_dir.clone().unwrap_or_else(StoreDir::nix_store).to_string(),
        priority: priority.unwrap_or(PRIORITY),
        upstream_cache_key_names: upstream_keys
            .clone()
            .unwrap_or_else(|| vec![UPSTREAM_KEY.to_owned()]),
        retention: *retention,
    }
}

/// What must change for `cache` to be as declared.
fn difference(cache: &Cache, wanted: &DeclaredCache) -> Option<CachePatch> {
    let DeclaredCache {
        name: _,
        public,
        priority,
        store_dir,
        upstream_keys,
        retention,
        max_size: _,
    } = wanted;
    let patch = CachePatch {
        keypair: None,
        is_public: public.filter(|public| *public != cache.is_public),
        store_dir: store_dir
            .as_ref()
            .map(StoreDir::to_string)
            .filter(|store_dir| *store_dir != cache.store_dir),
        priority: priority.filter(|priority| *priority != cache.priority),
        upstream_cache_key_names: upstream_keys
            .clone()
            .filter(|keys| *keys != cache.upstream_cache_key_names),
        retention: retention
            .map(Some)
            .filter(|retention| *retention != cache.retention),
    };
    let CachePatch {
        keypair: _,
        is_public,
        store_dir,
        priority,
        upstream_cache_key_names,
        retention,
    } = &patch;
    let differs = is_public.is_some()
        || store_dir.is_some()
        || priority.is_some()
        || upstream_cache_key_names.is_some()
        || retention.is_some();
    differs.then_some(patch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hayloft_nixcache::KeyPair;

    fn wanted() -> DeclaredCache {
        DeclaredCache {
            name: "main".parse().unwrap(),
            public: None,
            priority: None,
            store_dir: None,
            upstream_keys: None,
            retention: None,
            max_size: None,
        }
    }

    fn as_made(new: NewCache) -> Cache {
        let keypair = KeyPair::from_seed("main", [7; 32]).unwrap();
        Cache {
            public_key: keypair.public_key(),
            keypair,
            name: new.name,
            is_public: new.is_public,
            store_dir: new.store_dir,
            priority: new.priority,
            upstream_cache_key_names: new.upstream_cache_key_names,
            retention: new.retention,
            created_at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn what_is_not_declared_gets_attics_defaults_and_is_then_left_alone() {
        let made = as_made(new(&wanted()));
        assert_eq!(
            (made.is_public, made.priority, &*made.store_dir),
            (false, 41, "/nix/store")
        );
        assert_eq!(made.upstream_cache_key_names, ["cache.nixos.org-1"]);
        let changed_by_hand = Cache {
            priority: 7,
            is_public: true,
            retention: Some(9),
            ..made
        };
        assert!(difference(&changed_by_hand, &wanted()).is_none());
    }

    #[test]
    fn only_what_differs_is_changed() {
        let declared = DeclaredCache {
            priority: Some(30),
            retention: Some(60),
            ..wanted()
        };
        let made = as_made(new(&declared));
        assert!(difference(&made, &declared).is_none());
        let patch = difference(&Cache { priority: 1, ..made }, &declared).unwrap();
        assert_eq!(
            (patch.priority, patch.retention, patch.is_public),
            (Some(30), None, None)
        );
    }
}
