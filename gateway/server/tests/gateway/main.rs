//! The program `hayloft-gateway` as it is started in earnest: a configuration file, a bucket in a real Garage, tokens
//! made on the command line, signals.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod keeping;
mod reloading;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/mod.rs"]
mod support;
mod traces;
mod watching;

use std::time::Duration;

use hayloft_nixcache::nar::{self, Node};
use hayloft_nixcache::{NarHash, NarInfo, PublicKey};
use serde_json::{Value, json};
use support::program::World;
use support::{FOR_MAIN, free_port};

const BASE_NAME: &str = "3n58xw4373jp0ljirf06d8077j15pc4j-hello-2.10";

fn hello() -> Vec<u8> {
    let contents: Vec<u8> = (0..400_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut bytes = Vec::new();
    nar::write(
        &Node::File {
            executable: true,
            contents,
        },
        &mut bytes,
    )
    .unwrap();
    bytes
}

fn info(nar: &[u8]) -> Value {
    json!({
        "cache": "main", "store_path_hash": &BASE_NAME[..32],
        "store_path": format!("/nix/store/{BASE_NAME}"), "references": [BASE_NAME],
        "nar_hash": NarHash::of(nar).to_string(), "nar_size": nar.len(),
    })
}

async fn push(url: &str, token: &str, nar: &[u8]) -> reqwest::Response {
    let pieces: Vec<Result<Vec<u8>, std::io::Error>> =
        nar.chunks(100_003).map(|piece| Ok(piece.to_vec())).collect();
    client()
        .put(format!("{url}_api/v1/upload-path"))
        .bearer_auth(token)
        .header("X-Attic-Nar-Info", info(nar).to_string())
        .body(reqwest::Body::wrap_stream(futures::stream::iter(pieces)))
        .send()
        .await
        .unwrap()
}

fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(60))
        .build()
        .unwrap()
}

