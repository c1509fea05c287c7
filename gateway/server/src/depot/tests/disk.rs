//! Frames on disk.

use super::*;

async fn open(world: &World, folder: &str, disk: u64) -> Depot {
    let seed = [SEEDS.fetch_add(1, Ordering::Relaxed); 32];
    let effects = Effects {
        clock: Arc::new(|| jiff::Timestamp::UNIX_EPOCH),
        seed,
    };
    let store: SharedStore = Arc::clone(&world.bucket) as SharedStore;
    let key = ClusterKey::from_random([5; 32]);
    let upkeep = Upkeep { disk, ..settings() };
    let dir = world.dir.path().join(folder);
    Depot::open_on(store, &dir, &key, MEMORY, upkeep, effects)
        .await
        .unwrap()
}

#[tokio::test]
async fn what_was_pulled_once_is_sent_after_a_restart_without_the_bucket() {
    let world = World::new();
    world.with_main("a").await.close().await;
    let depot = open(&world, "a", 64 << 20).await;
    let sample = sample(&hash(1), noise(1, 12_000_000));
    push(&depot, &sample).await.unwrap();
    assert_there(&depot, &sample).await;
    depot.close().await;
    drop(depot);
    let depot = open(&world, "a", 64 << 20).await;
    world.bucket.set_down(true);
    assert_there(&depot, &sample).await;
    world.bucket.set_down(false);
    depot.close().await;
    // Without the disk, it takes the bucket; and what was kept is gone.
    let depot = open(&world, "a", 0).await;
    world.bucket.set_down(true);
    let unavailable = pull(&depot, &sample.info.store_path_hash).await;
    assert!(matches!(unavailable, Err(ReadError::Unavailable(_))));
    assert!(!world.dir.path().join("a/frames").exists());
}

#[tokio::test]
async fn what_the_disk_spoils_is_fetched_again_and_never_sent() {
    let world = World::new();
    world.with_main("a").await.close().await;
    let depot = open(&world, "a", 64 << 20).await;
    let sample = sample(&hash(1), noise(1, 3_000_000));
    push(&depot, &sample).await.unwrap();
    assert_there(&depot, &sample).await;
    depot.close().await;
    drop(depot);
    let frames = world.dir.path().join("a/frames");
    for file in std::fs::read_dir(&frames).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        for at in (0..bytes.len()).step_by(70_000) {
            bytes[at] ^= 0x40;
        }
        std::fs::write(&path, bytes).unwrap();
    }
    let depot = open(&world, "a", 64 << 20).await;
    assert_there(&depot, &sample).await;
}
