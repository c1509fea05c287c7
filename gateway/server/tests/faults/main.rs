//! The program under faults: killed at any moment under load, with a bucket that answers badly, with a spoiled index.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod asleep;
mod bad_bucket;
mod cut_links;
mod damage;
mod forgery;
mod full_disk;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/mod.rs"]
mod support;
mod tempest;

use std::collections::BTreeSet;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use bad_bucket::{BadBucket, Fault};
use serde_json::json;
use support::program::World;
use support::wares::{Path, Pulled, client, token};

/// How long the gateway may take to be well again after a fault.
const MENDING: Duration = Duration::from_secs(60);

/// Overwrites the index with what is no index, but for its first page.
fn spoil_index(world: &World) {
    for name in ["index.sqlite", "index.sqlite-wal"] {
        let path = world.dir.path().join("state").join(name);
        let Ok(file) = std::fs::File::options().write(true).open(path) else {
            continue;
        };
        let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
        file.write_all_at(&vec![0xa5; length.saturating_sub(4096)], 4096)
            .unwrap();
    }
}

async fn until(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !reached().await {
        assert!(begin.elapsed() < MENDING, "{what}: not after {MENDING:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_under_load_it_loses_nothing_that_it_acknowledged() {
    const ROUNDS: u32 = 12;
    const AT_ONCE: u32 = 6;
    let world = World::new("hs256").await;
    let token = token(&world);
    let mut acknowledged = BTreeSet::new();
    let mut tried = BTreeSet::new();
    for round in 0..ROUNDS {
        let gateway = world.serve().await;
        let url = gateway.url.clone();
        let pushes: Vec<_> = (0..AT_ONCE)
            .map(|lane| {
                let (url, token) = (url.clone(), token.clone());
                tokio::spawn(async move {
                    let (mut done, mut begun) = (Vec::new(), Vec::new());
                    for n in 0..50 {
                        let number = round * 1000 + lane * 100 + n;
                        begun.push(number);
                        if !Path::new(number).push(&url, &token).await {
                            break;
                        }
                        done.push(number);
                    }
                    (done, begun)
                })
            })
            .collect();
        // Whatever it is doing then; every round a little later in what it does.
        tokio::time::sleep(Duration::from_millis(u64::from(round) * 83 + 20)).await;
        gateway.kill();
        for push in pushes {
            let (done, begun) = push.await.unwrap();
            acknowledged.extend(done);
            tried.extend(begun);
        }
        if round % 4 == 3 {
            world.remove_index();
        }
    }
    assert!(acknowledged.len() > 10, "hardly anything was acknowledged");
    let gateway = world.serve().await;
    for number in &tried {
        let pulled = Path::new(*number).pull(&gateway.url).await;
        if acknowledged.contains(number) {
            assert_eq!(pulled, Pulled::Whole, "{number} was acknowledged");
        } else {
            assert_ne!(pulled, Pulled::Failed, "{number} is neither whole nor missing");
        }
    }
    for number in tried.difference(&acknowledged) {
        let path = Path::new(*number);
        assert!(path.push(&gateway.url, &token).await);
        assert_eq!(path.pull(&gateway.url).await, Pulled::Whole);
    }
    gateway.terminate();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_answers_badly_costs_no_acknowledged_byte() {
    let world = World::new("hs256").await;
    let token = token(&world);
    let endpoint = world.garage.endpoints()[0].clone();
    let bucket = BadBucket::open(&endpoint).await;
    let through = [(endpoint.as_str(), bucket.url.as_str())];
    let mut acknowledged = Vec::new();
    let faults = [
        Fault::Status(500),
        Fault::Status(503),
        Fault::Closed,
        Fault::Half,
        Fault::Slow,
        Fault::Mute,
        Fault::NoSuchPack,
        Fault::WrongBytes,
    ];
    for (round, fault) in (0_u32..).zip(faults) {
        bucket.set(Fault::None);
        // A new one knows no frame yet, and must ask the bucket.
        let gateway = world.serve_with(&through).await;
        let first = round * 100;
        for number in first..first + 3 {
            assert!(Path::new(number).push(&gateway.url, &token).await, "{fault:?}");
            acknowledged.push(number);
        }
        gateway.terminate();
        let gateway = world.serve_with(&through).await;
        bucket.set(fault);
        let (kept, new) = (Path::new(first), Path::new(first + 3));
        let (pulled, pushed) = tokio::join!(kept.pull(&gateway.url), new.push(&gateway.url, &token));
        let lies = matches!(fault, Fault::NoSuchPack | Fault::WrongBytes);
        // What does not answer is not gone.
        assert!(lies || pulled != Pulled::Missing, "{fault:?} is taken for damage");
        assert!(!lies || pulled == Pulled::Missing, "{fault:?}: {pulled:?}");
        if pushed {
            acknowledged.push(first + 3);
        }
        bucket.set(Fault::None);
        until(&format!("a push after {fault:?}"), async || {
            new.push(&gateway.url, &token).await
        })
        .await;
        acknowledged.push(first + 3);
        if lies {
            // Noted as damage: the next push heals it.
            assert!(kept.push(&gateway.url, &token).await, "{fault:?}");
        }
        until(&format!("a pull after {fault:?}"), async || {
            kept.pull(&gateway.url).await == Pulled::Whole
        })
        .await;
        gateway.kill();
    }
    world.remove_index();
    let gateway = world.serve().await;
    for number in acknowledged {
        assert_eq!(
            Path::new(number).pull(&gateway.url).await,
            Pulled::Whole,
            "{number}"
        );
    }
    gateway.terminate();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_deleted_under_a_running_gateway_is_made_again() {
    let world = World::new("hs256").await;
    let token = token(&world);
    let gateway = world.serve().await;
    let (before, after) = (Path::new(1), Path::new(2));
    assert!(before.push(&gateway.url, &token).await);
    world.remove_index();
    // Whatever it says meanwhile: nothing wrong, and nothing acknowledged is lost.
    let pulled = before.pull(&gateway.url).await;
    assert_ne!(pulled, Pulled::Missing);
    let acknowledged = after.push(&gateway.url, &token).await;
    gateway.kill();
    let gateway = world.serve().await;
    assert_eq!(before.pull(&gateway.url).await, Pulled::Whole);
    if acknowledged {
        assert_eq!(after.pull(&gateway.url).await, Pulled::Whole);
    }
    assert!(after.push(&gateway.url, &token).await);
    assert_eq!(after.pull(&gateway.url).await, Pulled::Whole);
    gateway.terminate();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_spoiled_under_a_running_gateway_is_made_again() {
    let world = World::new("hs256").await;
    let token = token(&world);
    let gateway = world.serve().await;
    let before: Vec<Path> = (1..20).map(Path::new).collect();
    for path in &before {
        assert!(path.push(&gateway.url, &token).await);
    }
    spoil_index(&world);
    for path in &before {
        assert_ne!(path.pull(&gateway.url).await, Pulled::Missing);
    }
    gateway.kill();
    let gateway = world.serve().await;
    for path in &before {
        assert_eq!(path.pull(&gateway.url).await, Pulled::Whole);
    }
    let after = Path::new(100);
    assert!(after.push(&gateway.url, &token).await);
    assert_eq!(after.pull(&gateway.url).await, Pulled::Whole);
    gateway.terminate();
}

/// Makes a cache, pushes to two, and ends the one. The numbers of what was acknowledged in the other.
async fn live(url: &str, token: &str, first: u32) -> Vec<u32> {
    let scratch = json!({
        "keypair": "Generate", "is_public": true, "store_dir": "/nix/store", "priority": 41,
        "upstream_cache_key_names": [],
    });
    // One that a life before has left will do.
    let _ = client()
        .post(format!("{url}_api/v1/cache-config/scratch"))
        .bearer_auth(token)
        .json(&scratch)
        .send()
        .await;
    let pushes = (first..first + 4).map(async |number| {
        let cache = if number == first { "main" } else { "scratch" };
        let done = Path::new(number).push_to(cache, url, token).await;
        (number, done)
    });
    let pushed = futures::future::join_all(pushes).await;
    let kept = pushed
        .iter()
        .filter(|(number, done)| *number == first && *done)
        .map(|(number, _)| *number)
        .collect();
    if pushed.iter().all(|(_, done)| *done) {
        let _ = client()
            .delete(format!("{url}_api/v1/cache-config/scratch"))
            .bearer_auth(token)
            .send()
            .await;
    }
    kept
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_write_of_a_life_it_mends_itself() {
    /// Far more than one life has.
    const WRITES: u32 = 80;
    let world = World::new("hs256").await;
    let token = world.token(&[
        "--sub",
        "ci",
        "--validity",
        "1y",
        "--pull",
        "*",
        "--push",
        "*",
        "--create-cache",
        "*",
        "--destroy-cache",
        "*",
    ]);
    let endpoint = world.garage.endpoints()[0].clone();
    let bucket = BadBucket::open(&endpoint).await;
    bucket.set(Fault::Trapped);
    let changes = [(endpoint.as_str(), bucket.url.as_str())];
    let (mut acknowledged, mut kills) = (Vec::new(), 0);
    'writes: for write in 1..=WRITES {
        for after in [false, true] {
            let first = write * 100 + u32::from(after) * 10;
            bucket.trap.set(write, after);
            let begun = world.try_serve_with(&changes, |pid| bucket.trap.aim(pid)).await;
            if let Ok(gateway) = begun {
                acknowledged.extend(live(&gateway.url, &token, first).await);
                if !bucket.trap.has_sprung() {
                    assert!(acknowledged.contains(&first));
                    gateway.terminate();
                    break 'writes;
                }
                gateway.kill();
            }
            assert!(
                bucket.trap.has_sprung(),
                "it ended by itself before write {write}"
            );
            kills += 1;
            bucket.trap.set(0, false);
            let gateway = world.serve_with(&changes).await;
            let pulled = Path::new(first).pull(&gateway.url).await;
            assert_ne!(pulled, Pulled::Failed, "write {write}, after: {after}");
            for number in acknowledged.iter().rev().take(4) {
                let pulled = Path::new(*number).pull(&gateway.url).await;
                assert_eq!(
                    pulled,
                    Pulled::Whole,
                    "{number} after write {write}, after: {after}"
                );
            }
            gateway.kill();
        }
        assert!(write < WRITES, "it never came to an end");
    }
    eprintln!("killed at {kills} points, {} paths kept", acknowledged.len());
    assert!(kills >= 14, "only {kills} kills");
    bucket.set(Fault::None);
    world.remove_index();
    let gateway = world.serve_with(&changes).await;
    for number in acknowledged {
        assert_eq!(
            Path::new(number).pull(&gateway.url).await,
            Pulled::Whole,
            "{number}"
        );
    }
    let checked = world.run(&["fsck", "--verify"]);
    assert!(checked.contains("all is well"), "{checked}");
    gateway.terminate();
}
