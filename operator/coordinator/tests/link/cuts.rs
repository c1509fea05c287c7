//! Connections that break, and coordinators that go.

use std::net::SocketAddr;
use std::sync::Arc;

use hayloft_agent::link::LinkState;
use hayloft_api::Secret;
use hayloft_api::agent::{GARAGE_UNIT, GarageDesired, HostDesired, UnitState};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::town::{Town, asleep, eventually, follows, link_of, nothing, until};

/// A cable that can be cut: connections through it end, and it works again at once.
struct Cable {
    addr: SocketAddr,
    cuts: Arc<watch::Sender<u32>>,
}

impl Cable {
    async fn to(there: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let cuts = Arc::new(watch::Sender::new(0));
        let cut = Arc::clone(&cuts);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut cut = cut.subscribe();
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(there).await else {
                        return;
                    };
                    tokio::select! {
                        _ = cut.changed() => {}
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    }
                });
            }
        });
        Self { addr, cuts }
    }
}

/// A Garage that only sleeps.
fn garage(n: u8, epoch: u64, count: u64) -> HostDesired {
    HostDesired {
        garage: Some(GarageDesired {
            replication_factor: 1,
            fsync: false,
            rpc_secret: Secret::new("ab".repeat(32)),
            admin_token: Secret::new("cd".repeat(32)),
            s3_region: "garage".into(),
            zone: "z".parse().unwrap(),
            rpc_public: None,
            program: None,
            bootstrap_peers: vec![],
        }),
        ..nothing(n, epoch, count)
    }
}

fn pid(agent: &hayloft_agent::AgentHandle) -> Option<u32> {
    match agent.report.borrow().unit(GARAGE_UNIT)?.state {
        UnitState::Starting { pid } | UnitState::Running { pid } => Some(pid),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_resumes_and_the_coordinator_does_not_notice() {
    let dir = tempfile::tempdir().unwrap();
    let town = Town::new(1);
    let agent = asleep(dir.path(), 1).await;
    let door = town.open(0).await;
    let cable = Cable::to(door.addr()).await;
    let dialled = town.dial(1, &agent, cable.addr);
    let mut there = link_of(&door, 1).await;
    for n in 1..=4 {
        until(&dialled, |state| matches!(state, LinkState::Up { .. })).await;
        cable.cuts.send_modify(|cuts| *cuts += 1);
        until(&dialled, |state| matches!(state, LinkState::Down { .. })).await;
        // Said while nobody listens; heard over the next connection, by the same link.
        let wanted = nothing(1, 1, n);
        there.desired.send_replace(Some(wanted.clone()));
        follows(&mut there, &wanted).await;
        assert!(there.report.has_changed().is_ok(), "the agent counts as gone");
    }
    dialled.stop().await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_silent_for_long_is_gone_and_comes_back_with_a_new_link() {
    let dir = tempfile::tempdir().unwrap();
    let town = Town::new(1);
    let agent = asleep(dir.path(), 1).await;
    let door = town.open(0).await;
    let dialled = town.dial(1, &agent, door.addr());
    let there = link_of(&door, 1).await;
    dialled.stop().await;
    let mut report = there.report.clone();
    eventually("is the agent gone", || {
        report.borrow_and_update();
        report.has_changed().is_err()
    })
    .await;
    assert!(there.questions.is_closed(), "somebody still takes questions");
    let dialled = town.dial(1, &agent, door.addr());
    let mut there = link_of(&door, 1).await;
    let wanted = nothing(1, 1, 1);
    there.desired.send_replace(Some(wanted.clone()));
    follows(&mut there, &wanted).await;
    dialled.stop().await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_host_runs_goes_on_without_a_coordinator_and_it_boots_from_its_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let town = Town::new(1);
    let agent = asleep(dir.path(), 1).await;
    let door = town.open(0).await;
    let addr = door.addr();
    let dialled = town.dial(1, &agent, addr);
    let mut there = link_of(&door, 1).await;
    let wanted = garage(1, 2, 1);
    there.desired.send_replace(Some(wanted.clone()));
    follows(&mut there, &wanted).await;
    eventually("does Garage run", || pid(&agent).is_some()).await;
    let before = pid(&agent);
    door.close().await;
    until(&dialled, |state| matches!(state, LinkState::Down { .. })).await;
    assert_eq!(pid(&agent), before, "Garage was touched");
    // The host goes down and up again, and nobody is there to tell it anything.
    dialled.stop().await;
    agent.stop().await;
    let agent = asleep(dir.path(), 1).await;
    let dialled = town.dial(1, &agent, addr);
    until(&dialled, |state| matches!(state, LinkState::Down { .. })).await;
    eventually("does Garage run again", || pid(&agent).is_some()).await;
    let before = pid(&agent);
    // The coordinator returns where it was.
    let door = town.open(addr.port()).await;
    let mut there = link_of(&door, 1).await;
    follows(&mut there, &wanted).await;
    assert_eq!(pid(&agent), before, "Garage was touched");
    dialled.stop().await;
    agent.stop().await;
}
