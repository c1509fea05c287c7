//! Hosts that join.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use hayloft_api::document::HostState;
use hayloft_api::{HostName, Span};
use hayloft_garage::admin::{Preview, RoleChange};
use hayloft_rebalance::{Change, Cluster, Return, host, ready, storage_host};

use crate::scene::{Scene, in_layout};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_host_joins_while_clients_push_and_pull() -> Result<()> {
    let mut scene = Scene::set(3).await?;
    scene.cluster.arrive(&host(4)?).await?;
    let change = Change::begin(&scene.cluster, "one host joins three")?;
    let fourth = storage_host(4, "zone-4")?;
    scene
        .cluster
        .declare(|document| document.spec.hosts.push(fourth))
        .await?;
    let before = change.version();
    let (row, score) = scene.finish(change).await?;
    let status = scene.cluster.until("ready", ready).await?;
    assert_eq!(status.layout.version, before + 1, "one join is one version");
    assert_eq!(score.failures, Vec::<String>::new());
    assert_eq!(row.partitions_moved, row.partitions_least);
    assert!(
        row.placed_seconds < 30.0 + row.bytes_least as f64 / 1e6,
        "Garage's receiving delay was not shortened: {row:?}"
    );
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_five_hosts_join_within_the_window_in_one_version_that_moves_what_garage_previews() -> Result<()>
{
    let mut scene = Scene::with(3, |document| {
        document.spec.rebalance.join_window = Span::seconds(20);
    })
    .await?;
    scene.load.be_gentle(5);
    let joiners: Vec<HostName> = (4..=8).map(host).collect::<Result<_>>()?;
    for joiner in &joiners {
        scene.cluster.arrive(joiner).await?;
    }
    let preview = preview_of_a_joint_join(&mut scene.cluster, &joiners).await?;
    let change = Change::begin(&scene.cluster, "five hosts join three, within the window")?;
    for n in 4..=8 {
        let joiner = storage_host(n, &format!("zone-{n}"))?;
        scene
            .cluster
            .declare(|document| document.spec.hosts.push(joiner))
            .await?;
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    let before = change.version();
    let (row, score) = scene.finish(change).await?;
    let status = scene.cluster.until("ready", ready).await?;
    assert_eq!(status.layout.version, before + 1, "five joins are one version");
    assert!(
        row.partitions_moved <= preview,
        "{} partitions moved, and Garage's own joint preview says {preview}",
        row.partitions_moved
    );
    assert_eq!(row.bytes_moved, row.bytes_least);
    // Eight daemons that compute layouts on a few processors may keep a client waiting for too long, and nothing worse.
    let worse = |failure: &&String| !failure.contains("no answer");
    assert_eq!(
        score.failures.iter().filter(worse).collect::<Vec<_>>(),
        Vec::<&String>::new()
    );
    scene.close().await
}

/// How many partitions Garage itself says would move. Asked by staging the same change by hand, while no coordinator looks.
async fn preview_of_a_joint_join(cluster: &mut Cluster, joiners: &[HostName]) -> Result<u64> {
    cluster
        .until("all there", |status| status.hosts.len() >= 3)
        .await?;
    cluster.stop_coordinator().await;
    let roles: BTreeMap<_, _> = joiners
        .iter()
        .map(|name| {
            let role = RoleChange::Assign {
                zone: name.as_str().replace("host", "zone"),
                tags: vec![name.to_string()],
                capacity: Some(1 << 30),
            };
            Ok((cluster.host(name)?.id(), role))
        })
        .collect::<Result<_>>()?;
    let admin = cluster.admin(&host(1)?).await?;
    admin.stage(&roles, None).await?;
    let preview = admin.preview().await?;
    admin.revert().await?;
    cluster.coordinate().await?;
    let Preview::Possible(outlook) = preview else {
        anyhow::bail!("{preview:?}");
    };
    let moved = outlook
        .statistics
        .and_then(|statistics| statistics.total_moved_partitions);
    Ok(moved.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_joiner_that_is_killed_in_the_second_of_its_ack_gets_every_block() -> Result<()> {
    let mut scene = Scene::set(3).await?;
    let joiner = host(4)?;
    scene.cluster.arrive(&joiner).await?;
    let mut change = Change::begin(
        &scene.cluster,
        "one host joins three and is killed in the second of its ack",
    )?;
    let fourth = storage_host(4, "zone-4")?;
    scene
        .cluster
        .declare(|document| document.spec.hosts.push(fourth))
        .await?;
    scene
        .cluster
        .until("applied", |status| in_layout(status, &joiner))
        .await?;
    tokio::time::sleep(Duration::from_millis(700)).await;
    // What is pushed while it is down is another story, and a longer one.
    scene.load.only_pull(true);
    scene.cluster.kill(&joiner).await?;
    scene.cluster.bring_back(&joiner, Return::SameAddress).await?;
    change.settled(&scene.cluster).await?;
    scene.load.only_pull(false);
    let (_, score) = scene.finish(change).await?;
    assert_eq!(score.failures, Vec::<String>::new());
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_a_host_joins_while_another_is_being_drained() -> Result<()> {
    let mut scene = Scene::set(4).await?;
    let leaver = host(4)?;
    let joiner = host(5)?;
    let mut drain = Change::begin(&scene.cluster, "one of four is drained, and another joins")?;
    scene
        .cluster
        .declare(|document| {
            for host in &mut document.spec.hosts {
                if host.name == leaver {
                    host.state = HostState::Drained;
                }
            }
        })
        .await?;
    drain.settled(&scene.cluster).await?;
    scene.cluster.arrive(&joiner).await?;
    let fifth = storage_host(5, "zone-5")?;
    scene
        .cluster
        .declare(|document| document.spec.hosts.push(fifth))
        .await?;
    let status = scene
        .cluster
        .until("joined", |status| {
            in_layout(status, &joiner) && status.layout.settled
        })
        .await?;
    assert!(!in_layout(&status, &leaver));
    assert!(
        scene.cluster.host(&leaver)?.blocks().count() > 0
            && scene.cluster.host(&leaver)?.garage_pid().is_some(),
        "the drained host still offers what it holds"
    );
    let (row, score) = scene.finish(drain).await?;
    assert_eq!(row.hosts_after, 4);
    assert_eq!(score.failures, Vec::<String>::new());
    scene.close().await
}
