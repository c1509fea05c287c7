//! What is pushed comes back, and what must not be taken is not.

use super::*;
use crate::depot::{CachePatch, DepotError, NewKey};

#[tokio::test]
async fn what_was_pushed_comes_back_byte_for_byte() {
    let world = World::new();
    let depot = world.with_main("a").await;
    for (n, size) in [0, 1, 100, 4_000, 70_000, 3_000_000, 30_000_000]
        .into_iter()
        .enumerate()
    {
        let n = u32::try_from(n).unwrap();
        let sample = sample(&hash(n), noise(u64::from(n), size));
        let uploaded = push(&depot, &sample).await.unwrap();
        assert!(!uploaded.deduplicated || size == 0);
        assert_there(&depot, &sample).await;
    }
}

#[tokio::test]
async fn a_range_is_a_part_of_the_whole_body() {
    let world = World::new();
    let depot = world.with_main("a").await;
    let sample = sample(&hash(1), noise(1, 20_000_000));
    push(&depot, &sample).await.unwrap();
    let entry = depot
        .path(&main(), &sample.info.store_path_hash)
        .await
        .unwrap()
        .unwrap();
    let whole = collect(depot.nar(&entry).await.unwrap()).await;
    let total = whole.len() as u64;
    for range in [
        0..1,
        0..total,
        total - 1..total,
        5..5,
        9_000_000..9_000_100,
        3_000_000..total - 7,
    ] {
        let body = depot.nar_range(&entry, Some(range.clone())).await.unwrap();
        assert_eq!((body.total, body.length), (total, range.end - range.start));
        let bounds = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        assert!(collect(body).await == whole[bounds], "{range:?}");
    }
    let beyond = depot.nar_range(&entry, Some(0..total + 1)).await;
    assert!(matches!(beyond, Err(ReadError::Range { length }) if length == total));
}

#[tokio::test]
async fn a_second_push_is_deduplicated_but_must_still_show_the_bytes() {
    let world = World::new();
    let depot = world.with_main("a").await;
    let sample = sample(&hash(1), noise(1, 500_000));
    push(&depot, &sample).await.unwrap();
    let objects = world.bucket.keys().len();
    let again = push(&depot, &sample).await.unwrap();
    assert_eq!((again.deduplicated, again.frac_deduplicated), (true, 1.0));
    assert_eq!(world.bucket.keys().len(), objects);
    let claimed = depot
        .upload(sample.info.clone(), None, parts(&sample.nar[..1000], 100))
        .await;
    assert!(matches!(
        claimed,
        Err(UploadError::Nar(_) | UploadError::SizeMismatch { .. })
    ));
}

#[tokio::test]
async fn a_mass_rebuild_stores_nothing_new() {
    let world = World::new();
    let depot = world.with_main("a").await;
    let build = |own: &str, dep: &str| {
        let mut contents = noise(1, 2_000_000);
        for place in [5_000, 900_000, 900_100, 1_500_000] {
            contents[place..place + 32].copy_from_slice(own.as_bytes());
        }
        contents[1_200_000..1_200_032].copy_from_slice(dep.as_bytes());
        let mut sample = sample(own, contents);
        sample.info.references = vec![format!("{dep}-dep"), format!("{own}-sample")];
        sample
    };
    let before = build(&hash(1), &hash(2));
    let after = build(&hash(3), &hash(4));
    assert!(!push(&depot, &before).await.unwrap().deduplicated);
    let packs = |world: &World| {
        world
            .bucket
            .keys()
            .iter()
            .filter(|key| key.starts_with("pack/"))
            .count()
    };
    let stored = packs(&world);
    let uploaded = push(&depot, &after).await.unwrap();
    assert!(uploaded.deduplicated, "{uploaded:?}");
    assert_eq!(packs(&world), stored);
    assert_there(&depot, &before).await;
    assert_there(&depot, &after).await;
}

