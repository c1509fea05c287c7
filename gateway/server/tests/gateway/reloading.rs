//! What a running gateway takes from its configuration at SIGHUP.

use std::fs;
use std::time::{Duration, Instant};

use hayloft_nixcache::NarHash;
use reqwest::StatusCode;
use serde_json::json;

use crate::support::program::World;
use crate::{BASE_NAME, client, hello};

/// Pushes the `n`th path of one content.
async fn push(url: &str, token: &str, n: u8) -> StatusCode {
    let nar = hello();
    let name = format!("{n:03}{}", &BASE_NAME[3..]);
    let info = json!({
        "cache": "main", "store_path_hash": &name[..32], "store_path": format!("/nix/store/{name}"),
        "references": [name], "nar_hash": NarHash::of(&nar).to_string(), "nar_size": nar.len(),
    });
    let request = client()
        .put(format!("{url}_api/v1/upload-path"))
        .bearer_auth(token);
    let request = request.header("X-Attic-Nar-Info", info.to_string()).body(nar);
    request.send().await.unwrap().status()
}

#[tokio::test(flavor = "multi_thread")]
async fn at_sighup_s3_is_asked_where_and_as_whom_the_file_says_now() {
    let world = World::new("hs256").await;
    let token = world.token(&["--sub", "ci", "--validity", "1y", "--push", "main"]);
    let gateway = world.serve().await;
    let id = world.garage.access_key_id().to_owned();

    world.changed(&[(&id, "GK0123456789abcdef01234567")]);
    gateway.hang_up();
    let mut n = 0;
    // Until the signal has come, pushes succeed.
    while push(&gateway.url, &token, n).await.is_success() {
        n += 1;
        assert!(n < 100, "the other key was never taken");
    }

    // A file that is not sound changes nothing, and ends nothing.
    fs::write(world.dir.path().join("changed.yaml"), "listen: [").unwrap();
    gateway.hang_up();
    assert!(push(&gateway.url, &token, n).await.is_server_error());

    world.changed(&[]);
    gateway.hang_up();
    let begun = Instant::now();
    while !push(&gateway.url, &token, n).await.is_success() {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "the key was never taken again"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    gateway.terminate();
}
