//! Making, showing, changing and destroying caches.

use hayloft_nixcache::KeyPair;
use reqwest::Method;
use serde_json::{Value, json};

use super::home::refusal;
use super::{Home, Sample, all, grants};
use crate::config::DeclaredCache;

const CONFIG: &str = "/_api/v1/cache-config/mine";

async fn send(home: &Home, method: Method, path: &str, body: &Value) -> reqwest::Response {
    home.request(method, path, Some(&all()))
        .json(body)
        .send()
        .await
        .unwrap()
}

fn new(keypair: &Value) -> Value {
    json!({
        "keypair": keypair, "is_public": false, "store_dir": "/nix/store", "priority": 12,
        "upstream_cache_key_names": ["cache.nixos.org-1"],
    })
}

#[tokio::test]
async fn a_cache_lives_from_creation_to_destruction() {
    let home = Home::new().await;
    let pair = KeyPair::from_seed("mine-1", [9; 32]).unwrap();
    let given = json!({"Keypair": pair.expose_secret().as_str()});

    let made = send(&home, Method::POST, CONFIG, &new(&given)).await;
    assert_eq!(
        (made.status().as_u16(), made.text().await.unwrap()),
        (200, String::new())
    );
    let again = refusal(send(&home, Method::POST, CONFIG, &new(&given)).await).await;
    assert_eq!((again.0, &*again.1), (400, "CacheAlreadyExists"));

    let shown: Value = home.get(CONFIG, Some(&all())).await.json().await.unwrap();
    let base = home.url("/");
    let mut expected = json!({
        "substituter_endpoint": format!("{base}mine"), "api_endpoint": base,
        "public_key": pair.public_key().to_string(), "is_public": false, "store_dir": "/nix/store",
        "priority": 12, "upstream_cache_key_names": ["cache.nixos.org-1"], "retention_period": "Global",
    });
    assert_eq!(shown, expected);
    let same: Value = home
        .get("/mine/attic-cache-info", Some(&all()))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(same, expected);

    let patch =
        json!({"is_public": true, "priority": 3, "retention_period": {"Period": 60}, "api_endpoint": "x"});
    let patched = send(&home, Method::PATCH, CONFIG, &patch).await;
    assert_eq!(
        (patched.status().as_u16(), patched.text().await.unwrap()),
        (200, String::new())
    );
    expected["is_public"] = json!(true);
    expected["priority"] = json!(3);
    expected["retention_period"] = json!({"Period": 60});
    let shown: Value = home.get(CONFIG, None).await.json().await.unwrap();
    assert_eq!(shown, expected);
    let info = home.get("/mine/nix-cache-info", None).await;
    assert_eq!(info.headers()["content-type"], "text/x-nix-cache-info");
    assert_eq!(
        info.text().await.unwrap(),
        "WantMassQuery: 1\nStoreDir: /nix/store\nPriority: 3\n"
    );

    let gone = home
        .request(Method::DELETE, CONFIG, Some(&all()))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (gone.status().as_u16(), gone.text().await.unwrap()),
        (200, String::new())
    );
    let missing = refusal(home.get(CONFIG, Some(&all())).await).await;
    assert_eq!((missing.0, &*missing.1), (404, "NoSuchCache"));
    assert_eq!(home.get("/mine/nix-cache-info", None).await.status(), 403);
}

#[tokio::test]
async fn a_new_signing_key_signs_from_then_on() {
    let home = Home::new().await;
    let sample = Sample::new(1, 100);
    home.push("public", &sample, None).await;
    home.push("public", &sample, Some(&all())).await;
    let narinfo = || async {
        let response = home
            .get(&format!("/public/{}.narinfo", sample.hash()), None)
            .await;
        response
            .text()
            .await
            .unwrap()
            .parse::<hayloft_nixcache::NarInfo>()
            .unwrap()
    };
    let narinfo_before = narinfo().await;
    let first = narinfo_before.signatures[0].key_name();
    // Two communities' caches of one name have keys of different names, or no client could trust both.
    assert!(first.starts_with("public-") && first != "public-2", "{first}");
    let pair = KeyPair::from_seed("public-2", [9; 32]).unwrap();
    let patch = json!({"keypair": {"Keypair": pair.expose_secret().as_str()}});
    send(&home, Method::PATCH, "/_api/v1/cache-config/public", &patch).await;
    let narinfo = narinfo().await;
    assert_eq!(narinfo.signatures.len(), 1);
    assert!(
        pair.public_key()
            .verify(&narinfo.fingerprint(), &narinfo.signatures[0])
    );
}

