//! `--watch-store`, over a store whose builds are played here.

use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use axum::http::StatusCode;

use super::*;
use crate::push::watch;
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

#[tokio::test]
async fn what_gets_built_is_pushed_and_no_refusal_ends_the_watch() {
    let (server, mut store) = (FakeGateway::start().await, FakeStore::new());
    server.play("bad", &[Play::Answer(StatusCode::BAD_REQUEST)]);
    let (progress, sink) = lines();
    let (gateway, commands, shown) = (client(&server), store.commands(), progress.clone());
    let watching = tokio::spawn(async move {
        let mut interrupts = interrupts()?;
        watch::run(
            gateway,
            cache(),
            commands,
            choices(),
            &shown,
            UNIX_EPOCH,
            &mut interrupts,
        )
        .await
    });
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
