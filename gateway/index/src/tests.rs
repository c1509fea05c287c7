mod collecting;
mod digests;
mod hot;
mod schema;

use std::collections::HashSet;

use hayloft_nixcache::{CacheName, StorePathHash};
use hayloft_store::Digest;
use hayloft_store::key::{EpochId, LogPlace, PackName, Position};
use hayloft_store::log::record::{DamageRecord, PackRecord, PathRecord, Record};
use hayloft_store::manifest::Manifest;
use hayloft_store::pack::PackedFrame;

use crate::{Index, synthetic};

fn position(seq: u64) -> Position {
    let place = LogPlace {
        epoch: EpochId {
            number: 1,
            instance: u64::MAX,
        },
        seq,
    };
    Position {
        place,
        digest: Digest::of(&seq.to_le_bytes()),
    }
}

fn cache(name: &str) -> Record {
    synthetic::cache(name.parse().unwrap())
}

fn frame(n: u8) -> PackedFrame {
    PackedFrame {
        piece: Digest::of(&[n]),
        frame: Digest::of(&[n, n]),
        stored: 10,
        raw: 20,
    }
}

fn pack(name: u8, frames: &[u8]) -> Record {
    let frames = frames.iter().map(|n| frame(*n)).collect();
    Record::PackAdded(PackRecord {
        name: PackName([name; 16]),
        digest: Digest::ZERO,
        size: 99,
        frames,
    })
}

const HELLO: &str = "26xbg1ndr7hbcncrlf9nhx5is2b25d13";
const WORLD: &str = "0c1sg9lj2xzyqmh4ps7y2q4q0w9lm6cf";

fn path(cache: &str, hash: &str, frames: &[u8]) -> Record {
    let mut manifest = Manifest::default();
    for n in frames {
        manifest.push_frame(frame(*n).frame, 10, 20);
    }
    Record::PathAdded(PathRecord {
        cache: cache.parse().unwrap(),
        path: format!("/nix/store/{hash}-x").parse().unwrap(),
        nar_hash: [7; 32],
        nar_size: manifest.raw(),
        references: vec![format!("{WORLD}-y")],
        deriver: Some("d".to_owned()),
        ca: None,
        sigs: vec!["k:s".to_owned()],
        created_by: Some("me".to_owned()),
        created_at: 9,
        manifest: manifest.encode().unwrap(),
    })
}

fn names() -> (CacheName, StorePathHash, StorePathHash) {
    (
        "main".parse().unwrap(),
        HELLO.parse().unwrap(),
        WORLD.parse().unwrap(),
    )
}

async fn fresh() -> (tempfile::TempDir, Index) {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(&dir.path().join("index.sqlite")).await.unwrap();
    (dir, index)
}

#[tokio::test]
async fn what_was_applied_is_answered_also_after_opening_again() {
    let (dir, index) = fresh().await;
    assert_eq!(index.position().await.unwrap(), None);
    let records = [cache("main"), pack(1, &[1, 2]), path("main", HELLO, &[1, 2])];
    index.apply(&records, position(2)).await.unwrap();
    index.close().await;
    let index = Index::open(&dir.path().join("index.sqlite")).await.unwrap();
    assert_eq!(index.position().await.unwrap(), Some(position(2)));
    let (main, hello, world) = names();
    let found = index.path(&main, &hello).await.unwrap().unwrap();
    assert_eq!(
        (found.nar_size, found.file_size, found.damaged, found.removed),
        (40, 20, false, false)
    );
    assert_eq!(found.references, [format!("{WORLD}-y")]);
    assert_eq!(
        index.present(&main, &[hello, world]).await.unwrap(),
        HashSet::from([hello])
    );
    let known = index
        .frames_of(&[Digest::of(&[1]), Digest::of(&[9])])
        .await
        .unwrap();
    assert_eq!(known.len(), 1);
    let places = index.places(&[frame(2).frame]).await.unwrap();
    assert_eq!(places[&frame(2).frame].offset, 12 + 10);
}

