//! What is missing or wrong in the bucket is never sent, is reported missing, and is healed by the next push.

use super::*;

fn packs(world: &World) -> Vec<String> {
    world
        .bucket
        .keys()
        .into_iter()
        .filter(|key| key.starts_with("pack/"))
        .collect()
}

/// Opens again, so that nothing is remembered.
async fn reopen(world: &World, depot: Depot) -> Depot {
    depot.close().await;
    world.open("a").await.unwrap()
}

#[tokio::test]
async fn a_lost_pack_is_said_to_be_missing_and_the_next_push_heals_it() {
    let world = World::new();
    let depot = world.with_main("a").await;
    let lost = sample(&hash(1), noise(1, 200_000));
    push(&depot, &lost).await.unwrap();
    let key = packs(&world).remove(0);
    let kept = sample(&hash(2), noise(2, 200_000));
    push(&depot, &kept).await.unwrap();
    let depot = reopen(&world, depot).await;
    world.bucket.tamper(&key, None);
    assert!(matches!(
        pull(&depot, &lost.info.store_path_hash).await,
        Err(ReadError::Damaged)
    ));
    let asked = [lost.info.store_path_hash, kept.info.store_path_hash];
    assert_eq!(depot.missing(&main(), &asked).await.unwrap(), asked[..1]);
    assert!(depot.path(&main(), &asked[0]).await.unwrap().is_none());
    assert_there(&depot, &kept).await;
    // Damage is in the log: another gateway knows of it.
    let depot = reopen(&world, depot).await;
    assert_eq!(depot.missing(&main(), &asked).await.unwrap(), asked[..1]);
    let healed = push(&depot, &lost).await.unwrap();
    assert!(!healed.deduplicated);
    assert_there(&depot, &lost).await;
    assert!(depot.missing(&main(), &asked).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_flipped_bit_is_never_sent() {
    let world = World::new();
    let depot = world.with_main("a").await;
    let sample = sample(&hash(1), noise(1, 200_000));
    push(&depot, &sample).await.unwrap();
    let depot = reopen(&world, depot).await;
    let key = packs(&world).remove(0);
    let store = Arc::clone(&world.bucket) as SharedStore;
    let mut bytes = store.get(&key).await.unwrap().to_vec();
    bytes[100_000] ^= 1;
    world.bucket.tamper(&key, Some(bytes.into()));
    assert!(matches!(
        pull(&depot, &sample.info.store_path_hash).await,
        Err(ReadError::Damaged)
    ));
    let healed = push(&depot, &sample).await.unwrap();
    assert!(
        !healed.deduplicated && healed.frac_deduplicated > 0.1,
        "{healed:?}"
    );
    assert_there(&depot, &sample).await;
}

#[tokio::test]
async fn damage_behind_the_first_window_breaks_the_stream_off_before_a_wrong_byte() {
    let world = World::new();
    let depot = world.with_main("a").await;
    let sample = sample(&hash(1), noise(1, 40_000_000));
    push(&depot, &sample).await.unwrap();
    let depot = reopen(&world, depot).await;
    let entry = depot
        .path(&main(), &sample.info.store_path_hash)
        .await
        .unwrap()
        .unwrap();
    let whole = collect(depot.nar(&entry).await.unwrap()).await;
    let depot = reopen(&world, depot).await;
    // The last of the packs in the order of the NAR: it is the one that holds the end of the body.
    let end = &whole[whole.len() - 50_000..whole.len() - 49_000];
    let store = Arc::clone(&world.bucket) as SharedStore;
    for key in packs(&world) {
        let bytes = store.get(&key).await.unwrap();
        if bytes.windows(end.len()).any(|window| window == end) {
            world.bucket.tamper(&key, None);
        }
    }
    let mut stream = depot.nar(&entry).await.unwrap().stream;
    let mut sent = Vec::new();
    let error = loop {
        match stream.next().await {
            Some(Ok(part)) => sent.extend_from_slice(&part),
            Some(Err(error)) => break error,
            None => panic!("the damaged body came to an end"),
        }
    };
    assert!(matches!(error, ReadError::Damaged));
    assert!(whole.starts_with(&sent));
}

#[tokio::test]
async fn a_bucket_that_does_not_answer_is_no_damage() {
    let world = World::new();
    let depot = world.with_main("a").await;
    let sample = sample(&hash(1), noise(1, 200_000));
    push(&depot, &sample).await.unwrap();
    let depot = reopen(&world, depot).await;
    world.bucket.set_down(true);
    let answer = pull(&depot, &sample.info.store_path_hash).await;
    assert!(matches!(answer, Err(ReadError::Unavailable(_))));
    assert!(!depot.healthy().await);
    world.bucket.set_down(false);
    assert_there(&depot, &sample).await;
}

#[tokio::test]
async fn a_pack_that_was_cut_off_is_damage() {
    for rest in [50_000, 5] {
        let world = World::new();
        let depot = world.with_main("a").await;
        let sample = sample(&hash(1), noise(1, 200_000));
        push(&depot, &sample).await.unwrap();
        let depot = reopen(&world, depot).await;
        let key = packs(&world).remove(0);
        let store = Arc::clone(&world.bucket) as SharedStore;
        let bytes = store.get(&key).await.unwrap().slice(..rest);
        world.bucket.tamper(&key, Some(bytes));
        assert!(matches!(
            pull(&depot, &sample.info.store_path_hash).await,
            Err(ReadError::Damaged)
        ));
        push(&depot, &sample).await.unwrap();
        assert_there(&depot, &sample).await;
    }
}
