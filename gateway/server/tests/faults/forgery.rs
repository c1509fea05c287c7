//! Objects in the log that no gateway of this bucket wrote.

use bytes::Bytes;
use hayloft_store::Digest;
use hayloft_store::cluster_key::{ClusterKey, LogSigner};
use hayloft_store::key::{EpochId, LogPlace, ObjectKey, Position};
use hayloft_store::log::object::LogObject;
use hayloft_store::log::record::{EpochOpened, Record};
use hayloft_store::object::s3::S3Store;
use hayloft_store::object::{ObjectStore as _, list_all};

use super::damage::{bucket, bucket_of};
use super::{Path, Pulled, token};
use crate::support::free_port;
use crate::support::program::World;
use crate::support::town::{self, Town, metric, status};

/// The last object of the log.
async fn last(bucket: &S3Store) -> (LogPlace, Bytes) {
    let keys = list_all(bucket, ObjectKey::LOGS, None).await.unwrap();
    let key = keys.last().unwrap();
    let Some(ObjectKey::Log(place)) = ObjectKey::parse(key) else {
        panic!("{key} is no log object");
    };
    (place, bucket.get(key).await.unwrap())
}

/// A key that is not the cluster's.
fn stranger() -> LogSigner {
    ClusterKey::from_random([7; 32]).log_signer().unwrap()
}

/// A gateway refuses a log that holds the forged object, whatever is in its index, and serves again when it is gone.
async fn refuses(
    forge: impl AsyncFn(&World, &S3Store) -> (LogPlace, Bytes),
    with_index: bool,
    because: &str,
) {
    let world = World::new("hs256").await;
    let (token, bucket) = (token(&world), bucket(&world));
    let gateway = world.serve().await;
    let (kept, forged_away) = (Path::new(1), Path::new(2));
    assert!(kept.push(&gateway.url, &token).await);
    gateway.terminate();
    let (place, forged) = forge(&world, &bucket).await;
    let key = ObjectKey::Log(place).to_string();
    let genuine = bucket.get(&key).await.ok();
    bucket.put(&key, forged).await.unwrap();
    if !with_index {
        world.remove_index();
    }
    match world.try_serve_with(&[], |_| {}).await {
        Ok(gateway) => {
            let pulled = forged_away.pull(&gateway.url).await;
            panic!("it serves, and says of what was forged: {pulled:?}");
        }
        Err(said) => assert!(said.contains(&key) && said.contains(because), "{said}"),
    }
    match genuine {
        Some(genuine) => bucket.put(&key, genuine).await.unwrap(),
        None => bucket.delete(&key).await.unwrap(),
    }
    let gateway = world.serve().await;
    assert_eq!(kept.pull(&gateway.url).await, Pulled::Whole);
    assert!(forged_away.push(&gateway.url, &token).await);
    assert_eq!(forged_away.pull(&gateway.url).await, Pulled::Whole);
    gateway.terminate();
}

/// An object behind the last.
async fn next_by_stranger(_: &World, bucket: &S3Store) -> (LogPlace, Bytes) {
    let (place, bytes) = last(bucket).await;
    let place = LogPlace {
        seq: place.seq + 1,
        ..place
    };
    let object = LogObject {
        place,
        before: Digest::of(&bytes),
        records: vec![],
    };
    (place, object.encode(&stranger()).unwrap().0.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_another_cluster_key_behind_the_log_is_refused() {
    refuses(next_by_stranger, true, "key").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_the_log_that_was_changed_is_refused() {
    let change = async |_: &World, bucket: &S3Store| {
        let (place, bytes) = last(bucket).await;
        let mut bytes = bytes.to_vec();
        // Within the records.
        let at = bytes.len() - 65;
        bytes[at] ^= 1;
        (place, bytes.into())
    };
    refuses(change, false, "signature").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opening_of_a_far_epoch_that_nobody_signed_with_the_cluster_key_is_refused() {
    let open = async |_: &World, bucket: &S3Store| {
        let (place, bytes) = last(bucket).await;
        let position = Position {
            place,
            digest: Digest::of(&bytes),
        };
        let place = LogPlace {
            epoch: EpochId {
                number: place.epoch.number + 1_000_000,
                instance: 1,
            },
            seq: 1,
        };
        let object = LogObject {
            place,
            before: position.digest,
            records: vec![Record::EpochOpened(EpochOpened {
                after: Some(position),
            })],
        };
        (place, object.encode(&stranger()).unwrap().0.into())
    };
    refuses(open, true, "key").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_a_forged_object_stops_says_so_wherever_it_is_asked_and_serves_on() {
    let mut town = Town::new().await;
    // Both hear of each other by the bucket alone.
    town.doors = [(); 3].map(|()| [(); 3].map(|()| free_port()));
    let lyon = town.serve(0, "true").await;
    let nantes = town.serve(1, "false").await;
    let (path, later) = (town::Path::new(1), town::Path::new(2));
    path.push(&lyon, &town.token).await.unwrap();
    town::until(&nantes, async || path.is_at(&nantes).await).await;
    let bucket = bucket_of(&town.garage);
    let (newest, bytes) = last(&bucket).await;
    let place = LogPlace {
        epoch: EpochId {
            number: newest.epoch.number + 1_000_000,
            instance: 1,
        },
        seq: 1,
    };
    let opening = EpochOpened {
        after: Some(Position {
            place: newest,
            digest: Digest::of(&bytes),
        }),
    };
    let object = LogObject {
        place,
        before: Digest::of(&bytes),
        records: vec![Record::EpochOpened(opening)],
    };
    let forged = ObjectKey::Log(place).to_string();
    bucket
        .put(&forged, object.encode(&stranger()).unwrap().0.into())
        .await
        .unwrap();
    let stuck = async || metric(town.metrics[1], "hayloft_gateway_log_stuck").await;
    let ready = async || metric(town.metrics[1], "hayloft_gateway_ready").await;
    town::until(&nantes, async || nantes.health().await.0 == 503).await;
    let (_, said) = nantes.health().await;
    assert!(said.contains("cannot follow the log"), "{said}");
    town::until(&nantes, async || {
        (stuck().await, ready().await) == (Some(1.0), Some(0.0))
    })
    .await;
    assert!(nantes.says("the log cannot be followed") && nantes.says(&forged));
    path.assert_at(&nantes).await;
    later.push(&lyon, &town.token).await.unwrap();
    assert!(!later.is_at(&nantes).await);
    bucket.delete(&forged).await.unwrap();
    town::until(&nantes, async || later.is_at(&nantes).await).await;
    town::until(&nantes, async || {
        (stuck().await, ready().await) == (Some(0.0), Some(1.0))
    })
    .await;
    assert_eq!(status(&format!("{}healthz", nantes.url)).await, Some(200));
    later.assert_at(&nantes).await;
}
