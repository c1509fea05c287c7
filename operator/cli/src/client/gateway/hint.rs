//! What a token's own words say about a refusal.

use hayloft_nixcache::CacheName;
use hayloft_nixcache::token::{Claims, Permissions};

/// Why a token may be refused on a cache: what it gives there, and where several of its patterns match, which one decides.
/// `None` when by its words it may pull and push.
pub(super) fn hint(claims: &Claims, cache: &CacheName) -> Option<String> {
    let Permissions {
        pull,
        push,
        delete,
        create_cache,
        configure_cache,
        configure_cache_retention,
        destroy_cache,
    } = claims.permissions_for(cache);
    if pull && push {
        return None;
    }
    let given: Vec<&str> = [
        (pull, "pull"),
        (push, "push"),
        (delete, "delete"),
        (create_cache, "create-cache"),
        (configure_cache, "configure-cache"),
        (configure_cache_retention, "configure-cache-retention"),
        (destroy_cache, "destroy-cache"),
    ]
    .into_iter()
    .filter_map(|(given, name)| given.then_some(name))
    .collect();
    let given = match given.as_slice() {
        [] => "nothing".to_owned(),
        [one] => format!("{one} alone"),
        several => several.join(", "),
    };
    let mut text = format!("the token gives {given} on this cache");
    let matching = || claims.grants.iter().filter(|(pattern, _)| pattern.matches(cache));
    if matching().count() > 1 {
        let named = matching().any(|(pattern, _)| pattern.as_str() == cache.as_str());
        let which = if named {
            "pattern that is its very name"
        } else {
            "first pattern that matches"
        };
        text.push_str(&format!(": the {which} decides (see docs/push-and-pull.md)"));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use hayloft_nixcache::token::Grants;

    use super::*;

    fn told(grants: &[(&str, Permissions)]) -> Option<String> {
        let grants: Grants = grants
            .iter()
            .map(|(pattern, permissions)| (pattern.parse().expect("is a pattern"), *permissions))
            .collect();
        hint(&Claims::new(grants), &"main".parse().expect("is a name"))
    }

    #[test]
    fn what_the_token_gives_is_told_and_the_rule_only_where_it_matters() {
        let pull = Permissions {
            pull: true,
            ..Permissions::default()
        };
        let push = Permissions {
            push: true,
            ..Permissions::default()
        };
        assert_eq!(
            told(&[("*", pull), ("ma*", push)]).as_deref(),
            Some(
                "the token gives pull alone on this cache: the first pattern that matches decides (see docs/push-and-pull.md)"
            )
        );
        assert_eq!(
            told(&[("*", Permissions::ALL), ("main", push)]).as_deref(),
            Some(
                "the token gives push alone on this cache: the pattern that is its very name decides (see docs/push-and-pull.md)"
            )
        );
        assert_eq!(
            told(&[("*", pull), ("team-*", push)]).as_deref(),
            Some("the token gives pull alone on this cache")
        );
        assert_eq!(
            told(&[("team-*", push)]).as_deref(),
            Some("the token gives nothing on this cache")
        );
        assert_eq!(told(&[("*", Permissions::ALL)]), None);
    }
}