#[tokio::test]
async fn bodies_that_are_wrong_are_told_apart() {
    let home = Home::new().await;
    let post = |content_type: &'static str, body: &'static str| {
        let request = home.request(Method::POST, CONFIG, Some(&all()));
        request.header("content-type", content_type).body(body).send()
    };
    for (content_type, body, status) in [
        ("text/plain", "{}", 415),
        ("application/json", "{", 400),
        ("application/json", "{}", 422),
        (
            "application/json; charset=utf-8",
            r#"{"keypair":"Generate","is_public":1}"#,
            422,
        ),
    ] {
        let (got, name, _) = refusal(post(content_type, body).await.unwrap()).await;
        assert_eq!((got, &*name), (status, "RequestError"), "{body}");
    }
    let nothing = send(
        &home,
        Method::PATCH,
        "/_api/v1/cache-config/public",
        &json!({"public_key": "x"}),
    )
    .await;
    let (status, _, message) = refusal(nothing).await;
    assert_eq!(status, 400);
    assert!(message.contains("No modifiable fields were set."), "{message}");
    for names in [json!([""]), json!(["a b"]), json!(["a:b"]), json!(vec!["x"; 65])] {
        let patch = json!({"upstream_cache_key_names": names});
        let refused = send(&home, Method::PATCH, "/_api/v1/cache-config/public", &patch).await;
        assert_eq!(refusal(refused).await.0, 400, "{patch}");
    }
    let huge = json!({"upstream_cache_key_names": ["x".repeat(3 << 20)]});
    let refused = send(&home, Method::PATCH, "/_api/v1/cache-config/public", &huge).await;
    assert_eq!(refused.status(), 413);
}

#[tokio::test]
async fn each_change_needs_its_own_permission() {
    let home = Home::new().await;
    let with = |json: &str| grants(json);
    let patch = |token: String, body: Value| {
        let request = home.request(Method::PATCH, "/_api/v1/cache-config/public", Some(&token));
        async move { request.json(&body).send().await.unwrap().status().as_u16() }
    };
    let configurer = with(r#"{"*":{"cr":1}}"#);
    assert_eq!(patch(configurer.clone(), json!({"priority": 9})).await, 200);
    assert_eq!(
        patch(
            configurer.clone(),
            json!({"priority": 8, "retention_period": "Global"})
        )
        .await,
        200
    );
    assert_eq!(
        patch(configurer, json!({"retention_period": {"Period": 5}})).await,
        403
    );
    let both = with(r#"{"*":{"cr":1,"cq":1}}"#);
    assert_eq!(patch(both, json!({"retention_period": {"Period": 5}})).await, 200);
    let quota_only = with(r#"{"*":{"cq":1}}"#);
    assert_eq!(
        patch(quota_only, json!({"retention_period": {"Period": 6}})).await,
        403
    );

    let delete = |token: String| {
        let request = home.request(Method::DELETE, "/_api/v1/cache-config/public", Some(&token));
        async move { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!(
        delete(with(r#"{"*":{"r":1,"w":1,"d":1,"cc":1,"cr":1,"cq":1}}"#)).await,
        403
    );
    assert_eq!(delete(with(r#"{"*":{"cd":1}}"#)).await, 200);

    let create = |token: String| {
        let request = home.request(Method::POST, "/_api/v1/cache-config/team-a", Some(&token));
        async move {
            request
                .json(&new(&json!("Generate")))
                .send()
                .await
                .unwrap()
                .status()
                .as_u16()
        }
    };
    assert_eq!(
        create(with(r#"{"*":{"r":1,"w":1,"d":1,"cr":1,"cq":1,"cd":1}}"#)).await,
        403
    );
    assert_eq!(create(with(r#"{"other-*":{"cc":1}}"#)).await, 401);
    assert_eq!(create(with(r#"{"team-*":{"cc":1}}"#)).await, 200);
}

#[tokio::test]
async fn a_declared_cache_is_there_and_keeps_what_is_declared() {
    let declared = DeclaredCache {
        name: "main".parse().unwrap(),
        public: Some(true),
        priority: Some(30),
        store_dir: None,
        upstream_keys: None,
        retention: Some(3600),
        max_size: None,
    };
    let home = Home::declaring(vec![declared]).await;
    let config = "/_api/v1/cache-config/main";
    let shown: Value = home.get(config, None).await.json().await.unwrap();
    assert_eq!(shown["priority"], json!(30));
    assert_eq!(shown["retention_period"], json!({"Period": 3600}));

    let refused = refusal(send(&home, Method::PATCH, config, &json!({"priority": 31})).await).await;
    assert_eq!(refused.0, 403);
    assert!(
        refused.2.contains("\"priority\" of the cache main is declared"),
        "{}",
        refused.2
    );
    let allowed = json!({"upstream_cache_key_names": ["a"], "retention_period": "Global"});
    assert_eq!(send(&home, Method::PATCH, config, &allowed).await.status(), 200);
    let shown: Value = home.get(config, None).await.json().await.unwrap();
    assert_eq!(shown["upstream_cache_key_names"], json!(["a"]));
    assert_eq!(shown["retention_period"], json!({"Period": 3600}));
    let kept = home
        .request(Method::DELETE, config, Some(&all()))
        .send()
        .await
        .unwrap();
    assert_eq!(refusal(kept).await.0, 403);
}

#[tokio::test]
async fn endpoints_follow_the_hosts_name_and_the_forwarded_scheme() {
    let home = Home::new().await;
    let request = home.request(Method::GET, "/_api/v1/cache-config/public", None);
    let request = request
        .header("host", "cache.example.org:8443")
        .header("x-forwarded-proto", "https");
    let shown: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(shown["api_endpoint"], json!("https://cache.example.org:8443/"));
    assert_eq!(
        shown["substituter_endpoint"],
        json!("https://cache.example.org:8443/public")
    );
    let request = home.request(Method::GET, "/_api/v1/cache-config/public", None);
    let refused = request.header("host", "a/b@c").send().await.unwrap();
    assert_eq!(refused.status(), 400);
}
