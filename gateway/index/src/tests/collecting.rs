//! Packs that are given up, and what decides how long paths stay.

use hayloft_store::commit::{Admission, Refusal};

use super::*;
use crate::Arrival;

fn name(n: u8) -> PackName {
    PackName([n; 16])
}

fn condemned(packs: &[u8]) -> Record {
    Record::PacksCondemned(packs.iter().map(|n| name(*n)).collect())
}

/// What the committer would say.
async fn verdict(index: &Index, record: &Record) -> Result<(), Refusal> {
    let facts = index.facts(std::slice::from_ref(record)).await.unwrap();
    Admission::default().admit(std::slice::from_ref(record), &facts)
}

async fn is_whole(index: &Index) -> bool {
    let (main, hello, _) = names();
    index.present(&main, &[hello]).await.unwrap().contains(&hello)
}

#[tokio::test]
async fn a_pack_goes_only_when_what_it_held_lies_elsewhere() {
    let (_dir, index) = fresh().await;
    let records = [
        cache("main"),
        pack(1, &[1, 2]),
        path("main", HELLO, &[1]),
        pack(2, &[3]),
    ];
    index.apply(&records, position(1)).await.unwrap();
    let refused = verdict(&index, &condemned(&[1])).await;
    assert!(matches!(refused, Err(Refusal::PackNeeded(pack)) if pack == name(1)));
    verdict(&index, &condemned(&[2])).await.unwrap();
    index.apply(&[pack(4, &[1])], position(2)).await.unwrap();
    verdict(&index, &condemned(&[1])).await.unwrap();
    assert!(verdict(&index, &condemned(&[1, 4])).await.is_err());
    index.apply(&[condemned(&[1])], position(3)).await.unwrap();
    assert!(is_whole(&index).await);
    let place = index.places(&[frame(1).frame]).await.unwrap()[&frame(1).frame];
    assert_eq!(place.pack, name(4));
    // The path is known to lie in the new one now.
    assert!(verdict(&index, &condemned(&[4])).await.is_err());
    let damage = Record::Damaged(DamageRecord {
        packs: vec![name(4)],
        frames: vec![],
    });
    index.apply(&[damage], position(4)).await.unwrap();
    assert!(!is_whole(&index).await);
}

#[tokio::test]
async fn who_needs_a_frame_is_known_however_its_copies_came_and_went() {
    let lost = |n: u8| {
        Record::Damaged(DamageRecord {
            packs: vec![],
            frames: vec![(name(n), frame(1).frame)],
        })
    };
    // A copy that came later, after the first was lost; and one that healed a path which was not pushed again.
    let stories: [Vec<Record>; 3] = [
        vec![pack(2, &[1]), lost(1)],
        vec![lost(1), pack(2, &[1])],
        vec![pack(3, &[1]), condemned(&[1]), pack(2, &[1]), lost(3)],
    ];
    for story in stories {
        let (_dir, index) = fresh().await;
        let records = [cache("main"), pack(1, &[1]), path("main", HELLO, &[1])];
        index.apply(&records, position(1)).await.unwrap();
        for (seq, record) in story.iter().enumerate() {
            index
                .apply(std::slice::from_ref(record), position(seq as u64 + 2))
                .await
                .unwrap();
        }
        assert!(is_whole(&index).await, "{story:?}");
        let refused = verdict(&index, &condemned(&[2])).await;
        assert!(matches!(refused, Err(Refusal::PackNeeded(_))), "{story:?}");
        // And damage to the last copy is noticed.
        index.apply(&[lost(2)], position(9)).await.unwrap();
        assert!(!is_whole(&index).await, "{story:?}");
    }
}

#[tokio::test]
async fn a_name_that_was_given_up_never_comes_back() {
    let (_dir, index) = fresh().await;
    index.apply(&[condemned(&[1])], position(1)).await.unwrap();
    let refused = verdict(&index, &pack(1, &[1])).await;
    assert!(matches!(refused, Err(Refusal::PackCondemned(_))));
    let deleted = Record::PacksDeleted(vec![name(1)]);
    index.apply(&[deleted, pack(1, &[1])], position(2)).await.unwrap();
    assert!(index.places(&[frame(1).frame]).await.unwrap().is_empty());
    // An object that is there again is one to delete again; one that nobody knows is a stranger.
    let (strangers, back) = index.sort_packs(&[name(1), name(2)]).await.unwrap();
    assert_eq!((strangers, back), (vec![name(2)], vec![name(1)]));
}

