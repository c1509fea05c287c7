//! Hosts that leave, and hosts that are dead.

use anyhow::Result;
use hayloft_api::Span;
use hayloft_api::document::HostState;
use hayloft_api::status::ConditionType;
use hayloft_engine::AskedFor;
use hayloft_rebalance::{Change, Return, claims_placed, host, storage_host};

use crate::scene::{Scene, hosts, in_layout, is_up, trouble};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_host_is_drained_and_goes_on_until_its_own_disk_is_empty() -> Result<()> {
    let mut scene = Scene::set(4).await?;
    let leaver = host(4)?;
    let change = Change::begin(&scene.cluster, "one of four is drained")?;
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
    let (row, score) = scene.finish(change).await?;
    assert_eq!(row.hosts_after, 3);
    assert_eq!(score.failures, Vec::<String>::new());
    let status = scene.cluster.status()?;
    assert!(!in_layout(&status, &leaver));
    let left = scene.cluster.host(&leaver)?;
    assert!(
        left.blocks().count() > 0 && left.garage_pid().is_some(),
        "it was retired early"
    );
    let emptied = status.condition(ConditionType::Emptied);
    assert!(emptied.is_some_and(|emptied| !emptied.status), "{emptied:?}");
    let move_ = status
        .moves
        .iter()
        .find(|one| one.version == status.layout.version);
    assert!(
        move_.is_some_and(
            |one| one.empty < 1000 && one.delays.iter().any(|delay| delay.what.contains("fixed delay"))
        ),
        "Garage's fixed delay is not named: {move_:?}"
    );
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_host_is_replaced_by_a_new_one_under_its_name() -> Result<()> {
    let mut scene = Scene::set(3).await?;
    let dead = host(3)?;
    let mut change = Change::begin(&scene.cluster, "one of three lost all it had, and joins anew")?;
    scene.cluster.kill(&dead).await?;
    scene.cluster.host(&dead)?.lose_everything()?;
    change.lost(&dead);
    scene
        .cluster
        .until("missed", |status| !is_up(status, &dead))
        .await?;
    scene.cluster.bring_back(&dead, Return::OtherAddress).await?;
    let (row, score) = scene.finish(change).await?;
    assert_eq!(row.hosts_after, 3);
    assert_eq!(score.failures, Vec::<String>::new());
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_dead_for_long_enough_is_put_out_without_a_replacement() -> Result<()> {
    let mut scene = Scene::with(4, |document| {
        document.spec.rebalance.dead_after = Span::seconds(8);
    })
    .await?;
    let dead = host(4)?;
    let change = Change::begin(&scene.cluster, "one of four is dead and put out by rule")?;
    scene.cluster.kill(&dead).await?;
    scene
        .cluster
        .until("missed", |status| !is_up(status, &dead))
        .await?;
    scene
        .cluster
        .until("put out", |status| !in_layout(status, &dead))
        .await?;
    let (row, score) = scene.finish(change).await?;
    assert_eq!(row.hosts_after, 3);
    // When secrets are renewed, all daemons restart together: what fails then is told in the table.
    assert!(score.requests() > score.failures.len() as u64);
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_of_two_dead_hosts_of_five_none_is_put_out_by_rule_alone() -> Result<()> {
    let mut scene = Scene::with(5, |document| {
        document.spec.rebalance.dead_after = Span::seconds(8);
    })
    .await?;
    let dead = hosts(&[4, 5])?;
    let change = Change::begin(&scene.cluster, "two of five are dead at once and come back")?;
    for host in &dead {
        scene.cluster.kill(host).await?;
    }
    let asked = |status: &hayloft_api::status::Status| {
        trouble(status, ConditionType::NobodyMissed)
            .is_some_and(|asks| dead.iter().all(|host| asks.contains(host.as_str())))
    };
    let status = scene.cluster.until("a person is asked about both", asked).await?;
    assert!(dead.iter().all(|host| in_layout(&status, host)));
    // The one that comes back first must not leave the other as the only one that is dead.
    scene
        .cluster
        .declare(|document| document.spec.rebalance.dead_after = Span::hours(1))
        .await?;
    for host in &dead {
        scene.cluster.bring_back(host, Return::SameAddress).await?;
    }
    scene.cluster.until("ready", hayloft_rebalance::ready).await?;
    assert_eq!(
        scene.cluster.status()?.layout.version,
        change.version(),
        "nothing was moved"
    );
    scene.load.end().await;
    assert_eq!(change.missing(&scene.cluster)?, Vec::<String>::new());
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_host_that_is_dead_is_put_out_and_everything_it_knew_changes() -> Result<()> {
    let mut scene = Scene::with(4, |document| {
        document.spec.rebalance.dead_after = Span::seconds(8);
    })
    .await?;
    let dead = host(4)?;
    let before = scene.cluster.bucket(&hosts(&[1, 2, 3])?).await?;
    scene.cluster.kill(&dead).await?;
    scene
        .cluster
        .until("missed", |status| !is_up(status, &dead))
        .await?;
    let mut change = Change::begin(&scene.cluster, "one of four is dead and removed")?;
    scene
        .cluster
        .declare(|document| document.spec.hosts.retain(|host| host.name != dead))
        .await?;
    scene
        .cluster
        .until("put out", |status| !in_layout(status, &dead))
        .await?;
    change.settled(&scene.cluster).await?;
    change.placed(&scene.cluster).await?;
    scene
        .cluster
        .until("secrets renewed", |status| {
            trouble(status, ConditionType::SecretsKept).is_none()
        })
        .await?;
    scene.load.end().await;
    let after = scene.cluster.bucket(&hosts(&[1, 2, 3])?).await?;
    assert_ne!(
        before.access_key_id, after.access_key_id,
        "the S3 key is still the old one"
    );
    // Kept only to see that a fifth host, which never knew the old secrets, can join with the new ones.
    let joiner = host(5)?;
    scene.cluster.arrive(&joiner).await?;
    let fifth = storage_host(5, "zone-5")?;
    scene
        .cluster
        .declare(|document| document.spec.hosts.push(fifth))
        .await?;
    scene
        .cluster
        .until("joined", |status| in_layout(status, &joiner))
        .await?;
    scene.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_two_dead_of_five_are_put_out_by_a_person_and_nothing_that_has_a_copy_is_lost() -> Result<()> {
    let mut scene = Scene::set(5).await?;
    let dead = hosts(&[4, 5])?;
    let before = scene.cluster.layout()?.version;
    // Clients finish first: some partitions have no write quorum from here on.
    scene.load.end().await;
    for host in &dead {
        scene.cluster.kill(host).await?;
    }
    scene
        .cluster
        .until("missed", |status| dead.iter().all(|host| !is_up(status, host)))
        .await?;
    for host in &dead {
        let seat = scene.cluster.seat()?;
        seat.coordinator()?.ask(host, AskedFor::Evict).await?;
    }
    scene
        .cluster
        .until("put out", |status| {
            status.layout.version > before && dead.iter().all(|host| !in_layout(status, host))
        })
        .await?;
    let seat = scene.cluster.seat()?;
    seat.coordinator()?
        .allow_missing(dead.iter().cloned().collect())
        .await?;
    scene
        .cluster
        .until("settled", |status| {
            status.layout.settled
                && status.layout.partitions_with_quorum == Some(256)
                && trouble(status, ConditionType::SecretsKept).is_none()
        })
        .await?;
    // Tables are compared first, then blocks are looked for and compared.
    scene
        .cluster
        .until("placed", |status| claims_placed(status, before + 1))
        .await?;
    scene
        .load
        .use_config(&scene.cluster.bucket(&hosts(&[1, 2, 3])?).await?);
    scene.close().await
}
