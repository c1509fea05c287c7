//! Digests that are merged into the large table, and questions meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::Merged;

/// Merges all that is there.
async fn merge(index: &Index) -> u64 {
    let mut merged = 0;
    loop {
        match index.merge_digests().await.unwrap() {
            Merged::Some(some) => merged += some,
            Merged::All => return merged,
            Merged::NotLearnt => panic!("the filter is made first"),
        }
    }
}

#[tokio::test]
async fn what_was_merged_is_found_and_lost_as_before() {
    let (_dir, index) = fresh().await;
    let records = [cache("main"), pack(1, &[1, 2]), path("main", HELLO, &[1, 2])];
    index.apply(&records, position(1)).await.unwrap();
    assert_eq!(index.merge_digests().await.unwrap(), Merged::NotLearnt);
    assert_eq!(index.learn_digests().await.unwrap(), 0);
    assert_eq!(index.young_digests().await.unwrap(), 4);
    assert_eq!(merge(&index).await, 4);
    assert_eq!(index.young_digests().await.unwrap(), 0);
    index.apply(&[pack(2, &[2, 3])], position(2)).await.unwrap();

    let pieces: Vec<Digest> = (1..=4).map(|n| Digest::of(&[n])).collect();
    assert_eq!(index.frames_of(&pieces).await.unwrap().len(), 3);
    let frames: Vec<Digest> = (1..=4).map(|n| frame(n).frame).collect();
    let places = index.places(&frames).await.unwrap();
    assert_eq!(places.len(), 3);
    assert_eq!(
        places[&frames[1]].pack,
        PackName([1; 16]),
        "the oldest of two copies"
    );
    let facts = index.facts(&[path("main", HELLO, &[1, 3])]).await.unwrap();
    assert!(facts.frames.contains(&frames[0]) && facts.frames.contains(&frames[2]));

    // The first pack is lost: one frame of it lies in the second, and the path lacks the other.
    let damage = Record::Damaged(DamageRecord {
        packs: vec![PackName([1; 16])],
        frames: vec![],
    });
    index.apply(&[damage], position(3)).await.unwrap();
    let places = index.places(&frames).await.unwrap();
    assert!(!places.contains_key(&frames[0]));
    assert_eq!(places[&frames[1]].pack, PackName([2; 16]));
    let (main, hello, _) = names();
    assert!(index.present(&main, &[hello]).await.unwrap().is_empty());
    index.apply(&[pack(3, &[1])], position(4)).await.unwrap();
    assert_eq!(index.present(&main, &[hello]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_index_that_is_opened_again_finds_all_whether_it_has_read_its_digests_or_not() {
    let (dir, index) = fresh().await;
    index
        .apply(&[cache("main"), pack(1, &[1, 2])], position(1))
        .await
        .unwrap();
    index.learn_digests().await.unwrap();
    merge(&index).await;
    index.apply(&[pack(2, &[3])], position(2)).await.unwrap();
    index.close().await;
    let index = Index::open(&dir.path().join("index.sqlite")).await.unwrap();
    let frames: Vec<Digest> = (1..=3).map(|n| frame(n).frame).collect();
    assert_eq!(index.places(&frames).await.unwrap().len(), 3);
    assert_eq!(index.learn_digests().await.unwrap(), 4);
    assert_eq!(index.places(&frames).await.unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn who_asks_while_digests_are_merged_misses_none() {
    let (_dir, index) = fresh().await;
    index.apply(&[cache("main")], position(1)).await.unwrap();
    index.learn_digests().await.unwrap();
    let frames: Vec<Digest> = (0..=250).map(|n| frame(n).frame).collect();
    let over = Arc::new(AtomicBool::new(false));
    let asking = tokio::spawn({
        let (index, frames, over) = (index.clone(), frames.clone(), over.clone());
        async move {
            let mut asked = 0;
            let mut known = 0;
            while !over.load(Ordering::SeqCst) {
                let found = index.places(&frames).await.unwrap().len();
                assert!(found >= known, "{found} after {known}");
                known = found;
                asked += 1;
            }
            asked
        }
    });
    for n in 0..=250 {
        index
            .apply(&[pack(n, &[n])], position(2 + u64::from(n)))
            .await
            .unwrap();
        merge(&index).await;
    }
    over.store(true, Ordering::SeqCst);
    assert!(asking.await.unwrap() > 1);
    assert_eq!(index.places(&frames).await.unwrap().len(), frames.len());
}
