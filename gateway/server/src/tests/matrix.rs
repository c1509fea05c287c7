//! Who gets which answer where: attic's table, with our differences.

use reqwest::{Method, RequestBuilder};
use serde_json::json;

use super::home::{expired, foreign};
use super::{Home, Sample, all, grants};

const ABSENT: &str = "00000000000000000000000000000000";

/// Those who call.
fn callers() -> Vec<(&'static str, Option<String>)> {
    vec![
        ("nobody", None),
        ("expired", Some(expired())),
        ("foreign", Some(foreign())),
        ("other", Some(grants(r#"{"elsewhere":{"r":1,"w":1}}"#))),
        ("puller", Some(grants(r#"{"*":{"r":1}}"#))),
        ("pusher", Some(grants(r#"{"*":{"w":1}}"#))),
        ("admin", Some(all())),
    ]
}

/// What they ask of a cache. None of it changes anything that another question sees.
fn questions(home: &Home, cache: &str, present: &Sample) -> Vec<(&'static str, RequestBuilder)> {
    let get = |path: &str| home.http.get(home.url(path));
    let hash = present.hash();
    let missing = json!({"cache": cache, "store_path_hashes": [hash, ABSENT]});
    let create = json!({
        "keypair": "Generate", "is_public": false, "store_dir": "/nix/store", "priority": 41,
        "upstream_cache_key_names": [],
    });
    let config = home.url(&format!("/_api/v1/cache-config/{cache}"));
    let upload = home.http.put(home.url("/_api/v1/upload-path"));
    // A hash that is wrong, so that even who may push pushes nothing.
    let mut info = present.info(cache);
    info["nar_size"] = json!(present.nar.len() + 8);
    vec![
        ("nix-cache-info", get(&format!("/{cache}/nix-cache-info"))),
        ("narinfo", get(&format!("/{cache}/{hash}.narinfo"))),
        ("narinfo absent", get(&format!("/{cache}/{ABSENT}.narinfo"))),
        ("nar", get(&format!("/{cache}/nar/{hash}.nar"))),
        ("nar absent", get(&format!("/{cache}/nar/{ABSENT}.nar"))),
        ("attic-cache-info", get(&format!("/{cache}/attic-cache-info"))),
        ("config", home.http.get(&config)),
        (
            "missing",
            home.http
                .post(home.url("/_api/v1/get-missing-paths"))
                .json(&missing),
        ),
        (
            "upload",
            upload
                .header("x-attic-nar-info", info.to_string())
                .body(present.nar.clone()),
        ),
        ("patch", home.http.patch(&config).json(&json!({"priority": 41}))),
        ("create", home.http.post(&config).json(&create)),
    ]
}

async fn ask(request: RequestBuilder, token: Option<&str>) -> (String, String) {
    let request = match token {
        Some(token) => request.basic_auth("anyone", Some(token)),
        None => request,
    };
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let public = response.headers().contains_key("x-attic-cache-visibility");
    let body = response.text().await.unwrap_or_default();
    let name = serde_json::from_str::<serde_json::Value>(&body).ok();
    let name = name.and_then(|body| Some(format!(" {}", body.get("error")?.as_str()?)));
    let mark = if public { " marked public" } else { "" };
    (format!("{status}{}{mark}", name.unwrap_or_default()), body)
}

#[tokio::test]
async fn everybody_gets_the_answers_of_attics_table_with_our_differences() {
    let home = Home::new().await;
    let sample = Sample::new(1, 1000);
    for cache in ["public", "private"] {
        let pushed = home.push(cache, &sample, Some(&all())).await;
        assert_eq!(pushed.status(), 200, "{:?}", pushed.text().await);
    }
    let mut table = String::new();
    for cache in ["public", "private", "missing"] {
        for (who, token) in callers() {
            for (what, request) in questions(&home, cache, &sample) {
                if (who, what, cache) == ("admin", "create", "missing") {
                    continue;
                }
                let (answer, _) = ask(request, token.as_deref()).await;
                table += &format!("{cache:8} {who:8} {what:17} {answer}\n");
            }
        }
    }
    insta::assert_snapshot!(table);
}

#[tokio::test]
async fn a_stranger_cannot_tell_a_private_cache_or_path_from_a_missing_one() {
    let home = Home::new().await;
    let sample = Sample::new(1, 1000);
    home.push("private", &sample, Some(&all())).await;
    for (who, token) in callers().into_iter().take(4) {
        let private = questions(&home, "private", &sample);
        let missing = questions(&home, "missing", &sample);
        for ((what, private), (_, missing)) in private.into_iter().zip(missing) {
            let private = ask(private, token.as_deref()).await;
            let missing = ask(missing, token.as_deref()).await;
            assert_eq!(private, missing, "{who} {what}");
        }
    }
}

#[tokio::test]
async fn nix_never_hears_401() {
    let home = Home::new().await;
    let sample = Sample::new(1, 1000);
    for cache in ["public", "private", "missing"] {
        for (who, token) in callers() {
            for (what, request) in questions(&home, cache, &sample).into_iter().take(5) {
                let (answer, _) = ask(request, token.as_deref()).await;
                assert!(!answer.starts_with("401"), "{cache} {who} {what}");
            }
        }
    }
}

#[tokio::test]
async fn wrong_methods_and_unknown_urls_are_told_so_in_json() {
    let home = Home::new().await;
    for path in [
        "/nowhere",
        "/_api/v1/nothing",
        "/public/realisations/x",
        "/public/log/x.drv",
        "/public/x.ls",
    ] {
        let (status, name, _) = super::home::refusal(home.get(path, None).await).await;
        assert_eq!((status, &*name), (404, "NotFound"), "{path}");
    }
    let response = home
        .request(Method::DELETE, "/public/nix-cache-info", None)
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["allow"], "GET,HEAD");
    let (status, name, _) = super::home::refusal(response).await;
    assert_eq!((status, &*name), (405, "MethodNotAllowed"));
}

#[tokio::test]
async fn names_and_hashes_that_are_none_are_the_clients_fault() {
    let home = Home::new().await;
    let bad_hash = "e".repeat(32);
    for (path, status) in [
        (format!("/public/{bad_hash}.narinfo"), 404),
        (format!("/public/nar/{bad_hash}.nar"), 404),
        ("/public/short.narinfo".to_owned(), 404),
        ("/-bad/nix-cache-info".to_owned(), 404),
        (format!("/-bad/{ABSENT}.narinfo"), 404),
        ("/_api/v1/cache-config/-bad".to_owned(), 400),
        ("/_api/v1/cache-config/a%0ab".to_owned(), 400),
        ("/_api/v1/cache-config/%ff".to_owned(), 400),
    ] {
        assert_eq!(home.get(&path, Some(&all())).await.status(), status, "{path}");
    }
}
