//! What is kept in memory follows what is applied.

use super::*;

async fn ask(index: &Index, hash: &str) -> bool {
    let cache = "main".parse().unwrap();
    let hash = hash.parse().unwrap();
    index.whole_path(&cache, &hash).await.unwrap().is_some()
}

#[tokio::test]
async fn a_path_is_found_from_when_it_is_applied_until_it_is_removed() {
    for learned in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::open(&dir.path().join("index.sqlite")).await.unwrap();
        index.apply(&[cache("main")], position(1)).await.unwrap();
        if learned {
            assert_eq!(index.learn().await.unwrap(), 0);
        }
        assert!(!ask(&index, HELLO).await);
        let added = [pack(1, &[1, 2]), path("main", HELLO, &[1, 2])];
        index.apply(&added, position(2)).await.unwrap();
        assert!(ask(&index, HELLO).await);
        assert!(ask(&index, HELLO).await, "and again, from memory");
        let removed = Record::PathsCollected {
            cache: "main".parse().unwrap(),
            paths: vec![HELLO.parse().unwrap()],
        };
        index.apply(&[removed], position(3)).await.unwrap();
        assert!(!ask(&index, HELLO).await);
    }
}

#[tokio::test]
async fn a_path_in_memory_is_missing_as_soon_as_its_pack_is_damaged_and_back_when_it_is_healed() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(&dir.path().join("index.sqlite")).await.unwrap();
    let added = [cache("main"), pack(1, &[1, 2]), path("main", HELLO, &[1, 2])];
    index.apply(&added, position(1)).await.unwrap();
    assert!(ask(&index, HELLO).await);
    let damage = Record::Damaged(DamageRecord {
        packs: vec![PackName([1; 16])],
        frames: Vec::new(),
    });
    index.apply(&[damage], position(2)).await.unwrap();
    assert!(!ask(&index, HELLO).await);
    index.apply(&[pack(2, &[1, 2])], position(3)).await.unwrap();
    assert!(ask(&index, HELLO).await);
}

#[tokio::test]
async fn what_was_there_before_the_hashes_were_read_is_found_after() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(&dir.path().join("index.sqlite")).await.unwrap();
    let added = [cache("main"), pack(1, &[1]), path("main", HELLO, &[1])];
    index.apply(&added, position(1)).await.unwrap();
    index.close().await;
    let index = Index::open(&dir.path().join("index.sqlite")).await.unwrap();
    assert_eq!(index.learn().await.unwrap(), 1);
    assert!(ask(&index, HELLO).await);
    let other = "main2".parse().unwrap();
    let found = index.whole_path(&other, &HELLO.parse().unwrap()).await;
    assert!(found.unwrap().is_none(), "another cache's path is another path");
}
