//! Which node a host is.

use std::fs;

use hayloft_api::agent::{DataState, GARAGE_UNIT, HostDesired, RolledBack};

use crate::support::{Host, lay_block, running};

#[tokio::test]
async fn a_forgotten_node_is_gone_and_the_host_is_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::real(dir.path()).await;
    host.tell(running(1, 1));
    let client = host.client().await;
    host.lay_out(&client, 1).await;
    let former = host.agent.report.borrow().garage_id;
    let block = lay_block(&host.places, "0101");

    // Another node's id changes nothing.
    let forget = |n, id, erase_blocks| HostDesired {
        forget: Some(id),
        erase_blocks,
        ..running(1, n)
    };
    host.tell(forget(2, hayloft_api::NodeId::from_public_key([9; 32]), true));
    let followed = |n| {
        move |report: &hayloft_api::agent::HostReport| {
            report
                .generation
                .as_ref()
                .is_some_and(|generation| generation.n == n)
        }
    };
    let report = host.until("it is followed", followed(2)).await;
    assert_eq!(report.garage_id, former);

    // Its blocks are not deleted while there are any.
    host.tell(forget(3, former, true));
    let report = host.until("it is followed", followed(3)).await;
    assert_eq!(report.garage_id, former);
    let refused = report
        .units
        .iter()
        .find_map(|unit| unit.last_error.clone())
        .unwrap();
    assert!(refused.contains("some lie under"), "{refused}");

    // Without that it is a new node at once, with the blocks that it had.
    host.tell(forget(4, former, false));
    let report = host
        .until("it is a new node and runs", |report| {
            report.garage_id != former && report.runs(GARAGE_UNIT)
        })
        .await;
    assert_eq!(report.layout, None);
    let client = host.client().await;
    assert_eq!(client.layout().await.unwrap().version, 0);
    assert_eq!(client.status().await.unwrap().nodes[0].id, report.garage_id);
    assert!(host.places.data_dir().join("01/01").join(&block).exists());
    let keys: Vec<_> = fs::read_dir(dir.path().join("node-keys"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(keys, [report.garage_id.to_string()], "the former key is gone");

    // An empty host is retired with all it has, and nothing runs.
    fs::remove_dir_all(host.places.data_dir().join("01")).unwrap();
    let second = report.garage_id;
    host.tell(HostDesired {
        garage: None,
        ..forget(5, second, true)
    });
    let report = host
        .until("it is a third node and does not run", |report| {
            report.garage_id != second && !report.runs(GARAGE_UNIT)
        })
        .await;
    assert!(!host.places.data_dir().join("garage-marker").exists());
    host.agent.stop().await;

    // Said again after a restart, it changes nothing.
    let again = Host::real(dir.path()).await;
    assert_eq!(again.agent.report.borrow().garage_id, report.garage_id);
    again.agent.stop().await;
}

#[tokio::test]
async fn metadata_that_went_back_in_time_is_reported_until_the_node_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::real(dir.path()).await;
    host.tell(running(1, 1));
    let client = host.client().await;
    host.lay_out(&client, 1).await;
    let file = host.places.metadata_dir().join("cluster_layout");
    let old = fs::read(&file).unwrap();
    host.lay_out(&client, 2).await;
    let former = host.agent.report.borrow().garage_id;
    host.agent.stop().await;
    fs::write(&file, old).unwrap();

    let back = Some(RolledBack { had: 2, found: 1 });
    for _ in 0..2 {
        let host = Host::real(dir.path()).await;
        assert_eq!(host.agent.report.borrow().rolled_back, back);
        host.agent.stop().await;
    }
    let host = Host::real(dir.path()).await;
    host.tell(HostDesired {
        forget: Some(former),
        ..running(1, 2)
    });
    let report = host
        .until("it is a new node", |report| report.garage_id != former)
        .await;
    assert_eq!(report.rolled_back, None);
    host.agent.stop().await;
}

#[tokio::test]
async fn lost_metadata_is_a_new_node_and_its_blocks_are_seen() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::real(dir.path()).await;
    host.tell(running(1, 1));
    let client = host.client().await;
    host.lay_out(&client, 1).await;
    let former = host.agent.report.borrow().garage_id;
    lay_block(&host.places, "0101");
    host.agent.stop().await;
    fs::remove_dir_all(host.places.metadata_dir()).unwrap();

    let host = Host::start(dir.path(), "/bin/false".into(), true).await;
    let report = host.agent.report.borrow().clone();
    assert_eq!(report.data, DataState::MetadataLost);
    assert_eq!(report.rolled_back, None, "what is lost did not go back");
    // The tests' seed is always the same, so the id is too; with a true one it is another.
    assert_eq!(report.garage_id, former);
    host.agent.stop().await;
}
