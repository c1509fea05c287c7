//! `PATCH`: changes a cache. What the configuration file declares is not changed here.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use hayloft_nixcache::api::{KeypairConfig, PatchCache, Retention};
use hayloft_nixcache::token::Permissions;

use super::super::extract::{ApiCache, json};
use super::{MAX_BODY, check_upstream_keys};
use crate::auth::Caller;
use crate::config::DeclaredCache;
use crate::depot::{Cache, CachePatch, NewKey};
use crate::error::Refusal;
use crate::state::Gateway;

pub(in super::super) async fn configure(
    caller: Caller,
    State(gateway): State<Gateway>,
    ApiCache(name): ApiCache,
    headers: HeaderMap,
    body: Body,
) -> Result<(), Refusal> {
    let access = caller
        .api(&name)
        .await?
        .require(|permissions| permissions.configure_cache)?;
    let asked: PatchCache = json(&gateway, &headers, body, MAX_BODY).await?;
    let patch = decide(
        asked,
        &access.cache,
        gateway.declared(&name),
        access.permissions(),
    )?;
    if let Some(patch) = patch {
        access.depot.configure_cache(&name, patch).await?;
    }
    Ok(())
}

/// What to change, if anything. Values that stand already are no change, so that a client that sends
/// all fields always, as attic's does with the retention, needs no permission for those it leaves alone.
fn decide(
    asked: PatchCache,
    cache: &Cache,
    declared: Option<&DeclaredCache>,
    permissions: Permissions,
) -> Result<Option<CachePatch>, Refusal> {
    if asked == PatchCache::default() {
        return Err(Refusal::Request("No modifiable fields were set.".to_owned()));
    }
    let alone = PatchCache {
        retention_period: None,
        ..asked.clone()
    } == PatchCache::default();
    let PatchCache {
        keypair,
        is_public,
        store_dir,
        priority,
        upstream_cache_key_names,
        retention_period,
    } = asked;
    if let Some(names) = &upstream_cache_key_names {
        check_upstream_keys(names)?;
    }
    let store_dir = store_dir.map(|dir| dir.to_string());
    let mut retention = match retention_period {
        None => None,
        Some(Retention::Global) => Some(None),
        Some(Retention::Period(seconds)) => {
            i32::try_from(seconds).map_err(|_| {
                Refusal::Request("retention_period must be at most 2147483647 seconds".to_owned())
            })?;
            Some(Some(seconds))
        }
    };
    let declares_retention = declared.is_some_and(|declared| declared.retention.is_some());
    if declares_retention && retention == Some(None) && !alone {
        // Attic's client sends "Global" with every change; only alone can it be meant.
        retention = None;
    }
    let patch = CachePatch {
        keypair: match keypair {
            Some(KeypairConfig::Generate) => Some(NewKey::Generate),
            Some(KeypairConfig::Keypair(pair)) if pair == cache.keypair => None,
            Some(KeypairConfig::Keypair(pair)) => Some(NewKey::Given(pair)),
            None => None,
        },
        is_public: is_public.filter(|public| *public != cache.is_public),
        store_dir: store_dir.filter(|dir| *dir != cache.store_dir),
        priority: priority.filter(|priority| *priority != cache.priority),
        upstream_cache_key_names: upstream_cache_key_names
            .filter(|names| *names != cache.upstream_cache_key_names),
        retention: retention.filter(|retention| *retention != cache.retention),
    };
    if patch.retention.is_some() && !permissions.configure_cache_retention {
        return Err(Refusal::AccessError);
    }
    if let Some(declared) = declared {
        refuse_declared(&patch, declared)?;
    }
    Ok(is_change(&patch).then_some(patch))
}

fn refuse_declared(patch: &CachePatch, declared: &DeclaredCache) -> Result<(), Refusal> {
    let DeclaredCache {
        name,
        public,
        priority,
        store_dir,
        upstream_keys,
        retention,
        max_size: _,
    } = declared;
    let contradicted = [
        ("public", public.is_some() && patch.is_public.is_some()),
        ("priority", priority.is_some() && patch.priority.is_some()),
        ("storeDir", store_dir.is_some() && patch.store_dir.is_some()),
        (
            "upstreamKeys",
            upstream_keys.is_some() && patch.upstream_cache_key_names.is_some(),
        ),
        ("retention", retention.is_some() && patch.retention.is_some()),
    ];
    match contradicted.iter().find(|(_, contradicted)| *contradicted) {
        None => Ok(()),
        Some((field, _)) => Err(Refusal::Declared(format!(
            "\"{field}\" of the cache {name} is declared in the document under \"caches\": change it there."
        ))),
    }
}

