use std::os::unix::fs::PermissionsExt;

use hayloft_api::{Bytes, Document, NodeId};
use jiff::Timestamp;

use super::*;

async fn open(dir: &Path, seed: u8) -> Store {
    Store::open(&dir.join("store.sqlite"), [seed; 32]).await.unwrap()
}

#[tokio::test]
async fn secrets_are_made_once_and_survive_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path(), 1).await;
    let secrets = first.secrets().clone();
    first.close().await;
    assert_eq!(open(dir.path(), 2).await.secrets(), secrets);
}

#[tokio::test]
async fn nobody_else_may_read_the_files() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("store.sqlite"), "").unwrap();
    std::fs::set_permissions(
        dir.path().join("store.sqlite"),
        std::fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    let store = open(dir.path(), 1).await;
    store.put_bucket_made().await.unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(
            entry.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{:?}",
            entry.file_name()
        );
    }
}

#[tokio::test]
async fn each_term_has_a_higher_epoch_also_than_one_heard_of() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 1).await;
    assert_eq!(store.take_epoch(0).await.unwrap(), 1);
    assert_eq!(store.take_epoch(0).await.unwrap(), 2);
    assert_eq!(store.take_epoch(7).await.unwrap(), 8);
}

#[tokio::test]
async fn a_document_is_kept_and_its_immutable_fields_stay() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 1).await;
    assert_eq!(store.document().await.unwrap(), None);
    let three = Document::laptop(3, Bytes::gib(10)).unwrap();
    store.apply(&three, Timestamp::UNIX_EPOCH).await.unwrap();
    let four = Document::laptop(4, Bytes::gib(10)).unwrap();
    store.apply(&four, Timestamp::UNIX_EPOCH).await.unwrap();
    let one = Document::laptop(1, Bytes::gib(10)).unwrap();
    let refused = store.apply(&one, Timestamp::UNIX_EPOCH).await;
    assert!(matches!(refused, Err(StoreError::Immutable(_))));
    assert_eq!(store.document().await.unwrap(), Some(four));
}

#[tokio::test]
async fn hosts_and_attempts_read_back_as_they_were_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 1).await;
    let host = Remembered {
        id: NodeId::from_public_key([3; 32]),
        zone: Some("paris".parse().unwrap()),
        had_role: true,
        left: Some("2026-01-01T00:00:00Z".parse().unwrap()),
    };
    let name: hayloft_api::HostName = "a".parse().unwrap();
    store.put_host(&name, &host).await.unwrap();
    assert_eq!(store.hosts().await.unwrap().get(&name), Some(&host));
    store
        .put_former(NodeId::from_public_key([4; 32]), &name)
        .await
        .unwrap();
    assert_eq!(
        store.former().await.unwrap(),
        [(NodeId::from_public_key([4; 32]), name.clone())].into()
    );
    let attempt = Attempt {
        sent: true,
        through: name,
        version: 4,
        staged: Staged {
            roles: [(host.id, hayloft_engine::RoleChange::Remove)].into(),
            zone_redundancy: Some(Some(2)),
        },
        at: 5,
    };
    assert_eq!(store.attempt().await.unwrap(), None);
    store.put_attempt(Some(&attempt)).await.unwrap();
    assert_eq!(store.attempt().await.unwrap(), Some(attempt));
    store.put_attempt(None).await.unwrap();
    assert_eq!(store.attempt().await.unwrap(), None);
}
