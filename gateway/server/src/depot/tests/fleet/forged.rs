//! Objects in the log that are not what they should be, under gateways that run.

use hayloft_store::Digest;
use hayloft_store::key::{EpochId, LogPlace, ObjectKey};
use hayloft_store::log::object::LogObject;
use hayloft_store::log::record::Record;

use super::*;

/// A committer and a follower that hear of each other by the bucket alone, and a path that both show.
struct Apart {
    town: Town,
    a: Gateway,
    b: Gateway,
    before: Sample,
}

impl Apart {
    async fn new() -> Self {
        let town = Town::new(&["a", "b"]);
        let a = town.start_apart("a", Rule::Yes, &["b"]).await;
        let b = town.start_apart("b", Rule::No, &["a"]).await;
        a.depot.create_cache(new_cache("main")).await.unwrap();
        let before = sample(&hash(1), noise(1, 3000));
        push(&a.depot, &before).await.unwrap();
        // Nobody vouches for the last object.
        push(&a.depot, &sample(&hash(3), noise(3, 3000))).await.unwrap();
        until(async || shows(&b, &before).await).await;
        Self { town, a, b, before }
    }

    fn last(&self) -> (LogPlace, Bytes) {
        let bucket = &self.town.world.bucket;
        let keys = bucket.keys();
        let key = keys.iter().rfind(|key| key.starts_with("log/")).unwrap();
        let Some(ObjectKey::Log(place)) = ObjectKey::parse(key) else {
            panic!("{key} is no log object");
        };
        let bytes = (Arc::clone(bucket) as SharedStore)
            .get(key)
            .now_or_never()
            .unwrap();
        (place, bytes.unwrap())
    }

    /// The follower stops before the object, tells so, and serves what it had.
    async fn stops(&self, forged: &str, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        self.town.world.bucket.tamper(forged, Some(bytes));
        until(async || self.b.depot.is_stuck()).await;
        assert!(!self.b.depot.healthy().await);
        assert_there(&self.b.depot, &self.before).await;
    }

    /// When the object is not there any more, the follower shows what came meanwhile.
    async fn goes_on(&self, after: &Sample) {
        until(async || !self.b.depot.is_stuck() && shows(&self.b, after).await).await;
        assert!(self.b.depot.healthy().await);
        assert_there(&self.b.depot, &self.before).await;
        assert_there(&self.b.depot, after).await;
    }

    /// A path that the committer takes, whatever stops the follower.
    async fn pushed_meanwhile(&self) -> Sample {
        let after = sample(&hash(2), noise(2, 3000));
        push(&self.a.depot, &after).await.unwrap();
        push(&self.a.depot, &sample(&hash(4), noise(4, 3000)))
            .await
            .unwrap();
        after
    }
}

/// Runs the test outside of the gateways' runtimes, which it ends.
fn apart(test: impl AsyncFnOnce(Apart)) {
    let driver = Runtime::new().unwrap();
    driver.block_on(async { test(Apart::new().await).await });
}

/// Far behind all that there is.
const FAR: LogPlace = LogPlace {
    epoch: EpochId {
        number: 0xf_0000,
        instance: 1,
    },
    seq: 1,
};

#[test]
fn a_follower_serves_what_it_had_while_a_forged_object_stops_it_and_goes_on_when_that_is_gone() {
    apart(async |apart| {
        let forged = ObjectKey::Log(FAR).to_string();
        apart.stops(&forged, b"HayLog").await;
        let after = apart.pushed_meanwhile().await;
        assert!(!shows(&apart.b, &after).await);
        apart.town.world.bucket.tamper(&forged, None);
        apart.goes_on(&after).await;
    });
}

#[test]
fn an_object_that_a_foreign_key_signed_is_shown_to_nobody() {
    apart(async |apart| {
        let (last, bytes) = apart.last();
        let stranger = ClusterKey::from_random([7; 32]).log_signer().unwrap();
        let forge = |after: u64, before: &[u8], records| {
            let place = LogPlace {
                seq: last.seq + after,
                ..last
            };
            let object = LogObject {
                place,
                before: Digest::of(before),
                records,
            };
            (
                ObjectKey::Log(place).to_string(),
                object.encode(&stranger).unwrap().0,
            )
        };
        let (first, destroys) = forge(1, &bytes, vec![Record::CacheDestroyed(main())]);
        // Another behind it, that vouches for it.
        let (second, empty) = forge(2, &destroys, vec![]);
        apart.town.world.bucket.tamper(&second, Some(empty.into()));
        apart.stops(&first, &destroys).await;
        assert!(apart.b.depot.cache(&main()).await.unwrap().is_some());
        // Where they lie the committer's own next objects go.
        let after = apart.pushed_meanwhile().await;
        apart.goes_on(&after).await;
    });
}

#[test]
fn an_object_under_the_running_epoch_that_is_cut_short_stops_a_follower_until_it_is_whole() {
    apart(async |apart| {
        let (last, bytes) = apart.last();
        let key = ObjectKey::Log(last).to_string();
        // The last object is shown once another lies behind it: then it is cut short already.
        apart
            .town
            .world
            .bucket
            .tamper(&key, Some(bytes.slice(..bytes.len() / 2)));
        let after = apart.pushed_meanwhile().await;
        until(async || apart.b.depot.is_stuck()).await;
        assert_there(&apart.b.depot, &apart.before).await;
        assert!(!shows(&apart.b, &after).await);
        apart.town.world.bucket.tamper(&key, Some(bytes));
        apart.goes_on(&after).await;
    });
}
