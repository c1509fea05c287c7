//! A gateway without an index begins with a checkpoint, or without one where none can be used.

use hayloft_store::checkpoint::{CheckpointHead, CheckpointPart};

use super::*;

/// A gateway that took `count` paths, from the `first`th.
async fn push_some(depot: &Depot, first: u32, count: u32) -> Vec<Sample> {
    let samples: Vec<Sample> = (first..first + count)
        .map(|n| sample(&hash(n), noise(u64::from(n), 3000)))
        .collect();
    for sample in &samples {
        push(depot, sample).await.unwrap();
    }
    samples
}

impl World {
    /// A bucket that a gateway wrote a checkpoint to, and some paths after that.
    async fn with_checkpoint() -> (Self, Vec<Sample>) {
        let world = Self::new();
        let depot = world.with_main("a").await;
        let mut samples = push_some(&depot, 0, 8).await;
        depot.write_checkpoint().await.unwrap();
        samples.extend(push_some(&depot, 8, 4).await);
        depot.close().await;
        (world, samples)
    }

    fn keys(&self, prefix: &str) -> Vec<String> {
        let keys = self.bucket.keys().into_iter();
        keys.filter(|key| key.starts_with(prefix)).collect()
    }

    /// Makes the only checkpoint, which has one part, what a gateway of the version before would have written.
    async fn make_checkpoint_old(&self) {
        let signer = ClusterKey::from_random([5; 32]).log_signer().unwrap();
        let store = Arc::clone(&self.bucket) as SharedStore;
        let (head_key, part_key) = (
            &self.keys("checkpoint/head/")[0],
            &self.keys("checkpoint/part/")[0],
        );
        let head = store.get(head_key).await.unwrap();
        let mut head = CheckpointHead::decode(&head, &signer).unwrap();
        let file = self.dir.path().join("old.sqlite");
        let part = store.get(part_key).await.unwrap();
        std::fs::write(&file, head.parts[0].unpack(&part).unwrap()).unwrap();
        hayloft_index::synthetic::make_old(&file).await.unwrap();
        let bytes = std::fs::read(&file).unwrap();
        let (part, stored) = CheckpointPart::pack(&bytes).unwrap();
        head.schema = hayloft_index::SCHEMA - 1;
        head.size = bytes.len() as u64;
        head.parts = vec![part];
        self.bucket.tamper(part_key, Some(stored.into()));
        let head = head.encode(&signer).unwrap();
        self.bucket.tamper(head_key, Some(head.into()));
    }

    /// Makes a checkpoint, counted from the oldest, what a gateway of the next version would have written.
    async fn make_later(&self, number: usize) {
        let signer = ClusterKey::from_random([5; 32]).log_signer().unwrap();
        let store = Arc::clone(&self.bucket) as SharedStore;
        let key = &self.keys("checkpoint/head/")[number];
        let mut head = CheckpointHead::decode(&store.get(key).await.unwrap(), &signer).unwrap();
        head.schema = hayloft_index::SCHEMA + 1;
        self.bucket
            .tamper(key, Some(head.encode(&signer).unwrap().into()));
    }

    /// Removes the log's first objects, without which nobody can begin at the beginning.
    fn forget_the_beginning(&self) {
        for key in self.keys("log/").iter().take(4) {
            self.bucket.tamper(key, None);
        }
    }
}

#[tokio::test]
async fn a_gateway_without_an_index_begins_with_the_checkpoint_and_goes_on_with_the_log() {
    let (world, samples) = World::with_checkpoint().await;
    world.forget_the_beginning();
    let fresh = world.opens_with("fresh", &samples).await;
    push_some(&fresh, 20, 1).await;
    // Nothing that was made on the way stays on the disk.
    let dir = world.dir.path().join("fresh");
    assert!(!dir.join("checkpoint.sqlite").exists());
    fresh.close().await;
}