#[tokio::test]
async fn a_group_that_makes_no_sense_changes_nothing() {
    let (_dir, index) = fresh().await;
    let records = [cache("main"), path("other", HELLO, &[])];
    assert!(index.apply(&records, position(1)).await.is_err());
    assert_eq!(index.position().await.unwrap(), None);
    assert!(index.caches().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_lost_pack_makes_its_paths_missing_until_the_frames_are_back() {
    let (_dir, index) = fresh().await;
    let (main, hello, world) = names();
    let records = [
        cache("main"),
        pack(1, &[1, 2]),
        pack(2, &[3]),
        path("main", HELLO, &[1, 3]),
        path("main", WORLD, &[3]),
    ];
    index.apply(&records, position(1)).await.unwrap();
    let damage = DamageRecord {
        packs: vec![PackName([1; 16])],
        frames: vec![],
    };
    index
        .apply(&[Record::Damaged(damage)], position(2))
        .await
        .unwrap();
    assert_eq!(
        index.present(&main, &[hello, world]).await.unwrap(),
        HashSet::from([world])
    );
    assert!(index.path(&main, &hello).await.unwrap().unwrap().damaged);
    assert!(index.frames_of(&[Digest::of(&[1])]).await.unwrap().is_empty());
    index.apply(&[pack(3, &[1])], position(3)).await.unwrap();
    assert_eq!(
        index.present(&main, &[hello, world]).await.unwrap(),
        HashSet::from([hello, world])
    );
}

#[tokio::test]
async fn a_damaged_copy_of_a_frame_leaves_the_other_copy_in_use() {
    let (_dir, index) = fresh().await;
    let (main, hello, _) = names();
    index
        .apply(
            &[
                cache("main"),
                pack(1, &[1]),
                pack(2, &[1]),
                path("main", HELLO, &[1]),
            ],
            position(1),
        )
        .await
        .unwrap();
    let damage = DamageRecord {
        packs: vec![],
        frames: vec![(PackName([1; 16]), frame(1).frame)],
    };
    index
        .apply(&[Record::Damaged(damage)], position(2))
        .await
        .unwrap();
    assert!(!index.path(&main, &hello).await.unwrap().unwrap().damaged);
    assert_eq!(
        index.places(&[frame(1).frame]).await.unwrap()[&frame(1).frame].pack,
        PackName([2; 16])
    );
}

#[tokio::test]
async fn a_removed_path_is_missing_but_its_nar_hash_stays_known() {
    let (_dir, index) = fresh().await;
    let (main, hello, _) = names();
    index
        .apply(
            &[cache("main"), pack(1, &[1]), path("main", HELLO, &[1])],
            position(1),
        )
        .await
        .unwrap();
    let path_name = format!("/nix/store/{HELLO}-x").parse().unwrap();
    let removed = Record::PathRemoved {
        cache: main.clone(),
        path: path_name,
    };
    index.apply(&[removed], position(2)).await.unwrap();
    assert!(index.present(&main, &[hello]).await.unwrap().is_empty());
    assert_eq!(index.manifest(&main, &hello).await.unwrap(), None);
    let facts = index.facts(&[path("main", HELLO, &[1])]).await.unwrap();
    assert_eq!(facts.nar_hashes.values().collect::<Vec<_>>(), [&[7; 32]]);
    assert!(facts.frames.contains(&frame(1).frame));
}

#[tokio::test]
async fn a_destroyed_cache_takes_its_paths_along_and_no_others() {
    let (_dir, index) = fresh().await;
    let (main, hello, _) = names();
    let other: CacheName = "other".parse().unwrap();
    let records = [
        cache("main"),
        cache("other"),
        pack(1, &[1]),
        path("main", HELLO, &[1]),
        path("other", HELLO, &[1]),
        Record::CacheDestroyed(main.clone()),
    ];
    index.apply(&records, position(1)).await.unwrap();
    assert_eq!(index.path(&main, &hello).await.unwrap(), None);
    assert!(index.path(&other, &hello).await.unwrap().is_some());
    assert_eq!(index.caches().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_file_that_is_no_index_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("index.sqlite");
    std::fs::write(&file, vec![42; 10_000]).unwrap();
    let index = Index::open(&file).await.unwrap();
    assert_eq!(index.position().await.unwrap(), None);
    index.apply(&[cache("main")], position(1)).await.unwrap();
    let index = index.reset().await.unwrap();
    assert!(index.caches().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index.sqlite");
    let modes = || {
        let mut modes: Vec<(String, u32)> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
                (entry.file_name().into_string().unwrap(), mode)
            })
            .collect();
        modes.sort();
        modes
    };
    let private =
        ["index.sqlite", "index.sqlite-shm", "index.sqlite-wal"].map(|name| (name.to_owned(), 0o600));
    let index = Index::open(&path).await.unwrap();
    index.apply(&[cache("main")], position(1)).await.unwrap();
    assert_eq!(modes(), private);
    index.close().await;
    // One that an earlier version made.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let index = Index::open(&path).await.unwrap();
    assert_eq!(index.position().await.unwrap(), Some(position(1)));
    assert_eq!(modes(), private);
    index.close().await;
}
