//! Claims as attic writes and reads them.

use super::*;

fn claims(caches: &str) -> Result<Claims, serde_json::Error> {
    serde_json::from_str(&format!(r#"{{"{CLAIM_NAMESPACE}":{{"caches":{caches}}}}}"#))
}

fn on(caches: &str, cache: &str) -> Permissions {
    claims(caches).unwrap().permissions_for(&cache.parse().unwrap())
}

#[test]
fn the_first_pattern_that_matches_decides_alone() {
    let caches = r#"{"all-*":{"r":1},"all-ci-*":{"w":1}}"#;
    let permissions = on(caches, "all-ci-abc");
    assert!(permissions.pull && !permissions.push);
    let turned = r#"{"all-ci-*":{"w":1},"all-*":{"r":1}}"#;
    let permissions = on(turned, "all-ci-abc");
    assert!(!permissions.pull && permissions.push);
}

#[test]
fn the_very_name_wins_wherever_it_stands() {
    let permissions = on(r#"{"*":{"r":1,"w":1},"main":{"cd":1}}"#, "main");
    assert_eq!(
        permissions,
        Permissions {
            destroy_cache: true,
            ..Permissions::default()
        }
    );
}

#[test]
fn the_order_of_the_document_is_kept_for_many_patterns() {
    let names: Vec<String> = (0..1000).rev().map(|n| format!("p{n}*")).collect();
    let entries: Vec<String> = names.iter().map(|n| format!(r#""{n}":{{"r":1}}"#)).collect();
    let claims = claims(&format!("{{{}}}", entries.join(","))).unwrap();
    let found: Vec<&str> = claims.grants.iter().map(|(p, _)| p.as_str()).collect();
    assert_eq!(found, names);
}

#[test]
fn only_the_integers_0_and_1_are_permissions() {
    for value in ["true", "2", "\"1\"", "1.0", "-1", "null"] {
        assert!(
            claims(&format!(r#"{{"main":{{"r":{value}}}}}"#)).is_err(),
            "{value}"
        );
    }
    assert!(on(r#"{"main":{"r":1,"w":0,"zz":"unknown"}}"#, "main").pull);
}

#[test]
fn a_token_without_attics_claim_or_with_a_bad_pattern_is_no_token() {
    assert!(serde_json::from_str::<Claims>(r#"{"sub":"a"}"#).is_err());
    assert!(claims(r#"{"ma in":{"r":1}}"#).is_err());
    let no_caches = format!(r#"{{"{CLAIM_NAMESPACE}":{{}}}}"#);
    assert!(serde_json::from_str::<Claims>(&no_caches).is_err());
}

#[test]
fn claims_are_written_as_attic_writes_them() {
    let mut grants = Grants::new();
    grants.entry("main".parse().unwrap()).pull = true;
    grants.entry("*".parse().unwrap()).push = true;
    grants.entry("main".parse().unwrap()).create_cache = true;
    let claims = Claims {
        sub: Some("ci".to_owned()),
        exp: Some(10),
        nbf: Some(0),
        ..Claims::new(grants)
    };
    let text = serde_json::to_string(&claims).unwrap();
    assert_eq!(
        text,
        r#"{"sub":"ci","exp":10,"nbf":0,"https://jwt.attic.rs/v1":{"caches":{"main":{"r":1,"cc":1},"*":{"w":1}}}}"#
    );
    assert_eq!(serde_json::from_str::<Claims>(&text).unwrap(), claims);
}

#[test]
fn audiences_may_be_one_or_several_and_times_may_have_fractions() {
    let with = |extra: &str| -> Claims {
        serde_json::from_str(&format!(r#"{{{extra},"{CLAIM_NAMESPACE}":{{"caches":{{}}}}}}"#)).unwrap()
    };
    assert_eq!(with(r#""aud":"a""#).aud, ["a"]);
    assert_eq!(with(r#""aud":["a","b"]"#).aud, ["a", "b"]);
    assert_eq!(with(r#""exp":12.9"#).exp, Some(12));
}
