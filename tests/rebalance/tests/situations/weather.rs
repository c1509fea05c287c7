//! Hosts that come and go, hang, are slow, or are found elsewhere.

use std::time::Duration;

use anyhow::Result;
use hayloft_api::Span;
use hayloft_api::status::ConditionType;
use hayloft_rebalance::{Change, Return, host, ready, storage_host};

use crate::scene::{Scene, hosts, in_layout, is_up, trouble};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_comes_and_goes_keeps_its_role_and_moves_nothing() -> Result<()> {
    let mut scene = Scene::with(4, |document| {
        document.spec.rebalance.dead_after = Span::seconds(60);
    })
    .await?;
    let flapper = host(4)?;
    let change = Change::begin(&scene.cluster, "one of four comes and goes four times")?;
    for round in 0..4 {
        scene.cluster.kill(&flapper).await?;
        scene
            .cluster
            .until("missed", |status| !is_up(status, &flapper))
            .await?;
        tokio::time::sleep(Duration::from_millis(500 * round)).await;
        scene.cluster.bring_back(&flapper, Return::SameAddress).await?;
        let status = scene
            .cluster
            .until("back", |status| is_up(status, &flapper))
            .await?;
        assert!(in_layout(&status, &flapper));
    }
    let status = scene
        .cluster
        .until("told to flap", |status| {
            trouble(status, ConditionType::NobodyMissed)
                .is_some_and(|told| told.contains("came back 4 times"))
        })
        .await?;
    assert_eq!(
        status.layout.version,
        change.version(),
        "nothing is moved for one who comes back"
    );
    let watched = status.hosts.iter().find(|known| known.name == flapper);
    assert_eq!(watched.map(|known| known.watch.returns), Some(4));
    let score = scene.load.end().await;
    assert_eq!(score.failures, Vec::<String>::new());
    scene
        .cluster
        .eventually("all that was there before is there", || {
            Ok(change.missing(&scene.cluster)?.is_empty())
        })
        .await?;
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_hangs_for_a_while_fails_no_request() -> Result<()> {
    let mut scene = Scene::set(3).await?;
    let version = scene.cluster.layout()?.version;
    let hung = host(2)?;
    scene.cluster.host(&hung)?.freeze();
    tokio::time::sleep(Duration::from_secs(8)).await;
    scene.cluster.host(&hung)?.thaw();
    let status = scene.cluster.until("ready", ready).await?;
    assert_eq!(status.layout.version, version);
    let score = scene.load.end().await;
    assert_eq!(score.failures, Vec::<String>::new());
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_joiner_is_kept_and_gets_all_in_the_end() -> Result<()> {
    let mut scene = Scene::set(3).await?;
    let slow = host(4)?;
    scene.cluster.arrive(&slow).await?;
    let change = Change::begin(&scene.cluster, "a host joins three that runs a fifth of the time")?;
    let fourth = storage_host(4, "zone-4")?;
    scene
        .cluster
        .declare(|document| document.spec.hosts.push(fourth))
        .await?;
    scene
        .cluster
        .until("applied", |status| in_layout(status, &slow))
        .await?;
    scene
        .cluster
        .host_mut(&slow)?
        .be_slow(Duration::from_millis(100), Duration::from_millis(400));
    let before = change.version();
    let (_, score) = scene.finish(change).await?;
    scene.cluster.host_mut(&slow)?.stop_being_slow();
    let status = scene.cluster.until("ready", ready).await?;
    assert_eq!(status.layout.version, before + 1);
    assert_eq!(score.failures, Vec::<String>::new());
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_hosts_restart_at_once_with_other_addresses_and_find_each_other() -> Result<()> {
    let mut scene = Scene::set(3).await?;
    scene.load.end().await;
    let all = hosts(&[1, 2, 3])?;
    let before: Vec<_> = scene.cluster.hosts().map(|host| (host.id(), host.s3())).collect();
    for host in &all {
        scene.cluster.kill(host).await?;
    }
    for host in &all {
        scene.cluster.bring_back(host, Return::OtherAddress).await?;
    }
    let after: Vec<_> = scene.cluster.hosts().map(|host| (host.id(), host.s3())).collect();
    for ((id, old), (same, new)) in before.iter().zip(&after) {
        assert_eq!(id, same, "a host is somebody else");
        assert_ne!(old, new, "a host has its old address");
    }
    let status = scene.cluster.until("ready", ready).await?;
    assert_eq!(status.layout.version, 1);
    scene.load.use_config(&scene.cluster.bucket(&all).await?);
    scene.load.begin();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let score = scene.load.end().await;
    assert_eq!(score.failures, Vec::<String>::new());
    scene.close().await
}
