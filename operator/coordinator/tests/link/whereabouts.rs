//! Hosts that do not find the coordinator where they were told that it is.

use std::net::SocketAddr;
use std::sync::Arc;

use hayloft_agent::AgentHandle;
use hayloft_agent::link::{Ends, Link, LinkConfig, LinkState};
use hayloft_agent::local::Doorway;
use hayloft_agent::streams::Door;
use hayloft_agent::whereabouts::{Whereabouts, say};
use hayloft_api::join::Member;
use hayloft_api::link::Find;

use crate::town::{Town, asleep, key, link_of, name, until};

/// Nobody listens there.
const NOWHERE: &str = "127.0.0.1:1";

async fn door_of(config: &LinkConfig, agent: &AgentHandle) -> Door {
    Door::open(
        SocketAddr::from(([127, 0, 0, 1], 0)),
        config.identity.clone(),
        config.trust.clone(),
        agent.ports.clone(),
        config.whereabouts.clone(),
    )
    .await
    .unwrap()
}

fn doorway(n: u8, door: &Door) -> Doorway {
    Doorway {
        host: name(n),
        address: door.address().to_string(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_does_not_find_the_coordinator_asks_one_that_has() {
    let dir = tempfile::tempdir().unwrap();
    let town = Town::new(2);
    let (first, second) = (asleep(dir.path(), 1).await, asleep(dir.path(), 2).await);
    let coordinator = town.open(0).await;
    let found = town.config(1, coordinator.addr());
    let door = door_of(&found, &first).await;
    let here = Link::start(found, Ends::of(&first));
    link_of(&coordinator, 1).await;

    let mut lost = town.config(2, coordinator.addr());
    lost.whereabouts = Whereabouts::new(vec![NOWHERE.to_owned()]);
    lost.list.members[1].door = Some(door.address().to_string());
    let there = Link::start(lost, Ends::of(&second));
    until(&there, |state| matches!(state, LinkState::Down { .. })).await;
    let up = until(&there, |state| matches!(state, LinkState::Up { .. })).await;
    let address = coordinator.addr().to_string();
    assert_eq!(up, LinkState::Up { address });
    here.stop().await;
    there.stop().await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_coordinator_alone_is_believed_when_it_says_where_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let town = Town::new(2);
    let agent = asleep(dir.path(), 1).await;
    let coordinator = town.open(0).await;
    let mut lost = town.config(1, coordinator.addr());
    lost.whereabouts = Whereabouts::new(vec![NOWHERE.to_owned()]);
    let trust = Arc::clone(&lost.trust);
    let door = door_of(&lost, &agent).await;
    let link = Link::start(lost, Ends::of(&agent));
    let announced = Find {
        announced: vec![coordinator.addr().to_string()],
    };
    let host = town.identity(&key(2), &Member::Host(name(2)));
    let at = doorway(1, &door);
    let said = |identity| say(identity, trust.clone(), &town.cluster, &at, &announced);
    assert_eq!(said(host).await.unwrap().coordinator, None);
    assert!(!matches!(*link.state().borrow(), LinkState::Up { .. }));
    let own = town.identity(&key(0), &Member::Coordinator);
    said(own).await.unwrap();
    until(&link, |state| matches!(state, LinkState::Up { .. })).await;
    // Nor is a stranger answered at all.
    let stranger = town.identity(&key(50), &Member::Coordinator);
    assert!(said(stranger).await.is_err());
    link.stop().await;
    agent.stop().await;
}
