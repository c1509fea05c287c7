//! Three gateways as they are started in earnest, on one real Garage of three nodes.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod certificates;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::town::{Path, Town, client, status, until};

#[tokio::test(flavor = "multi_thread")]
async fn the_committer_is_killed_and_pushes_and_pulls_go_on() {
    let town = Town::new().await;
    let [mut lyon, nantes, paris] = town.three().await;
    let mut there = Vec::new();
    for n in 0..6 {
        let path = Path::new(n);
        let gateway = [&lyon, &nantes, &paris][n as usize % 3];
        path.push(gateway, &town.token).await.unwrap();
        for gateway in [&lyon, &nantes, &paris] {
            path.assert_at(gateway).await;
        }
        there.push(path);
    }
    lyon.signal(Signal::KILL);
    let begin = Instant::now();
    let late = Path::new(50);
    let mut refused = 0;
    while let Err(reason) = late.push(&paris, &town.token).await {
        assert!(reason.starts_with("503"), "{reason}");
        refused += 1;
        assert!(begin.elapsed() < Duration::from_secs(60), "{reason}");
        for path in &there {
            path.assert_at(&nantes).await;
            path.assert_at(&paris).await;
        }
    }
    println!(
        "pushes succeed again after {:?}; {refused} were refused meanwhile",
        begin.elapsed()
    );
    assert!(!lyon.runs());
    there.push(late);
    for path in &there {
        path.assert_at(&nantes).await;
        path.assert_at(&paris).await;
    }
    // It comes back as a follower, and shows what came meanwhile.
    let lyon = town.serve(0, "auto").await;
    for path in &there {
        path.assert_at(&lyon).await;
    }
    let last = Path::new(60);
    last.push(&lyon, &town.token).await.unwrap();
    for gateway in [&lyon, &nantes, &paris] {
        last.assert_at(gateway).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_committer_that_slept_wakes_up_deposed_and_follows() {
    let town = Town::new().await;
    let [mut lyon, nantes, paris] = town.three().await;
    let first = Path::new(1);
    first.push(&lyon, &town.token).await.unwrap();
    lyon.signal(Signal::STOP);
    let begin = Instant::now();
    let second = Path::new(2);
    until(&nantes, async || second.push(&nantes, &town.token).await.is_ok()).await;
    println!("pushes succeed again after {:?}", begin.elapsed());
    // It slept in the middle of a push that another made.
    lyon.signal(Signal::CONT);
    let third = Path::new(3);
    until(&lyon, async || third.push(&lyon, &town.token).await.is_ok()).await;
    for gateway in [&lyon, &nantes, &paris] {
        for path in [&first, &second, &third] {
            path.assert_at(gateway).await;
        }
    }
    assert!(lyon.runs());
    assert!(lyon.says("another gateway orders now, and this one follows"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_is_named_the_committer_by_its_file_and_a_signal() {
    let town = Town::new().await;
    let [lyon, nantes, _paris] = town.three().await;
    town.rename(1, &nantes, "true");
    until(&lyon, async || {
        lyon.says("another gateway orders now, and this one follows")
    })
    .await;
    let path = Path::new(1);
    path.push(&lyon, &town.token).await.unwrap();
    path.assert_at(&nantes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_cannot_answer_yet_lets_another_answer() {
    let town = Town::new().await;
    let _lyon = town.serve(0, "true").await;
    let nantes = town.serve(1, "auto").await;
    let path = Path::new(1);
    path.push(&nantes, &town.token).await.unwrap();
    // It never reaches the bucket, so it has no index.
    let paris = town.spawn(2, "auto", Some("http://127.0.0.1:9"));
    until(&paris, async || {
        status(&format!("{}main/nix-cache-info", paris.url)).await == Some(200)
    })
    .await;
    path.assert_at(&paris).await;
    let miss = format!("{}main/{:032}.narinfo", paris.url, 999);
    assert_eq!(status(&miss).await, Some(404));
    assert_eq!(status(&format!("{}healthz", paris.url)).await, Some(503));
    // Pushes, too.
    let second = Path::new(2);
    second.push(&paris, &town.token).await.unwrap();
    second.assert_at(&nantes).await;
    // The address in what it says is the one that the client asked.
    let config = client()
        .get(format!("{}_api/v1/cache-config/main", paris.url))
        .send()
        .await
        .unwrap();
    assert!(config.text().await.unwrap().contains(&paris.url));
}
