//! Crashes at every write, restarts, lost indexes, and two gateways that both think they lead.

use hayloft_store::object::memory::Fault;

use super::*;
use crate::depot::DepotError;

#[tokio::test]
async fn everything_is_there_after_a_restart_and_with_a_lost_index() {
    let world = World::new();
    let depot = world.with_main("a").await;
    let samples: Vec<Sample> = (0..5)
        .map(|n| sample(&hash(n), noise(u64::from(n), 50_000)))
        .collect();
    for sample in &samples {
        push(&depot, sample).await.unwrap();
    }
    let key = depot
        .cache(&main())
        .await
        .unwrap()
        .unwrap()
        .public_key
        .to_string();
    depot.close().await;
    // The second folder has no index at all: it is made from the bucket.
    for folder in ["a", "b", "a"] {
        let depot = world.open(folder).await.unwrap();
        for sample in &samples {
            assert_there(&depot, sample).await;
        }
        assert_eq!(
            depot
                .cache(&main())
                .await
                .unwrap()
                .unwrap()
                .public_key
                .to_string(),
            key
        );
        depot.close().await;
    }
}

#[tokio::test]
async fn the_newer_gateway_deposes_the_older_which_then_acknowledges_nothing() {
    let world = World::new();
    let old = world.with_main("old").await;
    let first = sample(&hash(1), noise(1, 1000));
    push(&old, &first).await.unwrap();
    let new = world.open("new").await.unwrap();
    let late = sample(&hash(2), noise(2, 1000));
    let refused = push(&old, &late).await;
    assert!(
        matches!(&refused, Err(UploadError::Unavailable(text)) if text.contains("taken over")),
        "{refused:?}"
    );
    assert!(!old.healthy().await);
    assert!(matches!(
        old.create_cache(new_cache("x")).await,
        Err(DepotError::Unavailable(_))
    ));
    // It goes on reading.
    assert_there(&old, &first).await;
    // What the old one wrote without acknowledging is void, now and after every restart.
    assert!(
        new.path(&main(), &late.info.store_path_hash)
            .await
            .unwrap()
            .is_none()
    );
    push(&new, &sample(&hash(3), noise(3, 1000))).await.unwrap();
    new.close().await;
    for folder in ["new", "fresh", "old"] {
        let depot = world.open(folder).await.unwrap();
        assert!(
            depot
                .path(&main(), &late.info.store_path_hash)
                .await
                .unwrap()
                .is_none(),
            "{folder}"
        );
        assert_there(&depot, &first).await;
        depot.close().await;
    }
}

#[tokio::test]
async fn an_idle_gateway_notices_within_half_a_minute_that_another_took_over() {
    use std::time::Duration;
    let world = World::new();
    let old = world.with_main("old").await;
    tokio::time::pause();
    let alone = tokio::time::timeout(Duration::from_secs(600), old.deposed()).await;
    assert!(alone.is_err(), "nobody took over");
    // A bucket that does not answer shows nothing.
    world.bucket.set_down(true);
    let alone = tokio::time::timeout(Duration::from_secs(600), old.deposed()).await;
    assert!(alone.is_err() && !old.is_deposed());
    world.bucket.set_down(false);
    tokio::time::resume();
    let new = world.open("new").await.unwrap();
    tokio::time::pause();
    tokio::time::timeout(Duration::from_secs(30), old.deposed())
        .await
        .expect("it noticed");
    assert!(old.is_deposed() && !old.healthy().await);
    let refused = old.create_cache(new_cache("x")).await;
    assert!(matches!(refused, Err(DepotError::Unavailable(_))), "{refused:?}");
    tokio::time::timeout(Duration::from_secs(600), new.deposed())
        .await
        .expect_err("the newer one leads");
}

