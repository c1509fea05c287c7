//! Coordinators that are killed, and two where one should be.

use std::time::Duration;

use anyhow::{Context as _, Result};
use hayloft_api::status::ConditionType;
use hayloft_rebalance::{Change, Moment, claims_placed, host, ready, storage_host};

use crate::scene::{Scene, in_layout, trouble};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_is_killed_at_every_step_is_followed_by_one_that_goes_on() -> Result<()> {
    let mut scene = Scene::set(3).await?;
    scene.cluster.arrive(&host(4)?).await?;
    let change = Change::begin(
        &scene.cluster,
        "one host joins three, and the coordinator is killed at every step",
    )?;
    let next = change.version() + 1;
    // Which call of a coordinator's life is the one that it does not survive. A successor first empties what was staged, so
    // the first six are: staging, twice; staging anew; applying, unheard by Garage; emptying; applying, unanswered.
    let layout = [
        (0, Moment::Before),
        (0, Moment::After),
        (1, Moment::Before),
        (1, Moment::Before),
        (0, Moment::After),
        (1, Moment::After),
    ];
    let later = (0..20).flat_map(|nth| [(nth, Moment::Before), (nth, Moment::After)]);
    let mut traps = layout.into_iter().chain(later);
    let mut kills = Vec::new();
    let (nth, moment) = traps.next().context("no trap")?;
    scene.cluster.seat()?.door.set_trap(nth, moment);
    let fourth = storage_host(4, "zone-4")?;
    scene
        .cluster
        .declare(|document| document.spec.hosts.push(fourth))
        .await?;
    loop {
        let door = scene.cluster.seat()?.door.clone();
        tokio::select! {
            () = door.sprung() => {}
            placed = scene.cluster.until("killed again, or placed", |status| claims_placed(status, next)) => {
                placed?;
                break;
            }
        }
        kills.extend(door.writes().last().cloned());
        scene.cluster.kill_coordinator().await;
        let (nth, moment) = traps
            .next()
            .with_context(|| format!("it never gets on: {kills:?}"))?;
        scene.cluster.coordinate().await?;
        scene.cluster.seat()?.door.set_trap(nth, moment);
    }
    for step in [
        "UpdateClusterLayout",
        "ApplyClusterLayout",
        "LaunchRepairOperation",
    ] {
        assert!(kills.iter().any(|kill| kill == step), "{step}: {kills:?}");
    }
    let (_, score) = scene.finish(change).await?;
    assert_eq!(scene.cluster.status()?.layout.version, next, "it is one version");
    assert_eq!(score.failures, Vec::<String>::new());
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_coordinators_the_second_does_nothing_until_the_first_is_gone() -> Result<()> {
    let mut scene = Scene::set(3).await?;
    let joiner = host(4)?;
    scene.cluster.arrive(&joiner).await?;
    let second = scene.cluster.second_seat().await?;
    let mut statuses = second.statuses();
    let follows = |status: &hayloft_api::status::Status| trouble(status, ConditionType::Leading).is_some();
    tokio::time::timeout(hayloft_rebalance::PATIENCE, statuses.wait_for(follows)).await??;
    let change = Change::begin(&scene.cluster, "one host joins three, with a second coordinator")?;
    let fourth = storage_host(4, "zone-4")?;
    scene
        .cluster
        .declare(|document| document.spec.hosts.push(fourth))
        .await?;
    let version = change.version();
    let (_, score) = scene.finish(change).await?;
    assert_eq!(scene.cluster.status()?.layout.version, version + 1);
    assert_eq!(second.door.writes(), Vec::<String>::new(), "the second one acted");
    assert!(trouble(&second.status(), ConditionType::Leading).is_some());
    assert_eq!(score.failures, Vec::<String>::new());

    scene.cluster.kill_coordinator().await;
    tokio::time::timeout(
        hayloft_rebalance::PATIENCE,
        statuses.wait_for(|status| trouble(status, ConditionType::Leading).is_none() && ready(status)),
    )
    .await??;
    assert!(in_layout(&second.status(), &joiner));
    second.stop().await;
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_is_killed_again_and_again_loses_no_move_and_repeats_none() -> Result<()> {
    let mut scene = Scene::set(3).await?;
    scene.cluster.arrive(&host(4)?).await?;
    let mut change = Change::begin(
        &scene.cluster,
        "one host joins three, and the coordinator is killed at any moment",
    )?;
    let next = change.version() + 1;
    let fourth = storage_host(4, "zone-4")?;
    scene
        .cluster
        .declare(|document| document.spec.hosts.push(fourth))
        .await?;
    let mut placed = 0;
    for pause in [150, 700, 1300, 2900, 400] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let shown = scene.cluster.status()?.moves;
        let now = shown
            .iter()
            .find(|one| one.version == next)
            .map_or(0, |one| one.placed);
        assert!(
            now >= placed || now == 0,
            "progress went back from {placed} to {now}"
        );
        placed = placed.max(now);
        scene.cluster.kill_coordinator().await;
        scene.cluster.coordinate().await?;
    }
    change.settled(&scene.cluster).await?;
    let (_, score) = scene.finish(change).await?;
    assert_eq!(scene.cluster.status()?.layout.version, next, "it is one version");
    assert_eq!(score.failures, Vec::<String>::new());
    scene.close().await
}
