//! Two coordinators: only one acts.

use std::sync::Arc;
use std::time::Duration;

use hayloft_api::status::{ConditionType, Status};
use hayloft_coordinator::{Coordinator, CoordinatorConfig, Store};
use jiff::tz::TimeZone;

use crate::home::{Home, clock, document, is_ready};

async fn second(home: &Home, n: u8) -> Coordinator {
    let store = Store::open(&home.dir.join(format!("other-{n}.sqlite")), [200; 32])
        .await
        .unwrap();
    Coordinator::start(CoordinatorConfig {
        store,
        links: home.links.subscribe(),
        document: home.document.subscribe(),
        clock: Arc::new(clock),
        time_zone: TimeZone::UTC,
        seed: [210 + n; 32],
    })
    .await
    .unwrap()
}

fn leading(status: &Status) -> Option<bool> {
    status
        .condition(ConditionType::Leading)
        .map(|condition| condition.status)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_coordinator_does_nothing_and_names_the_one_that_leads() {
    let dir = tempfile::tempdir().unwrap();
    let mut home = Home::start(dir.path(), 3).await;
    home.until("ready", is_ready).await;
    let before: Vec<_> = (1..=3).map(|n| home.report(n).generation).collect();

    let other = second(&home, 1).await;
    let mut seen = other.status();
    let told = seen.wait_for(|status| leading(status) == Some(false));
    let told = tokio::time::timeout(Duration::from_secs(30), told)
        .await
        .unwrap()
        .unwrap()
        .clone();
    let condition = told.condition(ConditionType::Leading).unwrap();
    assert!(condition.message.contains("of term 1"), "{}", condition.message);
    // It has another bucket key and would change everything if it acted; it may look as often as it likes.
    for _ in 0..5 {
        seen.changed().await.unwrap();
        assert_eq!(leading(&seen.borrow()), Some(false));
    }
    let after: Vec<_> = (1..=3).map(|n| home.report(n).generation).collect();
    assert_eq!(before, after, "hosts heard of another coordinator");
    assert_eq!(
        leading(&home.coordinator.as_ref().unwrap().status().borrow()),
        Some(true)
    );

    // When the first one stops, it frees the agents, and the other leads at once.
    home.coordinator.take().unwrap().stop().await;
    let leads = seen.wait_for(|status| leading(status) == Some(true));
    tokio::time::timeout(Duration::from_secs(10), leads)
        .await
        .unwrap()
        .unwrap();
    other.stop().await;
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_store_is_used_by_one_coordinator_and_a_killed_one_frees_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut home = Home::start(dir.path(), 1).await;
    home.until("ready", is_ready).await;
    let store = Store::open(&home.dir.join("store.sqlite"), [0; 32])
        .await
        .unwrap();
    let config = |store: Store| CoordinatorConfig {
        store,
        links: home.links.subscribe(),
        document: home.document.subscribe(),
        clock: Arc::new(clock),
        time_zone: TimeZone::UTC,
        seed: [9; 32],
    };
    let refused = Coordinator::start(config(store.clone())).await.unwrap_err();
    let why = std::error::Error::source(&refused).unwrap().to_string();
    assert!(why.contains("another coordinator"), "{why}");

    home.coordinator.take().unwrap().kill();
    home.document.send_replace(document(1));
    let next = loop {
        // The killed one's task is taken down in a moment.
        match Coordinator::start(config(store.clone())).await {
            Ok(next) => break next,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    // Its promises would run for 15 s; whoever has its store knows that it is gone.
    let mut status = next.status();
    let leads = status.wait_for(|status| leading(status) == Some(true));
    tokio::time::timeout(Duration::from_secs(8), leads)
        .await
        .unwrap()
        .unwrap();
    next.stop().await;
    store.close().await;
    home.stop().await;
}
