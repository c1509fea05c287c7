//! A join, and a host that is put out.

use hayloft_api::status::Status;

use crate::home::{Home, document, is_ready};

/// Dies at each place in turn, is started again, and gets to the same end.
async fn survives(places: &[&str], reach: u8) {
    let dir = tempfile::tempdir().unwrap();
    let scenario = fail::FailScenario::setup();
    let mut home = Home::start(dir.path(), 3).await;
    home.until("ready", is_ready).await;
    for n in 4..=reach {
        home.agent(n).await;
    }
    for place in places {
        fail::cfg(*place, "1*panic->off").unwrap();
    }
    home.document.send_replace(document(reach));
    let joined = |status: &Status| is_ready(status) && status.layout.storage_hosts == u64::from(reach);
    let mut deaths = 0;
    loop {
        let coordinator = home.coordinator.as_ref().unwrap();
        let mut status = coordinator.status();
        if status.wait_for(joined).await.is_ok() {
            break;
        }
        // Its end of the channel is gone: it died.
        deaths += 1;
        assert!(deaths <= places.len(), "it dies again and again");
        home.coordinator = None;
        home.coordinate().await;
    }
    assert_eq!(deaths, places.len(), "it did not come by all of {places:?}");
    let admin = home.admin(1).await;
    let layout = admin.layout().await.unwrap();
    assert!(layout.staged_role_changes.is_empty());
    home.stop().await;
    scenario.teardown();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_dies_at_every_place_of_a_join_gets_there_all_the_same() {
    let places = [
        "before-stage",
        "after-stage",
        "before-apply",
        "after-apply",
        "after-clear",
        "after-launch",
    ];
    survives(&places, 4).await;
}
