//! Whom a host follows.

use hayloft_api::agent::GARAGE_UNIT;
use hayloft_api::question::{Answer, Question, Refusal};

use crate::support::{Host, generation, running};

fn promise(epoch: u64, seconds: u32) -> Question {
    Question::Promise {
        epoch,
        instance: generation(epoch, 0).instance,
        seconds,
    }
}

#[tokio::test]
async fn a_host_follows_only_the_coordinator_that_it_promised_to() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::asleep(dir.path()).await;
    let promised = host.agent.ask(promise(1, 15)).await.unwrap();
    assert_eq!(promised, Answer::Promised { seconds: 15 });
    let refused = host.agent.ask(promise(2, 15)).await.unwrap_err();
    assert!(
        matches!(&refused, Refusal::Held { epoch: 1, instance, .. } if instance == "coordinator-1"),
        "{refused}"
    );

    host.tell(running(2, 1));
    let report = host
        .until("the refusal shows", |report| {
            report.units.iter().any(|unit| unit.last_error.is_some())
        })
        .await;
    assert!(!report.runs(GARAGE_UNIT) && report.generation.is_none());
    let error = report.units[0].last_error.clone().unwrap();
    assert!(error.contains("coordinator-1"), "{error}");

    let release = Question::Release {
        epoch: 1,
        instance: "coordinator-1".into(),
    };
    assert_eq!(host.agent.ask(release).await.unwrap(), Answer::Done);
    host.agent.ask(promise(2, 15)).await.unwrap();
    // What was refused is followed without being said again.
    let report = host
        .until("the new coordinator is followed", |report| {
            report.runs(GARAGE_UNIT)
        })
        .await;
    assert_eq!(report.generation.map(|generation| generation.epoch), Some(2));
    let report = host
        .until("the promise is reported", |report| {
            report.promise.as_ref().is_some_and(|promise| promise.epoch == 2)
        })
        .await;
    assert!(report.promise.unwrap().runs);
    host.agent.stop().await;
}

#[tokio::test]
async fn terms_are_remembered_over_a_restart() {
    for remembers in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let first = Host::start(dir.path(), "/bin/false".into(), remembers).await;
        first.agent.ask(promise(5, 60)).await.unwrap();
        first.agent.stop().await;
        let second = Host::start(dir.path(), "/bin/false".into(), remembers).await;
        let lower = second.agent.ask(promise(4, 15)).await;
        assert!(lower.is_err(), "a lower term is never promised again");
        let higher = second.agent.ask(promise(6, 15)).await;
        assert_eq!(
            higher.is_err(),
            remembers,
            "a promise runs on unless its holder died with the agent: {higher:?}"
        );
        second.agent.stop().await;
    }
}

#[tokio::test]
async fn a_paused_host_says_nothing_and_goes_on_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::asleep(dir.path()).await;
    host.agent.pause(true);
    let asked = host.agent.ask(promise(1, 15));
    let waited = tokio::time::timeout(std::time::Duration::from_millis(300), asked).await;
    assert!(waited.is_err(), "it answered: {waited:?}");
    host.tell(running(1, 1));
    host.agent.pause(false);
    host.until("it goes on", |report| report.runs(GARAGE_UNIT)).await;
    host.agent.stop().await;
}

#[tokio::test]
async fn a_killed_host_leaves_no_process() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::asleep(dir.path()).await;
    host.tell(running(1, 1));
    let report = host.until("it runs", |report| report.runs(GARAGE_UNIT)).await;
    let hayloft_api::agent::UnitState::Running { pid } = report.units[0].state else {
        panic!("{report:?}")
    };
    let questions = host.agent.questions.clone();
    host.agent.kill().await;
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    assert!(questions.is_closed(), "nobody answers any more");
}
