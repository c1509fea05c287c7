//! All at once: clocks that are an hour apart each way, each gateway suspended at a bad moment while it orders or
//! collects, so that another takes over, and all of them given the same paths.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustix::process::Signal;

use crate::asleep::push_everywhere;
use crate::bad_bucket::{BadBucket, Fault, Like};
use crate::support::town::{NAMES, Path, Town, status, until};

const ORDERS: &str = "this gateway orders now";
const FOLLOWS: &str = "another gateway orders now, and this one follows";
/// So many small packs are worth being made one.
const PACKS: u32 = 10;
/// What each gateway is suspended at, and whether after it.
const MOMENTS: [(Like, bool); 3] = [
    (("put", "/log/"), true),
    (("delete", "/pack/"), false),
    (("put", "/log/"), false),
];

#[tokio::test(flavor = "multi_thread")]
async fn gateways_with_clocks_apart_that_fall_asleep_one_after_the_other_lose_nothing() {
    let mut town = Town::new().await;
    // A token is not good before the time at which it was made, so none is behind that.
    town.clocks = [3600, 7200, 0];
    town.changes = vec![(
        "caches:\n",
        "collect: { settle: 1s, grace: 0s, maxRate: 0 }\ncaches:\n",
    )];
    let mut buckets = Vec::new();
    for (i, endpoint) in town.garage.endpoints().iter().enumerate() {
        let bucket = BadBucket::open(endpoint).await;
        bucket.set(Fault::Trapped);
        town.buckets[i] = Some(bucket.url.clone());
        buckets.push(bucket);
    }
    let town = Arc::new(town);
    let gateways = Arc::new(town.three().await);
    let mut acknowledged = BTreeSet::new();
    for (at, (like, after)) in MOMENTS.into_iter().enumerate() {
        let first = u32::try_from(at).unwrap() * 100;
        let sleeper = &gateways[at];
        if at > 0 && sleeper.times(ORDERS) == sleeper.times(FOLLOWS) {
            town.rename(at, sleeper, "true");
            until(sleeper, async || sleeper.times(ORDERS) > sleeper.times(FOLLOWS)).await;
        }
        let others: Vec<_> = gateways.iter().enumerate().filter(|(i, _)| *i != at).collect();
        let others: Vec<_> = others.into_iter().map(|(_, gateway)| gateway).collect();
        for number in first..first + PACKS {
            let path = Path::new(number);
            until(sleeper, async || path.push(sleeper, &town.token).await.is_ok()).await;
            acknowledged.insert(number);
        }
        buckets[at]
            .trap
            .put_to_sleep_at(sleeper.child.id(), like, 1, after);
        let sleeping = {
            let (town, gateways) = (Arc::clone(&town), Arc::clone(&gateways));
            let numbers = first + 20..first + 24;
            tokio::spawn(async move { push_everywhere(&town, &[&gateways[at]], numbers).await })
        };
        let mut collecting = Vec::new();
        until(sleeper, async || {
            // One is under way at a time, and a pack must be a second old.
            let ended = collecting
                .last_mut()
                .is_none_or(|one: &mut std::process::Child| one.try_wait().unwrap().is_some());
            if ended {
                collecting.push(town.begin(at, &["gc"]));
            }
            buckets[at].trap.has_sprung()
        })
        .await;
        // The same paths, to those that must find a new committer first, and collect as well.
        until(others[0], async || {
            let pushed = push_everywhere(&town, &others, first + 20..first + 26).await;
            acknowledged.extend(&pushed);
            pushed.len() == 6
        })
        .await;
        collecting.extend(
            (0..NAMES.len())
                .filter(|i| *i != at)
                .map(|i| town.begin(i, &["gc"])),
        );
        sleeper.signal(Signal::CONT);
        acknowledged.extend(sleeping.await.unwrap());
        until(sleeper, async || {
            let pushed = push_everywhere(&town, &[sleeper], first + 26..first + 28).await;
            acknowledged.extend(&pushed);
            pushed.len() == 2
        })
        .await;
        assert!(sleeper.says(FOLLOWS));
        for mut one in collecting {
            // What it came to does not matter, and whoever slept may have forgotten it.
            let _ = one.kill();
            one.wait().unwrap();
        }
    }
    for number in acknowledged {
        let path = Path::new(number);
        for gateway in &gateways[..] {
            until(gateway, async || path.is_at(gateway).await).await;
            path.assert_at(gateway).await;
        }
    }
    for (i, gateway) in gateways.iter().enumerate() {
        assert_eq!(status(&format!("{}healthz", gateway.url)).await, Some(200));
        let checked = town.begin(i, &["fsck", "--verify"]).wait_with_output().unwrap();
        let said = String::from_utf8(checked.stdout).unwrap();
        assert!(said.contains("all is well"), "{}: {said}", NAMES[i]);
    }
}
