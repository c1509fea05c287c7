//! The life of a cluster: from nothing, hosts join, leave, die and come back.

use std::time::Duration;

use hayloft_api::agent::GARAGE_UNIT;
use hayloft_api::status::{ConditionType, Phase, Status};
use hayloft_coordinator::BUCKET;
use hayloft_garage::admin::{AdminError, Client, RoleChange};

use crate::home::{Home, document, garage_pid, is_ready, name};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_comes_up_from_nothing_and_a_second_start_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::start(dir.path(), 3).await;
    let status = home.until("ready", is_ready).await;
    assert_eq!(status.layout.version, 1);
    assert!(status.layout.settled);
    assert_eq!(status.layout.zone_redundancy, Some(3));
    assert_eq!(status.gateway.hosts, [name(1)]);
    assert!(
        status
            .hosts
            .iter()
            .all(|host| host.up && host.in_layout && host.partitions == Some(256))
    );
    assert_eq!(status.waiting, []);
    let admin = home.admin(2).await;
    let bucket = admin.bucket(BUCKET).await.unwrap().unwrap();
    assert!(
        bucket
            .keys
            .iter()
            .any(|key| key.permissions.read && key.permissions.write)
    );
    let ids: Vec<_> = (1..=3).map(|n| home.report(n).garage_id).collect();
    home.stop().await;

    let home = Home::start(dir.path(), 3).await;
    let status = home.until("ready again", is_ready).await;
    assert_eq!(status.layout.version, 1);
    assert_eq!((1..=3).map(|n| home.report(n).garage_id).collect::<Vec<_>>(), ids);
    // The third may not be connected yet when the first is.
    let admin = home.admin(3).await;
    let seen = async {
        loop {
            if let Ok(Some(seen)) = admin.bucket(BUCKET).await {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let seen = tokio::time::timeout(Duration::from_secs(30), seen).await.unwrap();
    assert_eq!(seen.id, bucket.id);
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fourth_host_joins_in_one_version_and_leaves_in_another() {
    let dir = tempfile::tempdir().unwrap();
    let mut home = Home::start(dir.path(), 3).await;
    home.until("ready", is_ready).await;
    let gateway = home.report(1).unit("gateway").unwrap().clone();
    home.agent(4).await;
    home.document.send_replace(document(4));
    let status = home
        .until("ready with four", |status| {
            is_ready(status) && status.hosts.len() == 4
        })
        .await;
    assert_eq!(status.layout.version, 2);
    assert_eq!(status.layout.storage_hosts, 4);
    assert_eq!(
        home.report(1).unit("gateway"),
        Some(&gateway),
        "the gateway was restarted"
    );

    home.document.send_replace(document(3));
    let gone =
        |status: &Status| status.layout.version == 3 && status.layout.settled && !status.waiting.is_empty();
    let status = home.until("settled without the fourth", gone).await;
    let fourth = status.hosts.iter().find(|host| host.name == name(4)).unwrap();
    assert!(!fourth.declared && !fourth.in_layout);
    assert!(fourth.up, "its Garage must go on until its data lies elsewhere");
    assert!(
        status
            .waiting
            .iter()
            .any(|waiting| waiting.what.starts_with("delete the data of host-4")),
        "{:?}",
        status.waiting
    );
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_host_is_told_and_what_others_staged_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::start(dir.path(), 3).await;
    home.until("ready", is_ready).await;

    let pid = garage_pid(&home.report(3)).unwrap();
    let killed = std::process::Command::new("kill")
        .args(["-KILL", &pid.to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    home.until("restarted", |status| {
        is_ready(status)
            && home.agents[&name(3)]
                .report
                .borrow()
                .unit(GARAGE_UNIT)
                .is_some_and(|u| u.restarts > 0)
    })
    .await;

    let admin = home.admin(2).await;
    let id = home.report(2).garage_id;
    let role = RoleChange::Assign {
        zone: "elsewhere".into(),
        tags: vec![],
        capacity: Some(1 << 30),
    };
    admin.stage(&[(id, role)].into(), None).await.unwrap();
    let foreign = |status: &Status| {
        status
            .condition(ConditionType::StagingClean)
            .is_some_and(|condition| !condition.status)
    };
    let status = home.until("told of the staged change", foreign).await;
    assert_eq!(status.phase, Phase::Degraded);
    assert!(matches!(
        admin.apply(7).await,
        Err(AdminError::LayoutVersion { .. })
    ));
    admin.revert().await.unwrap();
    let status = home.until("ready again", is_ready).await;
    assert_eq!(status.layout.version, 1);
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_lost_its_disk_takes_its_role_again_as_another_node() {
    let dir = tempfile::tempdir().unwrap();
    let mut home = Home::start(dir.path(), 3).await;
    home.until("ready", is_ready).await;
    let old = home.report(3).garage_id;
    home.agents.remove(&name(3)).unwrap().stop().await;
    home.links.send_modify(|links| drop(links.remove(&name(3))));
    std::fs::remove_dir_all(dir.path().join("host-3")).unwrap();
    home.until("told of the loss", |status| status.phase == Phase::Degraded)
        .await;

    home.agent_with_seed(3, 33).await;
    let renewed = |status: &Status| is_ready(status) && status.layout.version == 2;
    let status = home.until("ready with a new node", renewed).await;
    assert_ne!(home.report(3).garage_id, old);
    assert_eq!(status.layout.storage_hosts, 3);
    assert_eq!(status.waiting, []);
    let layout = home.admin(1).await.layout().await.unwrap();
    assert!(layout.roles.iter().all(|role| role.id != old));
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_host_is_a_cluster_too() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::start(dir.path(), 1).await;
    let status = home.until("ready", is_ready).await;
    assert_eq!((status.layout.version, status.layout.storage_hosts), (1, 1));
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_client_tells_refusals_apart() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::start(dir.path(), 1).await;
    home.until("ready", is_ready).await;
    let admin = home.admin(1).await;
    assert_eq!(admin.bucket("none").await.unwrap(), None);
    assert_eq!(admin.key("GK000000000000000000000000").await.unwrap(), None);
    assert!(matches!(
        admin.create_bucket(BUCKET).await,
        Err(AdminError::Conflict { .. })
    ));
    assert!(matches!(
        admin.skip_dead(1).await,
        Err(AdminError::Refused { status: 400, .. })
    ));
    let stranger = Client::new(&home.report(1).admin, hayloft_api::Secret::new("wrong")).unwrap();
    assert!(matches!(
        stranger.status().await,
        Err(AdminError::Forbidden { .. })
    ));
    home.stop().await;
    assert!(matches!(admin.status().await, Err(AdminError::NoAnswer { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_the_coordinator_meets_a_little_after_its_own_start_did_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut home = Home::start(dir.path(), 3).await;
    home.until("ready", is_ready).await;
    home.coordinator.take().unwrap().stop().await;
    // Two agents connect at once, which is a majority, and the third one later.
    let late = home.links.borrow().get(&name(3)).unwrap().clone();
    home.links.send_modify(|links| drop(links.remove(&name(3))));
    home.coordinate().await;
    home.until("missing one", |status| {
        let agents = status.hosts.iter().filter(|host| host.agent).count();
        agents == 2 && status.layout.version > 0
    })
    .await;
    home.links.send_modify(|links| drop(links.insert(name(3), late)));
    let status = home.until("ready again", is_ready).await;
    for host in &status.hosts {
        assert_eq!(host.watch.returns, 0, "{}", host.name);
    }
    home.stop().await;
}