#[tokio::test]
async fn a_record_of_a_pack_that_is_said_twice_counts_once() {
    let (_dir, index) = fresh().await;
    verdict(&index, &pack(1, &[1])).await.unwrap();
    index
        .apply(&[pack(1, &[1]), pack(1, &[1])], position(1))
        .await
        .unwrap();
    verdict(&index, &pack(1, &[1])).await.unwrap();
    index.apply(&[pack(1, &[1])], position(2)).await.unwrap();
    assert_eq!(index.places(&[frame(1).frame]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn frames_of_a_condemned_pack_can_be_saved_until_its_object_is_gone() {
    let (_dir, index) = fresh().await;
    index
        .apply(&[pack(1, &[1, 2]), condemned(&[1])], position(1))
        .await
        .unwrap();
    let saved = index.retired(&[frame(2).frame]).await.unwrap()[&frame(2).frame];
    assert_eq!((saved.pack, saved.frame), (name(1), frame(2)));
    assert_eq!(index.set_due(100).await.unwrap(), (1, 99));
    assert_eq!(index.set_due(900).await.unwrap(), (1, 99));
    assert_eq!(index.due(99, 10).await.unwrap(), []);
    assert_eq!(index.due(100, 10).await.unwrap(), [(name(1), 99)]);
    index
        .apply(&[Record::PacksDeleted(vec![name(1)])], position(2))
        .await
        .unwrap();
    assert!(index.retired(&[frame(2).frame]).await.unwrap().is_empty());
    assert_eq!(index.due(100, 10).await.unwrap(), []);
    assert_eq!(index.waiting().await.unwrap(), (0, 0));
}

#[tokio::test]
async fn uses_pins_and_limits_are_kept_and_go_with_their_cache() {
    let (_dir, index) = fresh().await;
    let (main, hello, _) = names();
    let used = |day| Record::PathsUsed {
        day,
        cache: main.clone(),
        paths: vec![hello],
    };
    let pinned = Record::Pinned {
        cache: main.clone(),
        name: "release".to_owned(),
        paths: vec![hello],
        until: Some(70),
    };
    let limited = Record::CacheLimited {
        name: main.clone(),
        max_bytes: Some(1000),
    };
    let records = [
        cache("main"),
        pack(1, &[1]),
        path("main", HELLO, &[1]),
        used(20),
        used(10),
        pinned.clone(),
        pinned,
        limited,
    ];
    index.apply(&records, position(1)).await.unwrap();
    let paths = index.path_uses(&main, 0, 10).await.unwrap();
    assert_eq!(paths[0].last, 21 * 86_400_000);
    assert_eq!(index.unused_since(&main, &[hello], 20).await.unwrap(), []);
    assert_eq!(index.unused_since(&main, &[hello], 21).await.unwrap(), [hello]);
    let pins = index.pins(&main).await.unwrap();
    assert_eq!(pins.len(), 1);
    assert_eq!(
        (pins[0].paths.as_slice(), pins[0].until),
        (&[hello][..], Some(70))
    );
    assert_eq!(index.limit_of(&main).await.unwrap(), Some(1000));
    index
        .apply(
            &[Record::CacheDestroyed(main.clone()), cache("main")],
            position(2),
        )
        .await
        .unwrap();
    assert!(index.pins(&main).await.unwrap().is_empty());
    assert_eq!(index.limit_of(&main).await.unwrap(), None);
    // What it held is looked at again.
    let suspects = index.suspects(0, i64::MAX, 10).await.unwrap();
    assert_eq!(suspects.len(), 1);
    let pack = index.pack_use(suspects[0], |_| true).await.unwrap().unwrap();
    assert_eq!((pack.size, pack.live()), (99, 0));
}

#[tokio::test]
async fn whoever_collects_hears_of_what_comes_and_is_refused_until_then() {
    let (_dir, index) = fresh().await;
    let (main, hello, world) = names();
    let collected = Record::PathsCollected {
        cache: main.clone(),
        paths: vec![hello],
    };
    index
        .apply(&[cache("main"), pack(1, &[1])], position(1))
        .await
        .unwrap();
    // Nobody watches: nobody can know.
    assert!(matches!(verdict(&index, &collected).await, Err(Refusal::Again)));
    index.watch_arrivals();
    verdict(&index, &collected).await.unwrap();
    index
        .apply(&[path("main", HELLO, &[1])], position(2))
        .await
        .unwrap();
    assert!(matches!(verdict(&index, &collected).await, Err(Refusal::Again)));
    let seen = Arrival::Paths {
        cache: main.clone(),
        hashes: vec![hello, world],
    };
    assert_eq!(index.arrivals().unwrap(), [seen]);
    verdict(&index, &collected).await.unwrap();
    index.apply(&[collected], position(3)).await.unwrap();
    assert!(!is_whole(&index).await);
    index.ignore_arrivals();
    assert!(index.arrivals().is_err());
}
