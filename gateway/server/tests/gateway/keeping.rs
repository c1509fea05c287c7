//! Commands that work on what is stored, with a gateway that runs and without.

use serde_json::Value;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn commands_ask_the_gateway_that_runs_and_do_it_themselves_where_none_does() {
    let world = World::new("hs256").await;
    let nar = hello();
    let token = world.token(&FOR_MAIN);
    let gateway = world.serve().await;
    let pushed = push(&gateway.url, &token, &nar).await;
    assert_eq!(pushed.status(), 200, "{:?}", pushed.text().await);

    // With the gateway running: it does the work, and goes on serving.
    let checked: Value = serde_json::from_str(&world.run(&["fsck", "--verify", "-o", "json"])).unwrap();
    assert_eq!(
        (&checked["verified"], &checked["damaged"]),
        (&json!(1), &json!(0))
    );
    let store_path = format!("/nix/store/{BASE_NAME}");
    world.run(&["pin", "add", "main", "release", &store_path, "--for", "90d"]);
    let pins = world.run(&["pin", "list", "main"]);
    assert!(
        pins.starts_with("release (1 paths, until ") && pins.contains(&BASE_NAME[..32]),
        "{pins}"
    );
    let text = world.run(&["gc", "--dry-run"]);
    assert!(
        text.contains("cache main: keeps what was asked for within 2months"),
        "{text}"
    );
    assert!(text.contains("stay: 1 path"), "{text}");
    let collected: Value = serde_json::from_str(&world.run(&["gc", "-o", "json"])).unwrap();
    assert_eq!(collected["caches"][0]["kept"]["count"], 1);
    assert!(pull(&gateway.url).await == nar);
    let refused = world.fail(&["pin", "add", "main", "other", &"0".repeat(32)], &[]);
    assert!(refused.contains("push them first"), "{refused}");
    // A second one does not start on the same folder.
    gateway.terminate();

    // Without: the command takes the folder for its time.
    world.run(&["pin", "remove", "main", "release"]);
    assert_eq!(world.run(&["pin", "list", "main"]), "");
    let text = world.run(&["fsck", "--verify"]);
    assert!(text.ends_with("all is well\n"), "{text}");
    let gateway = world.serve().await;
    assert!(pull(&gateway.url).await == nar);
    gateway.terminate();
}