#[tokio::test]
async fn a_checkpoint_that_was_tampered_with_is_passed_over_for_an_older_one() {
    let world = World::new();
    let depot = world.with_main("a").await;
    let mut samples = push_some(&depot, 0, 5).await;
    depot.write_checkpoint().await.unwrap();
    samples.extend(push_some(&depot, 5, 5).await);
    depot.write_checkpoint().await.unwrap();
    depot.close().await;
    world.forget_the_beginning();
    let heads = world.keys("checkpoint/head/");
    let parts = world.keys("checkpoint/part/");
    assert_eq!((heads.len(), parts.len()), (2, 2));
    let store = Arc::clone(&world.bucket) as SharedStore;
    let flip = async |key: &str| {
        let mut bytes = store.get(key).await.unwrap().to_vec();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        world.bucket.tamper(key, Some(bytes.into()));
    };
    for (folder, broken) in [("b", &parts[1]), ("c", &heads[1])] {
        flip(broken).await;
        world.opens_with(folder, &samples).await.close().await;
    }
    // Without any, the log is all there is, and it has a hole now.
    flip(&heads[0]).await;
    assert!(matches!(
        world.open("d").await,
        Err(OpenError::Log(_) | OpenError::Hole { .. })
    ));
}

#[tokio::test]
async fn the_two_newest_checkpoints_stay_and_what_was_never_finished_goes() {
    let world = World::new();
    let depot = world.with_main("a").await;
    for n in 0..4 {
        push_some(&depot, n * 2, 2).await;
        if n == 2 {
            // Its description never comes: a crash before the last write.
            world.bucket.set_faults(Some(Box::new(|_, key| {
                if key.starts_with("checkpoint/head/") {
                    hayloft_store::object::memory::Fault::Lost
                } else {
                    hayloft_store::object::memory::Fault::None
                }
            })));
            depot.write_checkpoint().await.unwrap_err();
            world.bucket.set_faults(None);
            push_some(&depot, 20, 1).await;
        }
        depot.write_checkpoint().await.unwrap();
    }
    assert_eq!(world.keys("checkpoint/head/").len(), 2);
    assert_eq!(world.keys("checkpoint/part/").len(), 2);
    depot.close().await;
}

#[tokio::test]
async fn a_checkpoint_of_the_version_before_is_migrated_and_used() {
    let (world, samples) = World::with_checkpoint().await;
    world.make_checkpoint_old().await;
    world.forget_the_beginning();
    let fresh = world.opens_with("fresh", &samples).await;
    push_some(&fresh, 20, 1).await;
    fresh.close().await;
}

#[tokio::test]
async fn a_checkpoint_of_a_later_version_is_passed_over_for_an_older_one_or_the_log() {
    let (world, mut samples) = World::with_checkpoint().await;
    let depot = world.open("a").await.unwrap();
    samples.extend(push_some(&depot, 20, 3).await);
    depot.write_checkpoint().await.unwrap();
    depot.close().await;
    let beginning = world.keys("log/")[0].clone();
    let store = Arc::clone(&world.bucket) as SharedStore;
    let object = store.get(&beginning).await.unwrap();
    world.bucket.tamper(&beginning, None);
    world.make_later(1).await;
    world.opens_with("older", &samples).await.close().await;
    world.make_later(0).await;
    assert!(world.open("none").await.is_err());
    world.bucket.tamper(&beginning, Some(object));
    world.opens_with("log", &samples).await.close().await;
}

#[tokio::test]
async fn a_checkpoint_of_another_log_is_not_used() {
    let world = World::new();
    let depot = world.with_main("a").await;
    push_some(&depot, 0, 3).await;
    depot.write_checkpoint().await.unwrap();
    depot.close().await;
    // The log begins anew, as when a bucket was emptied by half.
    for key in world.keys("log/") {
        world.bucket.tamper(&key, None);
    }
    let depot = world.with_main("b").await;
    let shown = depot.missing(&main(), &[hash(0).parse().unwrap()]).await.unwrap();
    assert_eq!(shown.len(), 1);
    depot.close().await;
}
