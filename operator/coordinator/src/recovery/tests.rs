use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use hayloft_api::document::Role;
use hayloft_api::join::TokenLimits;
use hayloft_api::{Bytes, Document};
use jiff::{SignedDuration, Timestamp};
use zeroize::Zeroizing;

use super::*;
use crate::store::Store;

fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn limits(hours: i64) -> TokenLimits {
    TokenLimits {
        uses: 2,
        expires: now() + SignedDuration::from_hours(hours),
        name: None,
        zone: None,
        roles: vec![Role::Storage],
        max_pledge: None,
    }
}

/// A store with a document, a term and tokens, and a kit of it.
async fn kit_of(dir: &Path) -> (Store, Kit) {
    let store = Store::open(&dir.join("store.sqlite"), [7; 32]).await.unwrap();
    let document = Document::laptop(3, Bytes::gib(1)).unwrap();
    store.apply(&document, now()).await.unwrap();
    store.take_epoch(4).await.unwrap();
    for (n, hours) in [(1, 24), (2, -1)] {
        let id = format!("{n:016x}").parse().unwrap();
        let made = now() - SignedDuration::from_hours(48);
        store.put_token(id, "hash", &limits(hours), made).await.unwrap();
    }
    let kit = Kit {
        label: KitLabel {
            cluster: document.metadata.name,
            epoch: store.epoch().await.unwrap(),
            made: now(),
        },
        store: store.copy().await.unwrap(),
    };
    (store, kit)
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_store_is_the_same_after_its_machine_was_lost_but_for_its_join_tokens() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, kit) = kit_of(here.path()).await;
    let key = RecoveryKey::generate();
    let sealed = kit.seal(&key.recipient()).unwrap();
    let path = there.path().join("store.sqlite");
    let opened = Kit::open(&sealed, &key).unwrap();
    let restored = restore(&opened, &path, now()).await.unwrap();
    assert_eq!(
        restored,
        Restored {
            label: kit.label.clone(),
            voided: 1
        }
    );
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(names(there.path()), ["store.sqlite"]);

    let again = Store::open(&path, [9; 32]).await.unwrap();
    assert_eq!(again.secrets(), store.secrets());
    assert_eq!(again.document().await.unwrap(), store.document().await.unwrap());
    assert_eq!(again.restored().await.unwrap(), Some(kit.label));
    assert_eq!(
        again.take_epoch(0).await.unwrap(),
        6,
        "above the term in which the kit was made"
    );
    let tokens = again.tokens().await.unwrap();
    assert!(tokens.iter().all(|token| token.summary.revoked.is_some()));
    assert_eq!(store.restored().await.unwrap(), None);
}

#[tokio::test]
async fn a_copy_is_made_while_the_store_is_in_use_and_leaves_nothing_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let (store, kit) = kit_of(dir.path()).await;
    // Left by one that was killed.
    std::fs::write(dir.path().join("store.sqlite.copy"), "half").unwrap();
    store.put_bucket_made().await.unwrap();
    assert_ne!(store.copy().await.unwrap(), kit.store);
    assert!(names(dir.path()).iter().all(|name| !name.contains("copy")));
}

#[tokio::test]
async fn nothing_is_put_in_the_place_of_a_store_and_what_is_none_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, kit) = kit_of(dir.path()).await;
    let path = dir.path().join("store.sqlite");
    let error = restore(&kit, &path, now()).await.unwrap_err();
    assert!(matches!(error, RestoreError::Taken { .. }), "{error}");

    let empty = tempfile::tempdir().unwrap();
    let path = empty.path().join("store.sqlite");
    let broken = Kit {
        store: Zeroizing::new(kit.store[..5000].to_vec()),
        ..kit
    };
    assert!(restore(&broken, &path, now()).await.is_err());
    assert_eq!(names(empty.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_drill_tells_what_a_restore_would_bring_back_and_fails_where_that_would_fail() {
    let (here, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_store, kit) = kit_of(here.path()).await;
    let drilled = drill(&kit, scratch.path(), now()).await.unwrap();
    assert_eq!(
        drilled,
        Drilled {
            label: kit.label.clone(),
            declared: Some((3, 1)),
            admitted: 0,
            authority: None,
            voided: 1,
        }
    );
    let other = tempfile::tempdir().unwrap();
    let newer = Kit {
        store: Zeroizing::new(b"SQLite format 3\0 of another program".to_vec()),
        ..kit
    };
    assert!(drill(&newer, other.path(), now()).await.is_err());
}
