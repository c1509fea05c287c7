//! Hosts that stay and are declared otherwise.

use anyhow::Result;
use hayloft_api::Bytes;
use hayloft_rebalance::{Change, host, ready};

use crate::scene::Scene;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_moves_to_another_zone_is_one_version() -> Result<()> {
    let mut scene = Scene::set(4).await?;
    let mover = host(4)?;
    let change = Change::begin(&scene.cluster, "one of four moves to the zone of another")?;
    let zone = "zone-3".parse()?;
    scene
        .cluster
        .declare(|document| {
            for host in &mut document.spec.hosts {
                if host.name == mover {
                    host.zone = zone;
                    break;
                }
            }
        })
        .await?;
    let before = change.version();
    let (_, score) = scene.finish(change).await?;
    let status = scene.cluster.until("ready", ready).await?;
    assert_eq!(status.layout.version, before + 1);
    let layout = scene.cluster.layout()?;
    let (third, fourth) = (
        scene.cluster.host(&host(3)?)?.id(),
        scene.cluster.host(&mover)?.id(),
    );
    assert!(
        layout
            .holders
            .iter()
            .all(|holders| !(holders.contains(&third) && holders.contains(&fourth))),
        "two copies lie in one zone"
    );
    assert_eq!(score.failures, Vec::<String>::new());
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_pledges_more_takes_more() -> Result<()> {
    let mut scene = Scene::set(4).await?;
    let generous = host(4)?;
    let id = scene.cluster.host(&generous)?.id();
    let before = scene.cluster.layout()?.counts();
    let change = Change::begin(&scene.cluster, "one of four pledges twice as much")?;
    scene
        .cluster
        .declare(|document| {
            for host in &mut document.spec.hosts {
                if host.name == generous {
                    host.pledge = Some(Bytes::gib(2));
                }
            }
        })
        .await?;
    let (row, score) = scene.finish(change).await?;
    scene.cluster.until("ready", ready).await?;
    assert!(scene.cluster.layout()?.counts().get(&id) > before.get(&id));
    assert_eq!(row.partitions_moved, row.partitions_least);
    assert_eq!(score.failures, Vec::<String>::new());
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zone_redundancy_is_lowered_and_raised_again() -> Result<()> {
    let mut scene = Scene::with(4, |document| {
        // Two hosts share a zone, so that there are three zones for three copies.
        if let (Ok(zone), Some(last)) = ("zone-3".parse(), document.spec.hosts.last_mut()) {
            last.zone = zone;
        }
    })
    .await?;
    let lower = Change::begin(&scene.cluster, "zone redundancy is lowered from 3 to 2")?;
    scene
        .cluster
        .declare(|document| document.spec.garage.zone_redundancy = Some(2))
        .await?;
    let (_, score) = scene.finish(lower).await?;
    assert_eq!(score.failures, Vec::<String>::new());
    let status = scene.cluster.until("ready", ready).await?;
    assert_eq!(status.layout.zone_redundancy, Some(2));
    scene.load.begin();
    let raise = Change::begin(&scene.cluster, "zone redundancy is raised from 2 to 3")?;
    scene
        .cluster
        .declare(|document| document.spec.garage.zone_redundancy = Some(3))
        .await?;
    let (_, score) = scene.finish(raise).await?;
    assert_eq!(score.failures, Vec::<String>::new());
    let status = scene.cluster.until("ready", ready).await?;
    assert_eq!(status.layout.zone_redundancy, Some(3));
    scene.close().await
}
