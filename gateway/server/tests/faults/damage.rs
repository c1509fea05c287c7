//! Packs that are deleted, cut short or changed in the real bucket.

use std::sync::Arc;

use bytes::Bytes;
use hayloft_garage_fixture::{BUCKET, Garage, REGION};
use hayloft_store::object::s3::{S3Config, S3Store};
use hayloft_store::object::{ObjectStore as _, list_all};
use serde_json::Value;

use super::{Path, Pulled, token, until};
use crate::support::program::World;

/// The bucket, behind the gateway's back.
pub(crate) fn bucket(world: &World) -> Arc<S3Store> {
    bucket_of(&world.garage)
}

/// As [`bucket`], of any Garage.
pub(crate) fn bucket_of(garage: &Garage) -> Arc<S3Store> {
    Arc::new(S3Store::new(&S3Config {
        endpoints: garage.endpoints(),
        region: REGION.to_owned(),
        bucket: BUCKET.to_owned(),
        access_key_id: garage.access_key_id().to_owned(),
        secret_access_key: garage.secret_access_key().to_owned().into(),
    }))
}

/// What happens to a pack.
const HARMS: [Harm; 3] = [Harm::Deleted, Harm::CutShort, Harm::Changed];

#[derive(Clone, Copy, Debug)]
enum Harm {
    Deleted,
    CutShort,
    Changed,
}

impl Harm {
    async fn happen(self, bucket: &S3Store, pack: &str) {
        let whole = bucket.get(pack).await.unwrap();
        match self {
            Self::Deleted => bucket.delete(pack).await.unwrap(),
            Self::CutShort => bucket.put(pack, whole.slice(..whole.len() / 2)).await.unwrap(),
            Self::Changed => {
                let mut bytes = whole.to_vec();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                bucket.put(pack, Bytes::from(bytes)).await.unwrap();
            }
        }
    }
}

/// Pushes a path for each harm, and one that nothing happens to; the packs that they lie in.
async fn push_all(url: &str, token: &str, bucket: &S3Store) -> Vec<(Path, String)> {
    let mut pushed = Vec::new();
    let mut known = list_all(bucket, "pack/", None).await.unwrap();
    for number in 0..4 {
        let path = Path::new(number);
        assert!(path.push(url, token).await);
        let now = list_all(bucket, "pack/", None).await.unwrap();
        let pack = now.iter().find(|key| !known.contains(key)).unwrap().clone();
        pushed.push((path, pack));
        known = now;
    }
    pushed
}

fn check(world: &World, args: &[&str]) -> (bool, Value) {
    let (well, said) = world.try_run(&[&["fsck", "-o", "json"], args].concat());
    (well, serde_json::from_str(&said).unwrap())
}

/// Pushes again what is reported missing; then all is there.
async fn heals(url: &str, token: &str, pushed: &[(Path, String)]) {
    for (path, _) in pushed {
        if path.is_wanted(url, token).await {
            assert!(path.push(url, token).await);
        }
        assert!(!path.is_wanted(url, token).await);
        assert_eq!(path.pull(url).await, Pulled::Whole);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_is_harmed_in_the_bucket_is_reported_missing_when_it_is_read_and_the_next_push_heals_it()
{
    let world = World::new("hs256").await;
    let (token, bucket) = (token(&world), bucket(&world));
    let gateway = world.serve().await;
    let pushed = push_all(&gateway.url, &token, &bucket).await;
    gateway.terminate();
    // A new one has nothing in memory.
    let gateway = world.serve().await;
    for (harm, (path, pack)) in HARMS.iter().zip(&pushed) {
        harm.happen(&bucket, pack).await;
        assert_eq!(path.pull(&gateway.url).await, Pulled::Missing, "{harm:?}");
        until(&format!("{harm:?} is reported"), async || {
            path.is_wanted(&gateway.url, &token).await
        })
        .await;
    }
    let (unharmed, _) = &pushed[3];
    assert!(!unharmed.is_wanted(&gateway.url, &token).await);
    assert_eq!(unharmed.pull(&gateway.url).await, Pulled::Whole);
    heals(&gateway.url, &token, &pushed).await;
    gateway.kill();
    // That all is whole does not rest on what the gateway remembers.
    world.remove_index();
    let gateway = world.serve().await;
    for (path, _) in &pushed {
        assert_eq!(path.pull(&gateway.url).await, Pulled::Whole);
    }
    gateway.terminate();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_finds_packs_that_are_harmed_and_its_repair_has_them_pushed_again() {
    let world = World::new("hs256").await;
    let (token, bucket) = (token(&world), bucket(&world));
    let gateway = world.serve().await;
    let pushed = push_all(&gateway.url, &token, &bucket).await;
    for (harm, (_, pack)) in HARMS.iter().zip(&pushed) {
        harm.happen(&bucket, pack).await;
    }
    let (well, found) = check(&world, &[]);
    assert!(!well);
    // Names and lengths do not show that a byte is another.
    assert_eq!((&found["missing"], &found["otherSize"]), (&1.into(), &1.into()));
    let (well, found) = check(&world, &["--verify"]);
    assert!(!well);
    assert!(found["damaged"].as_u64().unwrap() >= 1, "{found}");
    // To look is not to change.
    assert!(!pushed[0].0.is_wanted(&gateway.url, &token).await);
    let (well, found) = check(&world, &["--verify", "--repair"]);
    assert!(well, "{found}");
    assert_eq!(found["pathsMissing"], 3, "{found}");
    for (path, _) in &pushed[..3] {
        assert!(path.is_wanted(&gateway.url, &token).await);
        assert_eq!(path.pull(&gateway.url).await, Pulled::Missing);
    }
    heals(&gateway.url, &token, &pushed).await;
    let (_, found) = check(&world, &["--verify"]);
    assert_eq!(found["pathsMissing"], 0, "{found}");
    gateway.terminate();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_itself_finds_packs_that_are_harmed_and_reports_them_missing() {
    let world = World::new("hs256").await;
    let (token, bucket) = (token(&world), bucket(&world));
    let gateway = world.serve().await;
    let pushed = push_all(&gateway.url, &token, &bucket).await;
    gateway.terminate();
    for (harm, (_, pack)) in HARMS.iter().zip(&pushed) {
        harm.happen(&bucket, pack).await;
    }
    // Nobody asks for anything: it looks through all that is stored by itself, and with a new index at once.
    world.remove_index();
    let gateway = world.serve().await;
    for (path, _) in &pushed[..3] {
        until("the harm is found", async || {
            path.is_wanted(&gateway.url, &token).await
        })
        .await;
    }
    heals(&gateway.url, &token, &pushed).await;
    gateway.terminate();
}
