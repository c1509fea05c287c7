//! Hosts that lose what they have.

use anyhow::Result;
use hayloft_api::status::ConditionType;
use hayloft_engine::AskedFor;
use hayloft_rebalance::{Change, Return, host, ready, storage_host};

use crate::scene::{Scene, is_up, trouble};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_lost_its_metadata_takes_its_role_again_as_another_node() -> Result<()> {
    let mut scene = Scene::set(3).await?;
    let robbed = host(3)?;
    let old = scene.cluster.host(&robbed)?.id();
    let change = Change::begin(&scene.cluster, "one of three lost its metadata")?;
    scene.cluster.kill(&robbed).await?;
    scene.cluster.host(&robbed)?.lose_metadata()?;
    scene
        .cluster
        .until("missed", |status| !is_up(status, &robbed))
        .await?;
    scene.cluster.bring_back(&robbed, Return::SameAddress).await?;
    let (row, score) = scene.finish(change).await?;
    scene.cluster.until("ready", ready).await?;
    assert_ne!(scene.cluster.host(&robbed)?.id(), old);
    assert_eq!(row.hosts_after, 3);
    assert_eq!(score.failures, Vec::<String>::new());
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_data_disk_waits_for_a_word_and_is_then_filled_again() -> Result<()> {
    let mut scene = Scene::set(3).await?;
    let robbed = host(3)?;
    let id = scene.cluster.host(&robbed)?.id();
    let change = Change::begin(&scene.cluster, "one of three lost its data disk")?;
    scene.load.only_pull(true);
    scene
        .cluster
        .eventually("all copies are written", || scene.cluster.has_all(&robbed))
        .await?;
    scene.cluster.kill(&robbed).await?;
    scene.cluster.host(&robbed)?.lose_data()?;
    scene.cluster.bring_back(&robbed, Return::SameAddress).await?;
    // It may only not be mounted: until somebody says otherwise, its Garage does not start.
    scene
        .cluster
        .until("told of the loss", |status| {
            let told = trouble(status, ConditionType::DisksSound);
            !is_up(status, &robbed) && told.is_some_and(|told| told.contains(robbed.as_str()))
        })
        .await?;
    let seat = scene.cluster.seat()?;
    seat.coordinator()?.ask(&robbed, AskedFor::NewDisk).await?;
    scene
        .cluster
        .until("back", |status| is_up(status, &robbed))
        .await?;
    scene.load.only_pull(false);
    // What was written within Garage's receiving delay of ten minutes before the loss is not waited for that long.
    let filled = format!("the new data disk of {robbed} holds every block that it should");
    let status = scene
        .cluster
        .until("filled again", |status| {
            status.events.iter().any(|event| event.text == filled)
        })
        .await?;
    assert_eq!(change.missing(&scene.cluster)?, Vec::<String>::new());
    assert_eq!(status.layout.version, change.version());
    assert_eq!(scene.cluster.host(&robbed)?.id(), id, "it is the same node");
    let score = scene.load.end().await;
    assert_eq!(score.failures, Vec::<String>::new());
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_killed_in_the_middle_of_a_move_delays_it_and_nothing_is_lost() -> Result<()> {
    let mut scene = Scene::set(3).await?;
    let victim = host(2)?;
    scene.cluster.arrive(&host(4)?).await?;
    let mut change = Change::begin(
        &scene.cluster,
        "one host joins three, and one of those is killed meanwhile",
    )?;
    let fourth = storage_host(4, "zone-4")?;
    scene
        .cluster
        .declare(|document| document.spec.hosts.push(fourth))
        .await?;
    change.settled(&scene.cluster).await?;
    // What is pushed now reaches the victim by Garage's receiving delay of ten minutes, which must not be shortened on a
    // host that also gives; so clients only pull from here on.
    scene.load.only_pull(true);
    scene
        .cluster
        .eventually("the victim has all of its copies", || {
            scene.cluster.has_all(&victim)
        })
        .await?;
    scene.cluster.kill(&victim).await?;
    scene
        .cluster
        .until("missed", |status| !is_up(status, &victim))
        .await?;
    scene.cluster.bring_back(&victim, Return::SameAddress).await?;
    scene
        .cluster
        .until("back", |status| is_up(status, &victim))
        .await?;
    let (_, score) = scene.finish(change).await?;
    scene.cluster.until("ready", ready).await?;
    assert_eq!(score.failures, Vec::<String>::new());
    scene.close().await
}