/// Pushes until a write fails, as in a crash: from that write on nothing reaches the bucket, or the writer never
/// hears of it. A second gateway then takes over.
async fn crash_at(write: usize, fault: Fault) {
    let world = World::new();
    let depot = world.with_main("a").await;
    world.bucket.set_faults(Some(Box::new(move |number, _| {
        if number < write {
            Fault::None
        } else if number == write {
            fault
        } else {
            Fault::Lost
        }
    })));
    let mut acknowledged = Vec::new();
    for n in 0..3 {
        let sample = sample(&hash(n), noise(u64::from(n), 3000));
        let pushed = tokio::time::timeout(std::time::Duration::from_millis(300), push(&depot, &sample)).await;
        match pushed {
            Ok(Ok(_)) => acknowledged.push(sample),
            _ => break,
        }
    }
    // The process dies: nothing of it goes on.
    drop(depot);
    world.bucket.set_faults(None);
    let next = world.open("b").await.unwrap();
    for sample in &acknowledged {
        assert_there(&next, sample).await;
    }
    // And whatever it shows, it can also send, and go on from there.
    for n in 0..4 {
        let sample = sample(&hash(n), noise(u64::from(n), 3000));
        if next
            .path(&main(), &sample.info.store_path_hash)
            .await
            .unwrap()
            .is_some()
        {
            assert_there(&next, &sample).await;
        }
        push(&next, &sample).await.unwrap();
        assert_there(&next, &sample).await;
    }
    let shown = next.missing(&main(), &[hash(0).parse().unwrap()]).await.unwrap();
    assert!(shown.is_empty());
}

#[tokio::test]
async fn a_crash_at_any_write_loses_nothing_that_was_acknowledged() {
    for write in 0..7 {
        for fault in [Fault::Lost, Fault::Unheard] {
            crash_at(write, fault).await;
        }
    }
}

#[tokio::test]
async fn a_crash_while_taking_office_is_mended_by_the_next_start() {
    for write in 0..6 {
        for fault in [Fault::Lost, Fault::Unheard] {
            let world = World::new();
            let depot = world.with_main("a").await;
            let sample = sample(&hash(1), noise(1, 3000));
            push(&depot, &sample).await.unwrap();
            depot.close().await;
            world.bucket.set_faults(Some(Box::new(move |number, _| {
                if number < write {
                    Fault::None
                } else if number == write {
                    fault
                } else {
                    Fault::Lost
                }
            })));
            let start = tokio::time::timeout(std::time::Duration::from_millis(300), world.open("a")).await;
            drop(start);
            world.bucket.set_faults(None);
            for folder in ["a", "b"] {
                let depot = world.open(folder).await.unwrap();
                assert_there(&depot, &sample).await;
                depot.close().await;
            }
        }
    }
}

#[tokio::test]
async fn a_write_that_fails_for_a_while_is_tried_again_and_acknowledged_once_it_is_durable() {
    let world = World::new();
    let depot = world.with_main("a").await;
    world.bucket.set_faults(Some(Box::new(
        |number, _| if number < 3 { Fault::Lost } else { Fault::None },
    )));
    let sample = sample(&hash(1), noise(1, 3000));
    push(&depot, &sample).await.unwrap();
    depot.close().await;
    assert_there(&world.open("b").await.unwrap(), &sample).await;
}

#[tokio::test]
async fn a_changed_log_object_stops_the_follower_by_name() {
    let world = World::new();
    let depot = world.with_main("a").await;
    push(&depot, &sample(&hash(1), noise(1, 10))).await.unwrap();
    depot.close().await;
    let key = world
        .bucket
        .keys()
        .into_iter()
        .filter(|key| key.starts_with("log/"))
        .nth(1)
        .unwrap();
    let store = Arc::clone(&world.bucket) as SharedStore;
    let mut bytes = store.get(&key).await.unwrap().to_vec();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    world.bucket.tamper(&key, Some(bytes.into()));
    let Err(OpenError::Log(error)) = world.open("fresh").await else {
        panic!("it was followed")
    };
    assert_eq!(error.object, key);
    world.bucket.tamper(&key, None);
    assert!(world.open("fresh").await.is_err());
}

#[tokio::test]
async fn a_bucket_of_a_newer_format_or_another_key_is_refused() {
    let world = World::new();
    world.with_main("a").await.close().await;
    let store = Arc::clone(&world.bucket) as SharedStore;
    let effects = Effects {
        clock: Arc::new(|| jiff::Timestamp::UNIX_EPOCH),
        seed: [77; 32],
    };
    let other = ClusterKey::from_random([6; 32]);
    let opened = Depot::open_on(
        store,
        &world.dir.path().join("b"),
        &other,
        MEMORY,
        settings(),
        effects,
    )
    .await;
    assert!(matches!(opened, Err(OpenError::Log(_))));
    world
        .bucket
        .tamper("format", Some("hayloft bucket format 3\n".into()));
    assert!(matches!(
        world.open("c").await,
        Err(OpenError::Format { found: 3, known: 2 })
    ));
}
