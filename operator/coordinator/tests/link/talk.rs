//! What flows over the link.

use hayloft_agent::link::LinkState;
use hayloft_api::question::{Answer, Question, Refusal, SnapshotId, SnapshotInfo};

use crate::town::{Town, ask, asleep, follows, link_of, name, nothing, until};

fn promise(epoch: u64) -> Question {
    Question::Promise {
        epoch,
        instance: format!("coordinator-{epoch}"),
        seconds: 1,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_desired_state_and_questions_cross_the_network() {
    let dir = tempfile::tempdir().unwrap();
    let town = Town::new(2);
    let door = town.open(0).await;
    let agents = [asleep(dir.path(), 1).await, asleep(dir.path(), 2).await];
    let dialled = [
        town.dial(1, &agents[0], door.addr()),
        town.dial(2, &agents[1], door.addr()),
    ];
    for (n, link) in (1..).zip(&dialled) {
        until(link, |state| matches!(state, LinkState::Up { .. })).await;
        let mut there = link_of(&door, n).await;
        assert_eq!(there.report.borrow().host, name(n));
        let wanted = nothing(n, 3, 1);
        there.desired.send_replace(Some(wanted.clone()));
        follows(&mut there, &wanted).await;
        assert_eq!(
            ask(&there, promise(3)).await,
            Some(Ok(Answer::Promised { seconds: 1 }))
        );
    }
    // Many at a time, each with its own answer.
    let there = link_of(&door, 1).await;
    let layout = || ask(&there, Question::Layout { with_map: false });
    let kept = || ask(&there, Question::KeptSnapshots);
    for _ in 0..20 {
        let (layout, kept) = tokio::join!(layout(), kept());
        assert!(matches!(layout, Some(Ok(Answer::Layout(_)))), "{layout:?}");
        assert!(matches!(kept, Some(Ok(Answer::KeptSnapshots { .. }))), "{kept:?}");
    }
    // The longest message there is.
    let part = Question::KeepSnapshot {
        of: name(2),
        info: SnapshotInfo {
            id: SnapshotId("2026-01-01".to_owned()),
            node: there.report.borrow().garage_id,
            taken: crate::town::now(),
            files: vec![],
        },
        file: "db".to_owned(),
        offset: 0,
        data: vec![255; 1 << 20],
    };
    let kept = ask(&there, part).await;
    assert!(kept.is_some(), "the agent never heard it");
    door.close().await;
    for agent in agents {
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_of_a_lower_term_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let town = Town::new(1);
    let agent = asleep(dir.path(), 1).await;
    let door = town.open(0).await;
    let dialled = town.dial(1, &agent, door.addr());
    let mut there = link_of(&door, 1).await;
    let wanted = nothing(1, 5, 1);
    there.desired.send_replace(Some(wanted.clone()));
    follows(&mut there, &wanted).await;
    assert!(matches!(ask(&there, promise(5)).await, Some(Ok(_))));
    dialled.stop().await;
    // A coordinator that was restored from an old backup.
    let older = town.open(0).await;
    let dialled = town.dial(1, &agent, older.addr());
    let mut there = link_of(&older, 1).await;
    there.desired.send_replace(Some(nothing(1, 4, 9)));
    let mut seen = agent.desired.subscribe();
    let handed = seen.wait_for(|desired| {
        desired
            .as_ref()
            .is_some_and(|desired| desired.generation.epoch == 4)
    });
    drop(
        tokio::time::timeout(crate::town::PATIENCE, handed)
            .await
            .unwrap()
            .unwrap(),
    );
    let refused = ask(&there, promise(4)).await;
    assert!(
        matches!(
            refused,
            Some(Err(
                Refusal::OldTerm { promised: 5, .. } | Refusal::Held { epoch: 5, .. }
            ))
        ),
        "{refused:?}"
    );
    // What comes after it is followed, and it never was.
    let newer = nothing(1, 5, 2);
    there.desired.send_replace(Some(newer.clone()));
    follows(&mut there, &newer).await;
    dialled.stop().await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_does_not_answer_holds_up_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let town = Town::new(1);
    let agent = asleep(dir.path(), 1).await;
    let door = town.open(0).await;
    let dialled = town.dial(1, &agent, door.addr());
    let there = link_of(&door, 1).await;
    agent.pause(true);
    // More than may be open at a time, all given up.
    for _ in 0..200 {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let sent = there.questions.send((Question::KeptSnapshots, sender));
        tokio::time::timeout(crate::town::PATIENCE, sent)
            .await
            .unwrap()
            .unwrap();
        drop(receiver);
    }
    agent.pause(false);
    let answer = ask(&there, Question::KeptSnapshots).await;
    assert!(
        matches!(answer, Some(Ok(Answer::KeptSnapshots { .. }))),
        "{answer:?}"
    );
    dialled.stop().await;
    agent.stop().await;
}
