//! A whole cluster over links: real Garage daemons, and a coordinator that knows them by its door alone.

use std::sync::Arc;
use std::time::Duration;

use hayloft_agent::AgentHandle;
use hayloft_api::agent::{GARAGE_UNIT, UnitState};
use hayloft_api::status::ConditionType;
use hayloft_api::{Bytes, Document};
use hayloft_coordinator::door::Door;
use hayloft_coordinator::{Coordinator, CoordinatorConfig, Store};
use jiff::tz::TimeZone;
use tokio::sync::watch;

use crate::town::{Town, agent, name, now};

/// For a busy machine.
const PATIENCE: Duration = Duration::from_secs(70);

fn pid(agent: &AgentHandle) -> u32 {
    match agent
        .report
        .borrow()
        .unit(GARAGE_UNIT)
        .map(|unit| unit.state.clone())
    {
        Some(UnitState::Running { pid }) => pid,
        other => panic!("Garage is {other:?}"),
    }
}

struct Seat {
    coordinator: Coordinator,
    _document: watch::Sender<Document>,
}

impl Seat {
    async fn take(dir: &std::path::Path, door: &Door, seed: u8) -> Self {
        let document = Document::laptop(3, Bytes::gib(1)).unwrap();
        let store = Store::open(&dir.join("store.sqlite"), [seed; 32]).await.unwrap();
        store.apply(&document, now()).await.unwrap();
        let document = watch::Sender::new(document);
        let config = CoordinatorConfig {
            store,
            links: door.links(),
            document: document.subscribe(),
            clock: Arc::new(now),
            time_zone: TimeZone::UTC,
            seed: [seed; 32],
        };
        Self {
            coordinator: Coordinator::start(config).await.unwrap(),
            _document: document,
        }
    }

    async fn ready(&self) {
        let mut status = self.coordinator.status();
        // Not the phase, which also tells how full the disk under the test is.
        let ready = status.wait_for(|status| {
            let holds = |kind| status.condition(kind).is_some_and(|condition| condition.status);
            holds(ConditionType::Converged) && holds(ConditionType::Serving) && status.layout.settled
        });
        if tokio::time::timeout(PATIENCE, ready).await.is_err() {
            let last = serde_json::to_string_pretty(&*self.coordinator.status().borrow()).unwrap();
            panic!("never ready: {last}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_brought_up_over_links_and_goes_on_while_its_coordinator_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let town = Town::new(3);
    let door = town.open(0).await;
    let addr = door.addr();
    let program = hayloft_garage_fixture::program().unwrap();
    let mut agents = Vec::new();
    let mut links = Vec::new();
    for n in 1..=3 {
        let agent = agent(&dir.path().join(name(n).to_string()), n, program.clone()).await;
        links.push(town.dial(n, &agent, addr));
        agents.push(agent);
    }
    let seat = Seat::take(dir.path(), &door, 1).await;
    seat.ready().await;
    let pids: Vec<u32> = agents.iter().map(pid).collect();
    let generation = agents[0].report.borrow().generation.clone().unwrap();

    // It dies, with its door.
    seat.coordinator.kill();
    door.close().await;
    let door = town.open(addr.port()).await;
    let seat = Seat::take(dir.path(), &door, 2).await;
    seat.ready().await;
    let mut report = agents[0].report.clone();
    let newer = report.wait_for(|report| {
        report
            .generation
            .as_ref()
            .is_some_and(|now| now.epoch > generation.epoch)
    });
    tokio::time::timeout(PATIENCE, newer).await.unwrap().unwrap();
    assert_eq!(
        agents.iter().map(pid).collect::<Vec<_>>(),
        pids,
        "a Garage was restarted"
    );

    seat.coordinator.stop().await;
    for link in links {
        link.stop().await;
    }
    for agent in agents {
        agent.stop().await;
    }
}
