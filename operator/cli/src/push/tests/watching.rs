//! `--watch-store`, over a store whose builds are played here.

use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use axum::http::StatusCode;

use super::*;
use crate::push::watch::{self, Watch};
use crate::signals::interrupts;

/// Waits until something holds; how long it takes is of no interest.
async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait)
        .await
        .unwrap_or_else(|_| panic!("{what}"));
}

/// As a build ends: the path is there, its lock goes.
fn build(store: &mut FakeStore, name: &str, references: &[&str]) {
    let lock = format!("{}.lock", store.path(name));
    fs::write(&lock, "").expect("locks");
    store.add(name, references, 1_000);
    fs::remove_file(&lock).expect("unlocks");
}

/// Starts a watch in the background.
fn watch(
    server: &FakeGateway,
    store: &FakeStore,
    progress: Progress,
    token: impl Fn() -> Option<Token> + Send + Sync + 'static,
) -> tokio::task::JoinHandle<anyhow::Result<()>> {
    let (gateway, store) = (client(server), store.commands());
    tokio::spawn(async move {
        let token: &(dyn Fn() -> Option<Token> + Sync) = &token;
        let watch = Watch {
            gateway,
            cache: cache(),
            store,
            choices: choices(),
            began: UNIX_EPOCH,
            token,
        };
        watch::run(watch, &progress, &mut interrupts()?).await
    })
}

#[tokio::test]
async fn what_gets_built_is_pushed_and_no_refusal_ends_the_watch() {
    let (server, mut store) = (FakeGateway::start().await, FakeStore::new());
    server.play("bad", &[Play::Answer(StatusCode::BAD_REQUEST)]);
    let (progress, sink) = lines();
    let watching = watch(&server, &store, progress, || None);
    eventually("it says when it watches", || text(&sink).starts_with("watching ")).await;
    build(&mut store, "lib", &[]);
    build(&mut store, "bad", &["lib"]);
    eventually("the first build is pushed", || {
        server.stored().contains_key("lib") && server.tries("bad") == 1
    })
    .await;
    build(&mut store, "app", &["lib"]);
    eventually("the next build is pushed", || server.stored().contains_key("app")).await;
    assert!(!watching.is_finished());
    watching.abort();
}

#[tokio::test]
async fn a_token_that_was_renewed_is_used_from_then_on() {
    let (server, mut store) = (FakeGateway::start().await, FakeStore::new());
    server.take_only("renewed");
    let dir = tempfile::tempdir().expect("makes a folder");
    let file = dir.path().join("token");
    let (progress, sink) = lines();
    let read = file.clone();
    let watching = watch(&server, &store, progress, move || {
        Some(Token::new(&fs::read_to_string(&read).ok()?))
    });
    eventually("it says when it watches", || text(&sink).starts_with("watching ")).await;
    build(&mut store, "early", &[]);
    eventually("the old token is refused", || {
        text(&sink).contains("the token expired")
    })
    .await;
    fs::write(&file, "renewed\n").expect("writes");
    build(&mut store, "late", &[]);
    eventually("the new one is taken", || server.stored().contains_key("late")).await;
    watching.abort();
}
