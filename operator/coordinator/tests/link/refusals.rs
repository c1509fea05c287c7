//! Who is not let in.

use hayloft_agent::link::{Ends, Link, LinkState};

use crate::town::{Town, asleep, key, link_of, nothing, until};

fn why(state: LinkState) -> String {
    match state {
        LinkState::Down { why } => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_taken_off_the_list_is_cut_off_at_once_and_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut town = Town::new(2);
    let agent = asleep(dir.path(), 2).await;
    let door = town.open(0).await;
    let dialled = town.dial(2, &agent, door.addr());
    let there = link_of(&door, 2).await;
    until(&dialled, |state| matches!(state, LinkState::Up { .. })).await;
    town.shrink_to(1);
    // Secrets, on a connection that is open.
    there.desired.send_replace(Some(nothing(2, 1, 1)));
    let why = why(until(&dialled, |state| matches!(state, LinkState::Down { .. })).await);
    assert!(why.contains("does not belong"), "{why}");
    assert!(agent.desired.borrow().is_none(), "it was told what to run");
    tokio::time::timeout(crate::town::PATIENCE, there.questions.closed())
        .await
        .unwrap();
    dialled.stop().await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_an_unlisted_key_nor_another_hosts_report_gets_in() {
    let dir = tempfile::tempdir().unwrap();
    let town = Town::new(2);
    let agent = asleep(dir.path(), 1).await;
    let door = town.open(0).await;
    // The authority signed it, but it is not on the list.
    let stranger = Link::start(town.config_of(&key(50), 1, door.addr()), Ends::of(&agent));
    let down = until(&stranger, |state| matches!(state, LinkState::Down { .. })).await;
    assert!(door.links().borrow().is_empty(), "{down:?}");
    stranger.stop().await;
    // The second host says that it is the first.
    let liar = Link::start(town.config(2, door.addr()), Ends::of(&agent));
    let why = why(until(&liar, |state| matches!(state, LinkState::Down { .. })).await);
    assert!(why.contains("another host"), "{why}");
    assert!(door.links().borrow().is_empty());
    liar.stop().await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_dials_nobody_but_its_coordinator() {
    let dir = tempfile::tempdir().unwrap();
    let town = Town::new(2);
    let agent = asleep(dir.path(), 1).await;
    // Another member stands where the coordinator was.
    let door = town.open_as_host(2).await;
    let dialled = town.dial(1, &agent, door.addr());
    let down = until(&dialled, |state| matches!(state, LinkState::Down { .. })).await;
    assert!(door.links().borrow().is_empty(), "{down:?}");
    dialled.stop().await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_later_of_two_agents_with_one_identity_is_heard_and_the_other_is_told() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let town = Town::new(1);
    let door = town.open(0).await;
    let first = asleep(dirs[0].path(), 1).await;
    let dialled = town.dial(1, &first, door.addr());
    until(&dialled, |state| matches!(state, LinkState::Up { .. })).await;
    let copy = asleep(dirs[1].path(), 1).await;
    let mut config = town.config(1, door.addr());
    config.seed = [77; 32];
    let copied = Link::start(config, Ends::of(&copy));
    until(&copied, |state| matches!(state, LinkState::Up { .. })).await;
    let why = why(until(&dialled, |state| matches!(state, LinkState::Down { .. })).await);
    assert!(why.contains("took its place"), "{why}");
    for link in [dialled, copied] {
        link.stop().await;
    }
    for agent in [first, copy] {
        agent.stop().await;
    }
}
