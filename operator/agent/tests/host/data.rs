//! Blocks, and the disk on which they lie.

use std::fs;
use std::time::{Duration, Instant};

use hayloft_api::agent::{DataState, GARAGE_UNIT, HostDesired};
use hayloft_api::question::{Answer, Census, Question, Refusal};
use jiff::Timestamp;

use crate::support::{Host, lay_block, now, running};

async fn census(host: &Host, fresh_after: Option<Timestamp>) -> Census {
    let start = Instant::now();
    loop {
        match host.agent.ask(Question::Census { fresh_after }).await.unwrap() {
            Answer::Census(census) => return *census,
            Answer::Counting { .. } => tokio::time::sleep(Duration::from_millis(20)).await,
            other => panic!("{other:?}"),
        }
        assert!(start.elapsed() < Duration::from_secs(60), "it never ends");
    }
}

#[tokio::test]
async fn an_agent_tells_its_layout_and_its_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::real(dir.path()).await;
    let report = host.agent.report.borrow().clone();
    assert_eq!(report.data, DataState::Fresh);
    assert_eq!(report.layout, None);
    host.tell(running(1, 1));
    let client = host.client().await;
    host.lay_out(&client, 1).await;
    let Answer::Layout(facts) = host.agent.ask(Question::Layout { with_map: true }).await.unwrap() else {
        panic!("another answer")
    };
    let report = host
        .until("its data is there", |report| report.data == DataState::Present)
        .await;
    assert_eq!(facts.digest(), report.layout);
    let map = facts.versions[0].map.clone().unwrap();
    assert_eq!(map.partitions_of(&report.garage_id), 256);

    // The socket's mode guards it; no further token is needed.
    assert!(
        client
            .metrics()
            .await
            .unwrap()
            .contains("block_resync_queue_length")
    );

    let before = census(&host, None).await;
    assert_eq!(before.blocks(), 0);
    let names = [lay_block(&host.places, "ab01"), lay_block(&host.places, "ab02")];
    let after = census(&host, Some(now())).await;
    assert_eq!(
        (after.blocks(), after.bytes(), after.partitions[0xab].count),
        (2, 10, 2)
    );
    let report = host
        .until("the count is reported", |report| {
            report.blocks.is_some_and(|blocks| blocks.count == 2)
        })
        .await;
    assert_eq!(report.blocks.unwrap().at, after.began);
    let all = Question::Names {
        partition: 0xab,
        after: None,
        limit: 1,
    };
    let Answer::Names { names: first, more } = host.agent.ask(all).await.unwrap() else {
        panic!("another answer")
    };
    assert_eq!((first[0].to_string(), more), (names[0].clone(), true));
    host.agent.stop().await;
}

#[tokio::test]
async fn a_lost_data_disk_is_told_from_an_empty_one_and_accepted_only_by_a_persons_word() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::real(dir.path()).await;
    host.tell(running(1, 1));
    let client = host.client().await;
    host.lay_out(&client, 1).await;
    host.agent.stop().await;

    // The disk is not mounted.
    let (data, unmounted) = (dir.path().join("data"), dir.path().join("data-elsewhere"));
    fs::rename(&data, &unmounted).unwrap();
    let host = Host::real(dir.path()).await;
    let report = host
        .until("Garage does not start", |report| {
            report.unit(GARAGE_UNIT).is_some_and(|unit| unit.restarts > 0)
        })
        .await;
    assert_eq!(report.data, DataState::MarkMissing { holds_blocks: false });
    let error = report.unit(GARAGE_UNIT).unwrap().last_error.clone().unwrap();
    assert!(error.contains("is the disk mounted?"), "{error}");
    let names = Question::Names {
        partition: 0,
        after: None,
        limit: 10,
    };
    let refused = host.agent.ask(names.clone()).await;
    assert!(
        matches!(&refused, Err(Refusal::Failed { why }) if why.contains("not mounted")),
        "an unmounted disk is not an empty one: {refused:?}"
    );

    // It is another disk, and it holds blocks: nobody's word is enough.
    lay_block(&host.places, "0101");
    let accept = |n| HostDesired {
        accept_empty_data: true,
        ..running(1, n)
    };
    host.tell(accept(2));
    host.until("its blocks are seen", |report| {
        report.data == DataState::MarkMissing { holds_blocks: true }
    })
    .await;
    fs::remove_dir_all(data.join("01")).unwrap();

    // It is a new disk.
    host.until("Garage runs on the new disk", |report| {
        report.runs(GARAGE_UNIT) && report.data == DataState::Present
    })
    .await;
    let client = host.client().await;
    assert_eq!(client.layout().await.unwrap().version, 1, "it is the same member");
    assert!(host.agent.ask(names).await.is_ok());
    host.agent.stop().await;
}

#[tokio::test]
async fn another_members_disk_is_seen() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for dir in [&one, &two] {
        let host = Host::real(dir.path()).await;
        host.tell(running(1, 1));
        host.client().await;
        host.until("it is marked", |report| report.data == DataState::Present)
            .await;
        lay_block(&host.places, "0101");
        host.agent.stop().await;
    }
    fs::remove_dir_all(one.path().join("data")).unwrap();
    fs::rename(two.path().join("data"), one.path().join("data")).unwrap();
    let host = Host::real(one.path()).await;
    let report = host
        .until("Garage does not start", |report| {
            report.unit(GARAGE_UNIT).is_some_and(|unit| unit.restarts > 0)
        })
        .await;
    assert_eq!(report.data, DataState::OtherMark { holds_blocks: true });
    host.agent.stop().await;
}
