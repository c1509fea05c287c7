//! What is pushed comes back, also from an index that was made again.

use std::time::Instant;

use hayloft_server::depot;

use crate::common::{Sample, World, all, main_cache};

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_uploads_at_once_come_back_and_a_lost_index_is_made_again() {
    let world = World::start(1).await;
    let depot = world.open("a").await;
    let samples: Vec<Sample> = (1..=48)
        .map(|n| {
            Sample::new(
                n,
                [900, 40_000, 700_000, 5_000_000][usize::try_from(n % 4).unwrap()],
            )
        })
        .collect();
    let start = Instant::now();
    all(&samples, 16, async |sample| {
        sample.push(&depot).await.unwrap();
    })
    .await;
    let bytes: u64 = samples.iter().map(|sample| sample.info.nar_size).sum();
    println!("pushed {} MB in {:?}", bytes / 1_000_000, start.elapsed());
    all(&samples, 8, async |sample| {
        assert!(sample.pull(&depot).await.unwrap());
    })
    .await;
    let hashes: Vec<_> = samples.iter().map(|sample| sample.info.store_path_hash).collect();
    assert!(depot.missing(&main_cache(), &hashes).await.unwrap().is_empty());
    let mut before = Vec::new();
    for hash in &hashes {
        before.push(format!("{:?}", depot.path(&main_cache(), hash).await.unwrap()));
    }
    let key = depot
        .cache(&main_cache())
        .await
        .unwrap()
        .unwrap()
        .public_key
        .to_string();
    depot.close().await;

    std::fs::remove_dir_all(world.dir.path().join("a")).unwrap();
    let start = Instant::now();
    let depot = world.open("a").await;
    println!("opened with a lost index in {:?}", start.elapsed());
    let mut after = Vec::new();
    for hash in &hashes {
        after.push(format!("{:?}", depot.path(&main_cache(), hash).await.unwrap()));
    }
    assert_eq!(before, after);
    assert_eq!(
        depot
            .cache(&main_cache())
            .await
            .unwrap()
            .unwrap()
            .public_key
            .to_string(),
        key
    );
    all(&samples, 8, async |sample| {
        assert!(sample.pull(&depot).await.unwrap());
    })
    .await;
    let rebuilt = depot::rebuild(&world.config("elsewhere"), false).await.unwrap();
    assert_eq!(rebuilt.caches, 1);
    // Looking at the bucket deposes nobody.
    Sample::new(99, 1000).push(&depot).await.unwrap();
    depot.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_path_is_acknowledged_soon() {
    let world = World::start(3).await;
    let depot = world.open("a").await;
    let mut times = Vec::new();
    for n in 1..=20 {
        let sample = Sample::new(n, 2000);
        let start = Instant::now();
        sample.push(&depot).await.unwrap();
        times.push(start.elapsed());
        assert!(sample.pull(&depot).await.unwrap());
    }
    times.sort();
    println!(
        "a path of 2 kB is acknowledged after {:?} (median), {:?} (slowest)",
        times[10], times[19]
    );
    let many: Vec<Sample> = (100..300).map(|n| Sample::new(n, 20_000)).collect();
    let start = Instant::now();
    all(&many, 8, async |sample| {
        sample.push(&depot).await.unwrap();
    })
    .await;
    println!("200 paths of 20 kB, 8 at once: {:?}", start.elapsed());
    // Far above what is measured, for machines that are busy with other things.
    assert!(times[10].as_millis() < 1000);
    depot.close().await;
}
