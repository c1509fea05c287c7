//! A committer that is suspended at its worst moment, while all gateways are given the same paths.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustix::process::Signal;

use crate::bad_bucket::{BadBucket, Fault};
use crate::support::town::{Gateway, Path, Town, status, until};

/// Pushes the same paths to all gateways at once. The numbers of those that any of them acknowledged.
pub(crate) async fn push_everywhere(
    town: &Town,
    gateways: &[&Gateway],
    numbers: std::ops::Range<u32>,
) -> BTreeSet<u32> {
    let pushes = gateways.iter().flat_map(|gateway| {
        numbers.clone().map(async move |number| {
            let pushed = Path::new(number).push(gateway, &town.token).await;
            pushed.is_ok().then_some(number)
        })
    });
    futures::future::join_all(pushes)
        .await
        .into_iter()
        .flatten()
        .collect()
}

/// The committer falls asleep before its next write to the log reaches the bucket, or after.
async fn falls_asleep(after: bool) {
    let town = Arc::new(Town::new().await);
    let bucket = BadBucket::open(&town.garage.endpoints()[0]).await;
    bucket.set(Fault::Trapped);
    let lyon = town.spawn(0, "true", Some(&bucket.url));
    until(&lyon, async || {
        status(&format!("{}main/nix-cache-info", lyon.url)).await == Some(200)
    })
    .await;
    let (nantes, paris) = (town.serve(1, "auto").await, town.serve(2, "auto").await);
    let lyon = Arc::new(lyon);
    let mut acknowledged = push_everywhere(&town, &[&lyon, &nantes, &paris], 0..4).await;
    assert_eq!(acknowledged.len(), 4);

    bucket.trap.put_to_sleep(lyon.child.id(), 1, after);
    let sleeping = {
        let (town, lyon) = (Arc::clone(&town), Arc::clone(&lyon));
        tokio::spawn(async move { push_everywhere(&town, &[&lyon], 4..8).await })
    };
    // The same paths, to those that must find a new committer first.
    until(&nantes, async || bucket.trap.has_sprung()).await;
    until(&nantes, async || {
        let pushed = push_everywhere(&town, &[&nantes, &paris], 4..10).await;
        acknowledged.extend(&pushed);
        (4..10).all(|number| pushed.contains(&number))
    })
    .await;
    // It wakes, goes on with what it was doing, and finds that its term is over.
    lyon.signal(Signal::CONT);
    acknowledged.extend(sleeping.await.unwrap());
    until(&lyon, async || {
        let pushed = push_everywhere(&town, &[&lyon], 10..12).await;
        acknowledged.extend(&pushed);
        pushed.len() == 2
    })
    .await;
    assert!(lyon.says("another gateway orders now, and this one follows"));
    for number in acknowledged {
        for gateway in [&*lyon, &nantes, &paris] {
            let path = Path::new(number);
            until(gateway, async || {
                status(&format!("{}main/{number:032}.narinfo", gateway.url)).await == Some(200)
            })
            .await;
            path.assert_at(gateway).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_committer_that_sleeps_before_its_write_reaches_the_bucket_loses_nothing() {
    falls_asleep(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_committer_that_sleeps_between_its_write_and_its_second_look_loses_nothing() {
    falls_asleep(true).await;
}
