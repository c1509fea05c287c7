//! How long a gateway with an empty disk takes to begin, with an index of many paths in the bucket's checkpoint.

use std::time::Instant;

use crate::common::{Sample, World, all};
use crate::number;

/// Unless the environment says another number.
const PATHS: u64 = 500_000;
const FRAMES_OF_A_PATH: u64 = 10;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes and some gigabytes"]
async fn a_gateway_with_an_empty_disk_begins_with_very_many_paths() {
    let paths = number("PATHS", PATHS);
    let world = World::start(1).await;
    let depot = world.open("a").await;
    let samples = [Sample::new(1, 10_000)];
    all(&samples, 1, async |sample| {
        sample.push(&depot).await.unwrap();
    })
    .await;
    depot.close().await;
    let file = |folder: &str| world.dir.path().join(folder).join("index.sqlite");
    let start = Instant::now();
    hayloft_index::synthetic::fill(&file("a"), paths, paths * FRAMES_OF_A_PATH, |_| {})
        .await
        .unwrap();
    let size = std::fs::metadata(file("a")).unwrap().len();
    println!("filled {} MB in {:?}", size / 1_000_000, start.elapsed());
    let depot = world.open("a").await;
    let start = Instant::now();
    depot.write_checkpoint().await.unwrap();
    println!("wrote a checkpoint in {:?}", start.elapsed());
    Sample::new(2, 10_000).push(&depot).await.unwrap();
    depot.close().await;
    // The bucket has all of it, and the disk may be small.
    std::fs::remove_dir_all(world.dir.path().join("a")).unwrap();
    let start = Instant::now();
    let fresh = world.open("b").await;
    println!("opened with an empty disk in {:?}", start.elapsed());
    assert!(samples[0].pull(&fresh).await.unwrap());
    println!("answered after {:?}", start.elapsed());
    assert!(std::fs::metadata(file("b")).unwrap().len() > size / 2);
    fresh.close().await;
}