async fn pull(url: &str) -> Vec<u8> {
    let config = client()
        .get(format!("{url}_api/v1/cache-config/main"))
        .send()
        .await
        .unwrap();
    let config: Value = config.json().await.unwrap();
    let key: PublicKey = config["public_key"].as_str().unwrap().parse().unwrap();
    let base = config["substituter_endpoint"].as_str().unwrap();
    let narinfo = client()
        .get(format!("{base}/{}.narinfo", &BASE_NAME[..32]))
        .send()
        .await
        .unwrap();
    let narinfo: NarInfo = narinfo.text().await.unwrap().parse().unwrap();
    assert!(key.verify(&narinfo.fingerprint(), &narinfo.signatures[0]));
    let body = client()
        .get(format!("{base}/{}", narinfo.url))
        .send()
        .await
        .unwrap();
    zstd::decode_all(&body.bytes().await.unwrap()[..]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_survives_a_stop_a_kill_and_the_loss_of_the_index() {
    let world = World::new("hs256").await;
    let nar = hello();
    let token = world.token(&FOR_MAIN);

    let gateway = world.serve().await;
    let pushed = push(&gateway.url, &token, &nar).await;
    assert_eq!(pushed.status(), 200, "{:?}", pushed.text().await);
    assert!(pull(&gateway.url).await == nar);
    gateway.terminate();

    let gateway = world.serve().await;
    assert!(pull(&gateway.url).await == nar);
    gateway.kill();

    world.remove_index();
    let gateway = world.serve().await;
    assert!(pull(&gateway.url).await == nar);
    let again: Value = push(&gateway.url, &token, &nar).await.json().await.unwrap();
    assert_eq!(again["kind"], "Deduplicated");
    gateway.terminate();

    let said = world.run(&["rebuild"]);
    assert!(said.contains("made the index again"), "{said}");
    let gateway = world.serve().await;
    assert!(pull(&gateway.url).await == nar);
    gateway.terminate();
}

#[tokio::test(flavor = "multi_thread")]
async fn rs256_tokens_of_the_key_work_and_others_do_not() {
    let world = World::new("rs256").await;
    let nar = hello();
    let gateway = world.serve().await;
    let flags = ["--sub", "ci", "--validity", "1h", "--push", "*"];
    let pushed = push(&gateway.url, &world.token(&flags), &nar).await;
    assert_eq!(pushed.status(), 200, "{:?}", pushed.text().await);
    world.new_token_key();
    let refused = push(&gateway.url, &world.token(&flags), &nar).await;
    assert_eq!(refused.status(), 401);
    let refused: Value = refused.json().await.unwrap();
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains("not signed by this gateway's key")
    );
    gateway.terminate();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_gateway_on_the_same_port_says_so_in_one_line() {
    let world = World::new("hs256").await;
    let gateway = world.serve().await;
    let said = world.fail(
        &["serve"],
        &[
            ("listen: 127.0.0.1:0", &format!("listen: {}", gateway.addr)),
            ("/state\n", "/state-2\n"),
        ],
    );
    assert!(
        said.contains(&format!("cannot listen on {}", gateway.addr)),
        "{said}"
    );
    assert_eq!(said.trim().lines().count(), 1, "{said}");
    gateway.terminate();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_bucket_another_takes_over_ends_and_takes_over_when_started_again() {
    let world = World::new("hs256").await;
    let nar = hello();
    let old = world.serve().await;
    let new = world.serve_with(&[("/state\n", "/state-2\n")]).await;
    // It has nothing to do, and notices all the same.
    let (code, said) = old.ends_by_itself(Duration::from_secs(40));
    assert_eq!(code, Some(1), "{said}");
    let last = said.trim().lines().last().unwrap_or_default();
    assert!(
        last.starts_with("hayloft-gateway: another gateway with the same bucket took over"),
        "{said}"
    );
    let token = world.token(&FOR_MAIN);
    assert_eq!(push(&new.url, &token, &nar).await.status(), 200);

    let again = world.serve().await;
    // One that is asked to write notices at once.
    let begin = std::time::Instant::now();
    let other = client()
        .post(format!("{}_api/v1/cache-config/other", new.url))
        .bearer_auth(world.token(&["--sub", "ci", "--validity", "1h", "--create-cache", "*"]))
        .json(&json!({
            "keypair": "Generate", "is_public": true, "store_dir": "/nix/store", "priority": 41,
            "upstream_cache_key_names": [],
        }))
        .send()
        .await
        .unwrap();
    assert_eq!(other.status(), 503, "{:?}", other.text().await);
    let (code, _) = new.ends_by_itself(Duration::from_secs(9));
    assert_eq!(code, Some(1));
    assert!(begin.elapsed() < Duration::from_secs(9));
    assert!(pull(&again.url).await == nar);
    again.terminate();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_is_checked_without_serving() {
    let world = World::new("hs256").await;
    let said = world.run(&["check-config"]);
    assert!(said.contains("is good"), "{said}");
    let said = world.fail(&["check-config"], &[("bucket:", "bukcet:")]);
    assert!(said.contains("s3: unknown field `bukcet`"), "{said}");
    assert_eq!(said.trim().lines().count(), 1, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_starts_before_its_bucket_waits_for_it() {
    let mut world = World::new("hs256").await;
    world.garage.kill(0).unwrap();
    let port = free_port();
    let gateway = world.spawn(&[("listen: 127.0.0.1:0", &format!("listen: 127.0.0.1:{port}"))]);
    let healthz = || async move {
        let asked = client()
            .get(format!("http://127.0.0.1:{port}/healthz"))
            .send()
            .await;
        asked.ok().map(|answer| answer.status().as_u16())
    };
    wait_until(async || healthz().await == Some(503)).await;
    world.garage.restart(0).await.unwrap();
    wait_until(async || healthz().await == Some(200)).await;
    world.garage.kill(0).unwrap();
    wait_until(async || healthz().await == Some(503)).await;
    gateway.terminate();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_waits_for_its_bucket_stops_when_told() {
    let mut world = World::new("hs256").await;
    world.garage.kill(0).unwrap();
    let port = free_port();
    let gateway = world.spawn(&[("listen: 127.0.0.1:0", &format!("listen: 127.0.0.1:{port}"))]);
    wait_until(async || {
        client()
            .get(format!("http://127.0.0.1:{port}/"))
            .send()
            .await
            .is_ok()
    })
    .await;
    gateway.terminate();
}

async fn wait_until(mut reached: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if reached().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not reached within a minute");
}
