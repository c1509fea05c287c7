//! Objects and hosts that vanish.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use hayloft_server::depot::ReadError;
use hayloft_store::object::ObjectStore as _;
use hayloft_store::object::list_all;
use hayloft_store::object::s3::S3Store;

use crate::common::{Sample, World, all, main_cache};

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_vanished_is_reported_and_healed_by_the_next_push() {
    let world = World::start(1).await;
    let depot = world.open("a").await;
    let sample = Sample::new(1, 3_000_000);
    sample.push(&depot).await.unwrap();
    depot.close().await;
    let depot = world.open("a").await;
    let bucket = S3Store::new(&world.s3());
    for key in list_all(&bucket, "pack/", None).await.unwrap() {
        bucket.delete(&key).await.unwrap();
    }
    assert!(matches!(sample.pull(&depot).await, Err(ReadError::Damaged)));
    assert!(!sample.pull(&depot).await.unwrap());
    let asked = [sample.info.store_path_hash];
    assert_eq!(depot.missing(&main_cache(), &asked).await.unwrap(), asked);
    sample.push(&depot).await.unwrap();
    assert!(sample.pull(&depot).await.unwrap());
    depot.close().await;
    // A pack that was cut off is as good as none.
    let depot = world.open("a").await;
    for key in list_all(&bucket, "pack/", None).await.unwrap() {
        let bytes = bucket.get(&key).await.unwrap();
        bucket.put(&key, bytes.slice(..bytes.len() / 2)).await.unwrap();
    }
    assert!(matches!(sample.pull(&depot).await, Err(ReadError::Damaged)));
    sample.push(&depot).await.unwrap();
    assert!(sample.pull(&depot).await.unwrap());
    depot.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_dies_during_pushes_and_pulls_is_not_noticed() {
    let mut world = World::start(3).await;
    let depot = world.open("a").await;
    let there: Vec<Sample> = (1..=10).map(|n| Sample::new(n, 6_000_000)).collect();
    all(&there, 4, async |sample| {
        sample.push(&depot).await.unwrap();
    })
    .await;
    depot.close().await;
    let depot = world.open("a").await;
    let new: Vec<Sample> = (11..=20).map(|n| Sample::new(n, 6_000_000)).collect();
    let pushes = all(&new, 4, async |sample| {
        sample.push(&depot).await.unwrap();
    });
    let pulls = all(&there, 4, async |sample| {
        assert!(sample.pull(&depot).await.unwrap());
    });
    // The nearest endpoint is the one that dies.
    let garage = &mut world.garage;
    let death = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        garage.kill(0).unwrap();
    };
    tokio::time::timeout(Duration::from_secs(120), async {
        tokio::join!(pushes, pulls, death)
    })
    .await
    .expect("pushes and pulls ended");
    all(&new, 4, async |sample| {
        assert!(sample.pull(&depot).await.unwrap());
    })
    .await;
    assert!(depot.healthy().await);
    depot.close().await;
    // The next start does not need the dead host either.
    let depot = world.open("b").await;
    all(&new, 4, async |sample| {
        assert!(sample.pull(&depot).await.unwrap());
    })
    .await;
    depot.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_hangs_fails_no_push_and_no_pull() {
    let world = World::start(3).await;
    let depot = world.open("a").await;
    let samples: Vec<Sample> = (1..=6).map(|n| Sample::new(n, 500_000)).collect();
    samples[0].push(&depot).await.unwrap();
    let pid = i32::try_from(world.garage.pid(0).unwrap()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let start = Instant::now();
    // The gateway turns to another endpoint within seconds, but that Garage may itself ask the one that hangs: it takes a
    // member for dead only after 66 s.
    tokio::time::timeout(Duration::from_secs(200), async {
        for sample in &samples[1..] {
            sample.push(&depot).await.unwrap();
            assert!(sample.pull(&depot).await.unwrap());
        }
    })
    .await
    .expect("pushes and pulls ended");
    println!(
        "five pushes and pulls with a hanging endpoint took {:?}",
        start.elapsed()
    );
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    depot.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_at_one_host_shows_what_was_written_at_another() {
    // The second look depends on it.
    let world = World::start(3).await;
    let at = |i: usize| {
        let mut config = world.s3();
        config.endpoints = vec![config.endpoints[i].clone()];
        S3Store::new(&config)
    };
    let (writer, readers) = (at(0), [at(1), at(2)]);
    let (mut puts, mut lists, mut gets) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    for n in 0..40 {
        let key = format!("epoch/{n:016x}-0000000000000001");
        let start = Instant::now();
        writer.put(&key, "x".into()).await.unwrap();
        puts += start.elapsed();
        let start = Instant::now();
        for reader in &readers {
            let keys = list_all(reader, "epoch/", None).await.unwrap();
            assert_eq!(keys.last(), Some(&key));
        }
        lists += start.elapsed();
        let start = Instant::now();
        for reader in &readers {
            let missing = reader.get(&format!("ended/{n:016x}-0000000000000001")).await;
            assert!(missing.is_err_and(|error| error.is_not_found()));
        }
        gets += start.elapsed();
    }
    println!(
        "a small write takes {:?}, a listing {:?}, a read of what is not there {:?}",
        puts / 40,
        lists / 80,
        gets / 80
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_gateways_at_different_hosts_only_the_newer_writes() {
    let world = World::start(3).await;
    let old = world.open("old").await;
    Sample::new(1, 1000).push(&old).await.unwrap();
    let new = world.open_at("new", 2).await;
    let late = Sample::new(2, 1000);
    assert!(late.push(&old).await.is_err());
    assert!(!old.healthy().await);
    assert!(!late.pull(&new).await.unwrap());
    late.push(&new).await.unwrap();
    assert!(Sample::new(1, 1000).pull(&new).await.unwrap());
    old.close().await;
    new.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_of_several_pages_is_whole_and_in_order() {
    let world = World::start(1).await;
    let bucket = S3Store::new(&world.s3());
    let keys: Vec<String> = (0..1100).map(|n| format!("log/{n:016x}")).collect();
    let puts = keys.iter().map(|key| bucket.put(key, "x".into()));
    let done: Vec<_> = stream::iter(puts).buffer_unordered(16).collect().await;
    assert!(done.iter().all(Result::is_ok));
    assert_eq!(list_all(&bucket, "log/", None).await.unwrap(), keys);
    assert_eq!(
        list_all(&bucket, "log/", Some(&keys[49])).await.unwrap(),
        keys[50..]
    );
    assert!(
        list_all(&bucket, "log/", keys.last().map(String::as_str))
            .await
            .unwrap()
            .is_empty()
    );
}
