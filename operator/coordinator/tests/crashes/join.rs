//! A join, and a host that is put out.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use hayloft_api::agent::Peer;
use hayloft_api::status::{ConditionType, SecretsRenewal, Status};
use hayloft_engine::AskedFor;

use crate::home::{Home, PATIENCE, document, is_ready, name};

/// Dies at each place in turn, is started again, and gets to the same end.
async fn survives(home: &mut Home, places: &[&str], reached: impl Fn(&Status) -> bool) {
    let mut deaths = 0;
    loop {
        let mut status = home.coordinator.as_ref().unwrap().status();
        let waited = tokio::time::timeout(PATIENCE, status.wait_for(&reached)).await;
        if waited
            .unwrap_or_else(|_| {
                panic!(
                    "stuck: {:#?}",
                    home.coordinator.as_ref().unwrap().status().borrow()
                )
            })
            .is_ok()
        {
            break;
        }
        // Its end of the channel is gone: it died.
        deaths += 1;
        assert!(deaths <= places.len(), "it dies again and again");
        home.coordinator = None;
        home.coordinate().await;
    }
    assert_eq!(deaths, places.len(), "it did not come by all of {places:?}");
}

async fn four_hosts(dir: &Path) -> Home {
    let home = Home::start(dir, 4).await;
    home.until("ready", |status| {
        is_ready(status) && status.layout.storage_hosts == 4
    })
    .await;
    home
}

fn told(status: &Status, text: &str) -> bool {
    status.events.iter().any(|event| event.text.contains(text))
}

fn is_rid_of_host_4(status: &Status) -> bool {
    let kept = status.condition(ConditionType::SecretsKept);
    told(status, "nothing that host-4 knew") && kept.is_some_and(|kept| kept.status)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_dies_at_every_place_of_a_join_gets_there_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let scenario = fail::FailScenario::setup();
    let mut home = Home::start(dir.path(), 3).await;
    home.until("ready", is_ready).await;
    home.agent(4).await;
    let places = [
        "before-stage",
        "after-stage",
        "before-apply",
        "after-apply",
        "after-clear",
        "after-launch",
    ];
    for place in places {
        fail::cfg(place, "1*panic->off").unwrap();
    }
    home.document.send_replace(document(4));
    survives(&mut home, &places, |status| {
        is_ready(status) && status.layout.storage_hosts == 4
    })
    .await;
    let layout = home.admin(1).await.layout().await.unwrap();
    assert!(layout.staged_role_changes.is_empty());
    home.stop().await;
    scenario.teardown();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_dies_at_every_place_of_an_eviction_leaves_no_old_secret_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let scenario = fail::FailScenario::setup();
    let mut home = four_hosts(dir.path()).await;
    let old = home.secrets().await;
    let evicted = home.report(4).garage_id;
    let places = [
        "evict-known",
        "before-new-secrets",
        "after-stage-secrets",
        "before-switch",
        "after-new-secrets",
        "after-import-key",
        "after-new-key",
        "after-delete-key",
        "after-create-token",
    ];
    for place in places {
        fail::cfg(place, "1*panic->off").unwrap();
    }
    let coordinator = home.coordinator.as_ref().unwrap();
    coordinator.ask(&name(4), AskedFor::Evict).await.unwrap();
    survives(&mut home, &places, |status| {
        is_rid_of_host_4(status) && status.layout.storage_hosts == 3
    })
    .await;
    let new = home.secrets().await;
    assert_ne!(old.rpc_secret, new.rpc_secret);
    assert_ne!(old.access_key_id, new.access_key_id);
    let admin = home.admin(1).await;
    assert!(
        admin
            .layout()
            .await
            .unwrap()
            .roles
            .iter()
            .all(|role| role.id != evicted)
    );
    assert_eq!(admin.key(&old.access_key_id).await.unwrap(), None);
    home.stop().await;
    scenario.teardown();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_away_when_new_secrets_are_put_to_use_gets_them_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let scenario = fail::FailScenario::setup();
    let mut home = four_hosts(dir.path()).await;
    let old = home.secrets().await;
    // All have written them down, and nobody uses them.
    fail::cfg("before-switch", "1*panic->off").unwrap();
    let coordinator = home.coordinator.as_ref().unwrap();
    coordinator.ask(&name(4), AskedFor::Evict).await.unwrap();
    let mut status = home.coordinator.as_ref().unwrap().status();
    let died = tokio::time::timeout(PATIENCE, status.wait_for(|_| false)).await;
    assert!(died.unwrap().is_err());
    assert_eq!(home.secrets().await.rpc_secret, old.rpc_secret);
    home.agents.remove(&name(3)).unwrap().stop().await;
    home.links.send_modify(|links| drop(links.remove(&name(3))));

    home.coordinate().await;
    home.until("switched", |status| {
        status.secrets.renewal == SecretsRenewal::Switched
    })
    .await;
    let new = home.secrets().await;
    assert_ne!(old.rpc_secret, new.rpc_secret);
    let on_disk = |n| std::fs::read_to_string(home.dir.join(format!("host-{n}/rpc-secret"))).unwrap();
    assert_eq!(on_disk(3).trim(), old.rpc_secret.expose(), "it is away");

    home.agent(3).await;
    home.until("rid of host-4", is_rid_of_host_4).await;
    for n in 1..=3 {
        let text = std::fs::read_to_string(home.dir.join(format!("host-{n}/rpc-secret"))).unwrap();
        assert_eq!(text.trim(), new.rpc_secret.expose(), "host-{n}");
    }
    home.stop().await;
    scenario.teardown();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_that_was_over_before_the_next_coordinator_looked_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let scenario = fail::FailScenario::setup();
    let mut home = four_hosts(dir.path()).await;
    fail::cfg("after-new-secrets", "1*panic->off").unwrap();
    // The next one is held there until all have restarted and see each other, for they hear of it at once.
    let (let_on, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let comes = AtomicU32::new(0);
    fail::cfg_callback("before-switch", move || {
        if comes.fetch_add(1, Ordering::Relaxed) == 1 {
            // Other tasks of this thread go on meanwhile.
            tokio::task::block_in_place(|| held.lock().unwrap().recv_timeout(PATIENCE).unwrap());
        }
    })
    .unwrap();
    let coordinator = home.coordinator.as_ref().unwrap();
    coordinator.ask(&name(4), AskedFor::Evict).await.unwrap();
    let mut status = home.coordinator.as_ref().unwrap().status();
    let died = tokio::time::timeout(PATIENCE, status.wait_for(|_| false)).await;
    assert!(died.unwrap().is_err());
    home.coordinator = None;
    home.coordinate().await;
    tokio::time::timeout(PATIENCE, all_are_back(&home)).await.unwrap();
    let_on.send(()).unwrap();
    home.until("rid of host-4", |status| {
        told(status, "how long nobody reached a quorum is not known") && is_rid_of_host_4(status)
    })
    .await;
    home.stop().await;
    scenario.teardown();
}

/// All but host 4 answer to the new secrets and reach a quorum.
async fn all_are_back(home: &Home) {
    let peers: Vec<Peer> = (1..=3)
        .map(|n| home.report(n))
        .map(|report| Peer {
            id: report.garage_id,
            addr: report.rpc_addr,
        })
        .collect();
    for n in 1..=3 {
        loop {
            let admin = home.admin(n).await;
            // Refused while it still has the old token.
            if admin.connect(&peers).await.is_ok() && admin.reaches_quorum().await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
