//! Situations in which others were seen to be stuck.

use std::time::Duration;

use anyhow::Result;
use hayloft_api::Bytes;
use hayloft_api::status::{ConditionType, Status};
use hayloft_garage::admin::RoleChange;
use hayloft_rebalance::{Change, Cluster, LayoutMap, PATIENCE, host, ready, storage_host};

use crate::scene::{Scene, in_layout, trouble};

fn staged_by_others(status: &Status) -> bool {
    trouble(status, ConditionType::StagingClean).is_some()
}

fn retag(tag: &str, n: u8) -> RoleChange {
    RoleChange::Assign {
        zone: format!("zone-{n}"),
        tags: vec![format!("host-{n}"), tag.to_owned()],
        capacity: Some(1 << 30),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_else_staged_is_left_alone_and_holds_up_a_join() -> Result<()> {
    let mut scene = Scene::set(3).await?;
    let joiner = host(4)?;
    let admin = scene.cluster.admin(&host(2)?).await?;
    let id = scene.cluster.host(&host(2)?)?.id();
    admin.stage(&[(id, retag("by-hand", 2))].into(), None).await?;
    scene
        .cluster
        .until("told of the staged change", staged_by_others)
        .await?;
    scene.cluster.arrive(&joiner).await?;
    let change = Change::begin(
        &scene.cluster,
        "one host joins three after foreign staging was reverted",
    )?;
    let fourth = storage_host(4, "zone-4")?;
    scene
        .cluster
        .declare(|document| document.spec.hosts.push(fourth))
        .await?;
    let status = scene
        .cluster
        .until("waiting", |status| {
            staged_by_others(status) && !status.waiting.is_empty()
        })
        .await?;
    assert!(!in_layout(&status, &joiner));
    assert_eq!(
        admin.layout().await?.staged_role_changes.len(),
        1,
        "it was touched"
    );
    admin.revert().await?;
    let (_, score) = scene.finish(change).await?;
    assert_eq!(score.failures, Vec::<String>::new());
    scene.close().await
}

/// Every distinct newest layout that members have on disk.
fn layouts(cluster: &Cluster) -> Result<Vec<LayoutMap>> {
    let mut distinct: Vec<LayoutMap> = Vec::new();
    for host in cluster.hosts() {
        let map = LayoutMap::newest(&host.dir().join("meta"))?;
        if !distinct.contains(&map) {
            distinct.push(map);
        }
    }
    Ok(distinct)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_that_two_writers_split_is_healed() -> Result<()> {
    let mut scene = Scene::set(4).await?;
    scene.cluster.stop_coordinator().await;
    // Two people change pledges on two members, and both apply what both take for the next version.
    let mut tries = 0;
    loop {
        tries += 1;
        anyhow::ensure!(tries <= 12, "the race was never lost");
        let next = scene.cluster.layout()?.version + 1;
        let race = async |member: u8, capacity: u64| -> Result<()> {
            let admin = scene.cluster.admin(&host(member)?).await?;
            let change = RoleChange::Assign {
                zone: format!("zone-{member}"),
                tags: vec![format!("host-{member}")],
                capacity: Some(capacity),
            };
            let id = scene.cluster.host(&host(member)?)?.id();
            admin.stage(&[(id, change)].into(), None).await?;
            admin.apply(next).await?;
            Ok(())
        };
        let capacity = (1 << 30) + (tries << 26);
        let (one, two) = tokio::join!(race(1, capacity), race(4, 2 * capacity));
        tracing::info!(?one, ?two, "the race is over");
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let maps = layouts(&scene.cluster)?;
        let newest = maps.iter().map(|map| map.version).max();
        if maps.iter().filter(|map| Some(map.version) == newest).count() > 1 {
            break;
        }
    }
    let split = scene.cluster.layout()?.version;
    scene.cluster.coordinate().await?;
    let healed = |status: &Status| {
        status.layout.version > split
            && status.layout.settled
            && trouble(status, ConditionType::Agreed).is_none()
    };
    scene.cluster.until("healed", healed).await?;
    // What is declared comes back after it: the pledges that the two changed by hand. What the split left behind moves between
    // hosts that give and take, at Garage's own pace of ten minutes; three of them the next change waits for.
    let pledges = |status: &Status| {
        let mut waiting = status.waiting.iter();
        healed(status) && waiting.all(|waiting| waiting.what.contains("place the data"))
    };
    let patience = PATIENCE + Duration::from_secs(180);
    scene
        .cluster
        .until_within(patience, "as declared", pledges)
        .await?;
    scene
        .cluster
        .eventually("members agree", || Ok(layouts(&scene.cluster)?.len() == 1))
        .await?;
    assert!(scene.cluster.layout()?.version > split);
    scene.load.end().await;
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_one_node_never_stops_draining_and_is_settled_all_the_same() -> Result<()> {
    let mut scene = Scene::set(1).await?;
    let change = Change::begin(&scene.cluster, "a lone host pledges twice as much")?;
    scene
        .cluster
        .declare(|document| {
            for host in &mut document.spec.hosts {
                host.pledge = Some(Bytes::gib(2));
            }
        })
        .await?;
    let (row, score) = scene.finish(change).await?;
    assert_eq!(row.partitions_moved, 0);
    assert_eq!(score.failures, Vec::<String>::new());
    scene.cluster.until("ready", ready).await?;
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_somebody_else_applied_is_a_gap_and_no_obstacle() -> Result<()> {
    let mut scene = Scene::set(3).await?;
    let admin = scene.cluster.admin(&host(2)?).await?;
    admin.apply(2).await?;
    admin.apply(3).await?;
    scene
        .cluster
        .until("seen", |status| {
            status.layout.version == 3 && status.layout.settled
        })
        .await?;
    scene.cluster.arrive(&host(4)?).await?;
    let change = Change::begin(
        &scene.cluster,
        "one host joins three after versions applied by hand",
    )?;
    let fourth = storage_host(4, "zone-4")?;
    scene
        .cluster
        .declare(|document| document.spec.hosts.push(fourth))
        .await?;
    let (_, score) = scene.finish(change).await?;
    assert_eq!(scene.cluster.status()?.layout.version, 4);
    assert_eq!(score.failures, Vec::<String>::new());
    scene.close().await
}
