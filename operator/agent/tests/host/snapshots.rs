//! Metadata kept on another host, and put back.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use hayloft_agent::snapshots::{RestoreError, restore_metadata};
use hayloft_api::question::{Answer, KeptSnapshot, LARGEST_PART, Question, SnapshotInfo};

use crate::support::{Host, name, now, running};

async fn newest(host: &Host) -> SnapshotInfo {
    let start = Instant::now();
    loop {
        if let Answer::Snapshot { info: Some(info) } = host.agent.ask(Question::Snapshot).await.unwrap() {
            return info;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "there is no snapshot");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// As a coordinator does it: asks how far the keeper is, and brings it the next part.
async fn carry(from: &Host, to: &Host, info: &SnapshotInfo) -> usize {
    let keep = |file: String, offset, data| Question::KeepSnapshot {
        of: name(),
        info: info.clone(),
        file,
        offset,
        data,
    };
    let mut parts = 0;
    let mut wanted = to.agent.ask(keep(String::new(), 0, vec![])).await.unwrap();
    while let Answer::Kept {
        file: Some(file),
        offset,
    } = wanted
    {
        let ask = Question::SnapshotPart {
            id: info.id.clone(),
            file: file.clone(),
            offset,
            limit: 64 << 10,
        };
        let Answer::Part { data, .. } = from.agent.ask(ask).await.unwrap() else {
            panic!("another answer")
        };
        parts += 1;
        wanted = to.agent.ask(keep(file, offset, data)).await.unwrap();
    }
    parts
}

async fn kept(host: &Host) -> Vec<KeptSnapshot> {
    let Answer::KeptSnapshots { kept } = host.agent.ask(Question::KeptSnapshots).await.unwrap() else {
        panic!("another answer")
    };
    kept
}

async fn fetch(from: &Host, info: &SnapshotInfo, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in &info.files {
        let mut content = Vec::new();
        loop {
            let ask = Question::KeptPart {
                of: name(),
                id: info.id.clone(),
                file: file.name.clone(),
                offset: u64::try_from(content.len()).unwrap(),
                limit: LARGEST_PART,
            };
            let Answer::Part { data, last } = from.agent.ask(ask).await.unwrap() else {
                panic!("another answer")
            };
            content.extend(data);
            if last {
                break;
            }
        }
        fs::write(to.join(&file.name), content).unwrap();
    }
}

#[tokio::test]
async fn a_host_whose_metadata_is_lost_comes_back_as_the_same_node_from_what_another_kept() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let host = Host::real(one.path()).await;
    let keeper = Host::start(two.path(), "/bin/false".into(), true).await;
    host.tell(running(1, 1));
    let client = host.client().await;
    host.lay_out(&client, 1).await;
    let bucket = client.create_bucket("precious").await.unwrap();
    let node = host.agent.report.borrow().garage_id;
    client.snapshot_metadata(node).await.unwrap();
    let info = newest(&host).await;
    assert_eq!(info.node, node);
    let names: Vec<_> = info.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["cluster_layout", "db.lmdb"]);

    assert!(carry(&host, &keeper, &info).await > 1, "in parts");
    assert_eq!(
        carry(&host, &keeper, &info).await,
        0,
        "what is whole is not sent again"
    );
    let known = kept(&keeper).await;
    assert!(known.len() == 1 && known[0].whole && known[0].info == info && known[0].of == name());
    let folder = two.path().join("kept/host-1").join(&info.id.0);
    for entry in fs::read_dir(&folder).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "secrets are in it");
    }

    // Garage keeps the two newest, and so does the keeper.
    for _ in 0..2 {
        let last = newest(&host).await;
        // Garage names snapshots by the second.
        while now().as_second() == last.taken.as_second() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        client.snapshot_metadata(node).await.unwrap();
        let start = Instant::now();
        while newest(&host).await.id == last.id {
            assert!(start.elapsed() < Duration::from_secs(30), "no newer one");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        carry(&host, &keeper, &newest(&host).await).await;
    }
    let info = newest(&host).await;
    let ids: Vec<_> = kept(&keeper).await.into_iter().map(|kept| kept.info.id).collect();
    assert!(ids.len() == 2 && ids.contains(&info.id), "{ids:?}");

    host.agent.stop().await;
    fs::remove_dir_all(host.places.metadata_dir()).unwrap();
    let fetched = one.path().join("fetched");
    fetch(&keeper, &info, &fetched).await;
    let late = now() + Duration::from_secs(21 * 3600);
    let old = restore_metadata(&host.places, &info, &fetched, late, false);
    assert!(matches!(old, Err(RestoreError::TooOld { .. })), "{old:?}");
    restore_metadata(&host.places, &info, &fetched, now(), false).unwrap();

    let host = Host::real(one.path()).await;
    let client = host.client().await;
    let report = host.agent.report.borrow().clone();
    assert_eq!((report.garage_id, report.rolled_back), (node, None));
    assert_eq!(client.bucket("precious").await.unwrap().unwrap().id, bucket.id);
    host.agent.stop().await;

    let dropped = keeper.agent.ask(Question::DropKept { of: name() }).await.unwrap();
    assert_eq!(dropped, Answer::Done);
    assert!(kept(&keeper).await.is_empty());
    keeper.agent.stop().await;
}

#[tokio::test]
async fn a_snapshot_that_arrives_damaged_is_not_kept() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let host = Host::start(one.path(), "/bin/false".into(), true).await;
    let keeper = Host::start(two.path(), "/bin/false".into(), true).await;
    let folder = one.path().join("snapshots/2026-01-01T00:00:00Z");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("db.lmdb"), vec![7; 100_000]).unwrap();
    let info = newest(&host).await;
    fs::write(folder.join("db.lmdb"), vec![8; 100_000]).unwrap();
    let keep = |offset, data: Vec<u8>| Question::KeepSnapshot {
        of: name(),
        info: info.clone(),
        file: "db.lmdb".to_owned(),
        offset,
        data,
    };
    // Not in order: nothing is taken, and the keeper says what it wants.
    let wanted = keeper.agent.ask(keep(50_000, vec![8; 10])).await.unwrap();
    let first = Answer::Kept {
        file: Some("db.lmdb".to_owned()),
        offset: 0,
    };
    assert_eq!(wanted, first);
    let refused = keeper.agent.ask(keep(0, vec![8; 100_000])).await;
    assert!(refused.is_err(), "{refused:?}");
    assert!(kept(&keeper).await.is_empty());
    assert_eq!(
        keeper.agent.ask(keep(0, vec![])).await.unwrap(),
        first,
        "it begins anew"
    );
    fs::write(folder.join("db.lmdb"), vec![7; 100_000]).unwrap();
    carry(&host, &keeper, &info).await;
    assert_eq!(kept(&keeper).await.len(), 1);
    host.agent.stop().await;
    keeper.agent.stop().await;
}
