//! Checking the bucket, at once and by and by.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::depot::{FsckOptions, FsckReport, ScrubSettings};

const LOOK: FsckOptions = FsckOptions {
    verify: false,
    repair: false,
    max_rate: 0,
};
const VERIFY: FsckOptions = FsckOptions { verify: true, ..LOOK };
const REPAIR: FsckOptions = FsckOptions {
    repair: true,
    ..VERIFY
};

async fn check(depot: &Depot, options: FsckOptions) -> FsckReport {
    depot
        .fsck(
            options,
            &CancellationToken::new(),
            &(Arc::new(|_: &FsckReport| {}) as _),
        )
        .await
        .unwrap()
}

/// Five paths, each in a pack of its own, in the order of the packs' names.
async fn five(world: &World, depot: &Depot) -> Vec<(Sample, String)> {
    let mut samples = Vec::new();
    let mut known: Vec<String> = Vec::new();
    for n in 0..5 {
        let sample = sample(&hash(n), noise(u64::from(n), 50_000));
        push(depot, &sample).await.unwrap();
        let keys = world.bucket.keys().into_iter();
        let new: Vec<String> = keys
            .filter(|key| key.starts_with("pack/") && !known.contains(key))
            .collect();
        known.extend(new.clone());
        samples.push((sample, new[0].clone()));
    }
    samples.sort_by(|a, b| a.1.cmp(&b.1));
    samples
}

async fn change(world: &World, key: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let store = Arc::clone(&world.bucket) as SharedStore;
    let mut bytes = store.get(key).await.unwrap().to_vec();
    change(&mut bytes);
    world.bucket.tamper(key, Some(bytes.into()));
}

async fn missing(depot: &Depot, samples: &[(Sample, String)]) -> Vec<usize> {
    let mut missing = Vec::new();
    for (n, (sample, _)) in samples.iter().enumerate() {
        let asked = [sample.info.store_path_hash];
        if !depot.missing(&main(), &asked).await.unwrap().is_empty() {
            missing.push(n);
        }
    }
    missing
}

#[tokio::test]
async fn a_check_finds_what_is_gone_cut_off_and_changed_and_repair_has_it_healed() {
    let world = World::new();
    let depot = world.with_main("a").await;
    let samples = five(&world, &depot).await;
    let report = check(&depot, VERIFY).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.packs, report.verified), (5, 5));
    world.bucket.tamper(&samples[0].1, None);
    change(&world, &samples[2].1, |bytes| bytes.truncate(20_000)).await;
    change(&world, &samples[4].1, |bytes| bytes[30_000] ^= 1).await;
    world
        .bucket
        .tamper(&format!("pack/{}", "77".repeat(16)), Some("a stranger".into()));
    let report = check(&depot, LOOK).await;
    assert_eq!((report.missing, report.other_size, report.strangers), (1, 1, 1));
    let report = check(&depot, VERIFY).await;
    assert_eq!((report.verified, report.damaged), (2, 2));
    assert!(report.to_string().contains("--repair"));
    // Looking changed nothing.
    assert_eq!(missing(&depot, &samples).await, [0; 0]);
    let report = check(&depot, REPAIR).await;
    assert_eq!(report.paths_missing, 3);
    assert_eq!(missing(&depot, &samples).await, [0, 2, 4]);
    // The next gateway knows it, too.
    depot.close().await;
    let depot = world.open("b").await.unwrap();
    assert_eq!(missing(&depot, &samples).await, [0, 2, 4]);
    for (sample, _) in &samples {
        push(&depot, sample).await.unwrap();
        assert_there(&depot, sample).await;
    }
    let report = check(&depot, VERIFY).await;
    assert!(report.is_clean() && report.paths_missing == 0, "{report:?}");
}

#[tokio::test]
async fn a_check_that_is_told_to_stop_goes_on_where_it_was() {
    let world = World::new();
    let depot = world.with_main("a").await;
    five(&world, &depot).await;
    let stop = CancellationToken::new();
    let stopper = stop.clone();
    let listener: crate::depot::FsckListener = Arc::new(move |report: &FsckReport| {
        if report.verified == 2 {
            stopper.cancel();
        }
    });
    let report = depot.fsck(VERIFY, &stop, &listener).await.unwrap();
    assert!(report.interrupted);
    assert_eq!(report.verified, 2);
    depot.close().await;
    let depot = world.open("a").await.unwrap();
    assert_eq!(check(&depot, VERIFY).await.verified, 3);
    assert_eq!(check(&depot, VERIFY).await.verified, 5);
}

#[tokio::test]
async fn a_bucket_that_does_not_answer_is_not_taken_for_damaged_by_a_check() {
    let world = World::new();
    let depot = world.with_main("a").await;
    let samples = five(&world, &depot).await;
    world.bucket.set_down(true);
    let failed = depot
        .fsck(
            REPAIR,
            &CancellationToken::new(),
            &(Arc::new(|_: &FsckReport| {}) as _),
        )
        .await;
    assert!(failed.is_err());
    world.bucket.set_down(false);
    assert_eq!(missing(&depot, &samples).await, [0; 0]);
}

#[tokio::test]
async fn damage_that_nobody_reads_is_found_by_and_by() {
    let world = World::new();
    let depot = world.with_main("a").await;
    let samples = five(&world, &depot).await;
    change(&world, &samples[3].1, |bytes| bytes[40_000] ^= 1).await;
    let stop = CancellationToken::new();
    let settings = ScrubSettings {
        max_rate: 0,
        ..ScrubSettings::default()
    };
    let clock: crate::depot::Clock = Arc::new(|| jiff::Timestamp::UNIX_EPOCH);
    let scrubbing = tokio::spawn(depot.inner.scrubber.clone().run(settings, clock, stop.clone()));
    let found = async {
        while missing(&depot, &samples).await != [3] {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), found)
        .await
        .expect("it is found");
    stop.cancel();
    scrubbing.await.unwrap();
}
