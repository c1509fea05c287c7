//! Objects and hosts that vanish.

use std::time::Duration;

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
        assert!(sample.pull(&depot).await.unwrap())
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
        assert!(sample.pull(&depot).await.unwrap())
    })
    .await;
    assert!(depot.healthy().await);
    depot.close().await;
    // The next start does not need the dead host either.
    let depot = world.open("b").await;
    all(&new, 4, async |sample| {
        assert!(sample.pull(&depot).await.unwrap())
    })
    .await;
    depot.close().await;
}