#[tokio::test]
async fn a_wrong_hash_a_wrong_size_and_a_cut_body_are_refused_and_nothing_is_seen() {
    let world = World::new();
    let depot = world.with_main("a").await;
    let good = sample(&hash(1), noise(1, 300_000));
    let mut wrong = good.clone();
    wrong.info.nar_hash = NarHash::of(b"other");
    assert!(matches!(
        push(&depot, &wrong).await,
        Err(UploadError::HashMismatch { .. })
    ));
    let mut short = good.clone();
    short.info.nar_size += 8;
    assert!(matches!(
        push(&depot, &short).await,
        Err(UploadError::SizeMismatch { more: false, .. })
    ));
    let mut long = good.clone();
    long.info.nar_size -= 8;
    assert!(matches!(
        push(&depot, &long).await,
        Err(UploadError::SizeMismatch { more: true, .. })
    ));
    let broken = parts(&good.nar[..200_000], 1000).chain(stream::iter([Err("gone".into())]));
    let broken = depot.upload(good.info.clone(), None, Box::pin(broken)).await;
    assert!(matches!(broken, Err(UploadError::Body(_))));
    let mut no_nar = good.clone();
    no_nar.nar = noise(9, 300_000);
    no_nar.info.nar_size = 300_000;
    no_nar.info.nar_hash = NarHash::of(&no_nar.nar);
    assert!(matches!(push(&depot, &no_nar).await, Err(UploadError::Nar(_))));
    let asked = [good.info.store_path_hash];
    assert_eq!(depot.missing(&main(), &asked).await.unwrap(), asked);
    push(&depot, &good).await.unwrap();
    assert!(depot.missing(&main(), &asked).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_path_keeps_its_nar_hash_also_when_two_push_at_once() {
    let world = World::new();
    let depot = world.with_main("a").await;
    let one = sample(&hash(1), noise(1, 100_000));
    let two = sample(&hash(1), noise(2, 100_000));
    let (a, b) = tokio::join!(push(&depot, &one), push(&depot, &two));
    assert_eq!(usize::from(a.is_ok()) + usize::from(b.is_ok()), 1);
    let winner = if a.is_ok() { &one } else { &two };
    let refusal = a.err().or(b.err()).unwrap();
    assert!(matches!(refusal, UploadError::OtherNarHash { .. }), "{refusal:?}");
    assert_there(&depot, winner).await;
}

#[tokio::test]
async fn missing_asks_for_each_path_once_and_in_order() {
    let world = World::new();
    let depot = world.with_main("a").await;
    let there = sample(&hash(7), noise(7, 10));
    push(&depot, &there).await.unwrap();
    let [a, b, c]: [StorePathHash; 3] = [9, 7, 8].map(|n| hash(n).parse().unwrap());
    assert_eq!(depot.missing(&main(), &[a, b, c, a]).await.unwrap(), [a, c]);
}

#[tokio::test]
async fn many_uploads_at_once_share_packs_and_all_come_back() {
    let world = World::new();
    let depot = world.with_main("a").await;
    let samples: Vec<Sample> = (0..40)
        .map(|n| sample(&hash(n), noise(u64::from(n % 30), 40_000)))
        .collect();
    let pushes = samples.iter().map(|sample| push(&depot, sample));
    for pushed in futures::future::join_all(pushes).await {
        pushed.unwrap();
    }
    let packs = world
        .bucket
        .keys()
        .iter()
        .filter(|key| key.starts_with("pack/"))
        .count();
    assert!(packs < 20, "{packs} packs for 40 small uploads at once");
    for sample in &samples {
        assert_there(&depot, sample).await;
    }
}

#[tokio::test]
async fn caches_are_made_changed_and_ended() {
    let world = World::new();
    let depot = world.open("a").await.unwrap();
    depot.create_cache(new_cache("main")).await.unwrap();
    let twice = depot.create_cache(new_cache("main")).await;
    assert!(matches!(twice, Err(DepotError::CacheExists(_))));
    let before = depot.cache(&main()).await.unwrap().unwrap();
    let patch = CachePatch {
        priority: Some(7),
        retention: Some(Some(60)),
        keypair: Some(NewKey::Generate),
        ..CachePatch::default()
    };
    depot.configure_cache(&main(), patch).await.unwrap();
    let after = depot.cache(&main()).await.unwrap().unwrap();
    assert_eq!(
        (after.priority, after.retention, after.is_public),
        (7, Some(60), true)
    );
    assert_ne!(after.public_key.to_string(), before.public_key.to_string());
    let sample = sample(&hash(1), noise(1, 10));
    push(&depot, &sample).await.unwrap();
    depot.destroy_cache(&main()).await.unwrap();
    assert!(matches!(
        push(&depot, &sample).await,
        Err(UploadError::NoSuchCache(_))
    ));
    assert!(matches!(
        depot.destroy_cache(&main()).await,
        Err(DepotError::NoSuchCache(_))
    ));
    assert!(
        depot
            .path(&main(), &sample.info.store_path_hash)
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn the_signing_key_is_not_in_the_bucket_in_the_clear() {
    let world = World::new();
    let depot = world.with_main("a").await;
    let secret = depot
        .cache(&main())
        .await
        .unwrap()
        .unwrap()
        .keypair
        .expose_secret();
    let secret = secret.split_once(':').unwrap().1.as_bytes()[..40].to_vec();
    let store = Arc::clone(&world.bucket) as SharedStore;
    for key in world.bucket.keys() {
        let bytes = store.get(&key).await.unwrap();
        assert!(
            !bytes.windows(secret.len()).any(|window| window == secret),
            "{key}"
        );
    }
}

#[tokio::test]
async fn uploads_that_are_given_up_half_way_leave_room_for_others() {
    let world = World::new();
    let depot = world.with_main("a").await;
    let big = sample(&hash(1), noise(1, 3_000_000));
    for _ in 0..60 {
        let silent = Box::pin(parts(&big.nar[..2_000_000], 100_000).chain(stream::pending()));
        let upload = depot.upload(big.info.clone(), None, silent);
        let _ = tokio::time::timeout(std::time::Duration::from_millis(5), upload).await;
    }
    push(&depot, &big).await.unwrap();
    assert_there(&depot, &big).await;
}

#[tokio::test]
async fn every_upload_of_a_crowd_is_read_before_any_of_them_ends() {
    const CROWD: u32 = 64;
    let world = World::new();
    let depot = world.with_main("a").await;
    let samples: Vec<_> = (0..CROWD)
        .map(|n| sample(&hash(n), noise(u64::from(n), 3_000_000)))
        .collect();
    // No client sends the end of its NAR before the most of everybody's was taken.
    let most_is_read = Arc::new(tokio::sync::Barrier::new(samples.len()));
    let uploads = samples.iter().map(|sample| {
        let (begin, end) = sample.nar.split_at(2_500_000);
        let barrier = Arc::clone(&most_is_read);
        let wait = stream::once(async move {
            barrier.wait().await;
            Ok(Bytes::new())
        });
        let body = parts(begin, 100_000).chain(wait).chain(parts(end, 100_000));
        depot.upload(sample.info.clone(), None, Box::pin(body))
    });
    let all = tokio::time::timeout(
        std::time::Duration::from_secs(90),
        futures::future::try_join_all(uploads),
    );
    all.await.expect("some were not read").unwrap();
    for sample in samples.iter().step_by(9) {
        assert_there(&depot, sample).await;
    }
}

#[tokio::test]
async fn a_push_while_the_bucket_is_away_fails_and_the_next_one_succeeds() {
    let world = World::new();
    let depot = world.with_main("a").await;
    let sample = sample(&hash(1), noise(1, 100_000));
    world.bucket.set_down(true);
    assert!(matches!(
        push(&depot, &sample).await,
        Err(UploadError::Unavailable(_))
    ));
    assert!(
        depot
            .path(&main(), &sample.info.store_path_hash)
            .await
            .unwrap()
            .is_none()
    );
    world.bucket.set_down(false);
    push(&depot, &sample).await.unwrap();
    assert_there(&depot, &sample).await;
}
