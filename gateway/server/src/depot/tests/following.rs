//! The index is brought to the log without losing what it had.

use std::path::PathBuf;

use super::super::succession::{Rebuilt, rebuild};
use super::*;

impl World {
    fn index(&self, folder: &str) -> PathBuf {
        let folder = self.dir.path().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        folder.join(crate::depot::INDEX_FILE)
    }

    async fn rebuild(&self, folder: &str, from_log: bool) -> Result<Rebuilt, OpenError> {
        let signer = ClusterKey::from_random([5; 32]).log_signer().unwrap();
        let store = Arc::clone(&self.bucket) as SharedStore;
        rebuild(store, &signer, &self.index(folder), from_log).await
    }

    fn log(&self) -> Vec<String> {
        let keys = self.bucket.keys().into_iter();
        keys.filter(|key| key.starts_with("log/")).collect()
    }

    /// Whoever begins at the beginning fails from now on.
    fn lose_the_beginning(&self) {
        self.bucket.tamper(&self.log()[0], None);
    }

    /// A bucket with `count` paths of one gateway.
    async fn filled(count: u32) -> (Self, Vec<Sample>) {
        let world = Self::new();
        let depot = world.with_main("a").await;
        let samples: Vec<Sample> = (0..count)
            .map(|n| sample(&hash(n), noise(u64::from(n), 3000)))
            .collect();
        for sample in &samples {
            push(&depot, sample).await.unwrap();
        }
        depot.close().await;
        (world, samples)
    }
}

#[tokio::test]
async fn a_listing_that_an_opening_overtakes_costs_no_index() {
    let (world, samples) = World::filled(6).await;
    let last = world.log().pop().unwrap();
    // It stops before the last object, which nobody vouches for yet.
    let before = world.rebuild("b", false).await.unwrap().position.unwrap();
    assert!(!last.contains(&before.place.to_string()), "{last}");
    world.open("c").await.unwrap().close().await;
    world.lose_the_beginning();
    world.bucket.miss_in_next_listing(&last);
    world.opens_with("b", &samples).await.close().await;
}

#[tokio::test]
async fn an_object_that_counts_and_is_lost_is_named_and_costs_no_index() {
    let (world, samples) = World::filled(6).await;
    let last = world.log().pop().unwrap();
    world.rebuild("b", false).await.unwrap();
    world.open("c").await.unwrap().close().await;
    let store = Arc::clone(&world.bucket) as SharedStore;
    let bytes = store.get(&last).await.unwrap();
    world.bucket.tamper(&last, None);
    let Err(OpenError::Hole { object }) = world.open("b").await else {
        panic!("it went past a hole");
    };
    assert_eq!(object, last);
    world.bucket.tamper(&last, Some(bytes));
    world.lose_the_beginning();
    world.opens_with("b", &samples).await.close().await;
}

#[tokio::test]
async fn a_rebuild_that_was_cut_off_goes_on_where_it_was() {
    for from_log in [false, true] {
        let (world, samples) = World::filled(10).await;
        let log = world.log();
        let middle = &log[log.len() / 2];
        let store = Arc::clone(&world.bucket) as SharedStore;
        let bytes = store.get(middle).await.unwrap();
        world.bucket.tamper(middle, Some(Bytes::from_static(b"cut off")));
        assert!(matches!(
            world.rebuild("b", from_log).await,
            Err(OpenError::Log(_))
        ));
        world.bucket.tamper(middle, Some(bytes));
        world.lose_the_beginning();
        let rebuilt = world.rebuild("b", from_log).await.unwrap();
        assert_eq!(rebuilt.caches, 1);
        world.opens_with("b", &samples).await.close().await;
    }
}

#[tokio::test]
async fn a_rebuild_uses_the_index_and_checkpoints_unless_told_to_use_the_log_alone() {
    let (world, samples) = World::filled(4).await;
    let depot = world.open("a").await.unwrap();
    depot.write_checkpoint().await.unwrap();
    depot.close().await;
    world.lose_the_beginning();
    for folder in ["a", "fresh", "fresh"] {
        assert_eq!(world.rebuild(folder, false).await.unwrap().caches, 1);
    }
    assert!(world.rebuild("fresh", true).await.is_err());
    // The index that is there stays when the log alone does not give one.
    world.opens_with("fresh", &samples).await.close().await;
}