fn is_change(patch: &CachePatch) -> bool {
    let CachePatch {
        keypair,
        is_public,
        store_dir,
        priority,
        upstream_cache_key_names,
        retention,
    } = patch;
    keypair.is_some()
        || is_public.is_some()
        || store_dir.is_some()
        || priority.is_some()
        || upstream_cache_key_names.is_some()
        || retention.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hayloft_nixcache::KeyPair;

    fn cache(retention: Option<u32>) -> Cache {
        let keypair = KeyPair::from_seed("main", [7; 32]).unwrap();
        Cache {
            name: "main".parse().unwrap(),
            public_key: keypair.public_key(),
            keypair,
            is_public: false,
            store_dir: "/nix/store".to_owned(),
            priority: 41,
            upstream_cache_key_names: vec![],
            retention,
            created_at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    fn declared() -> DeclaredCache {
        DeclaredCache {
            name: "main".parse().unwrap(),
            public: Some(false),
            priority: None,
            store_dir: None,
            upstream_keys: None,
            retention: Some(60),
            max_size: None,
        }
    }

    fn patch(json: serde_json::Value) -> PatchCache {
        serde_json::from_value(json).unwrap()
    }

    const NO_CQ: Permissions = Permissions {
        configure_cache_retention: false,
        ..Permissions::ALL
    };

    #[test]
    fn an_unchanged_retention_needs_no_permission_and_a_changed_one_does() {
        let global = || patch(serde_json::json!({"retention_period": "Global", "priority": 30}));
        let changed = decide(global(), &cache(None), None, NO_CQ).unwrap().unwrap();
        assert_eq!((changed.retention, changed.priority), (None, Some(30)));
        let refused = decide(global(), &cache(Some(60)), None, NO_CQ);
        assert!(matches!(refused, Err(Refusal::AccessError)));
        let allowed = decide(global(), &cache(Some(60)), None, Permissions::ALL)
            .unwrap()
            .unwrap();
        assert_eq!(allowed.retention, Some(None));
    }

    #[test]
    fn a_patch_that_sets_nothing_is_refused_and_one_that_changes_nothing_is_not() {
        let nothing = decide(PatchCache::default(), &cache(None), None, NO_CQ);
        assert!(matches!(nothing, Err(Refusal::Request(_))));
        let same = patch(serde_json::json!({"priority": 41, "is_public": false}));
        assert!(decide(same, &cache(None), None, NO_CQ).unwrap().is_none());
    }

    #[test]
    fn what_is_declared_is_not_changed_and_the_rest_is() {
        let decide = |json| decide(patch(json), &cache(Some(60)), Some(&declared()), Permissions::ALL);
        let refused = decide(serde_json::json!({"is_public": true})).unwrap_err();
        assert!(refused.to_string().contains("\"public\""), "{refused}");
        assert!(decide(serde_json::json!({"is_public": false})).unwrap().is_none());
        assert_eq!(
            decide(serde_json::json!({"priority": 1}))
                .unwrap()
                .unwrap()
                .priority,
            Some(1)
        );
        // As attic's client sends it with any change.
        let changed = decide(serde_json::json!({"priority": 1, "retention_period": "Global"}));
        assert_eq!(changed.unwrap().unwrap().retention, None);
        for json in [
            serde_json::json!({"retention_period": "Global"}),
            serde_json::json!({"retention_period": {"Period": 61}, "priority": 1}),
        ] {
            assert!(matches!(decide(json), Err(Refusal::Declared(_))));
        }
    }

    #[test]
    fn a_period_beyond_31_bits_is_refused() {
        let long = patch(serde_json::json!({"retention_period": {"Period": 2_147_483_648_u32}}));
        let refused = decide(long, &cache(None), None, Permissions::ALL);
        assert!(matches!(refused, Err(Refusal::Request(_))));
    }
}
