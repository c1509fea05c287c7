//! Several gateways one after the other and at once, on a bucket whose writes fail at random.

use std::time::Duration;

use hayloft_store::object::memory::Fault;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;

const PATHS: u32 = 12;

/// Either of the two NARs that are pushed for the `n`th path.
fn variant(n: u32, which: u64) -> Sample {
    sample(&hash(n), noise(u64::from(n) * 2 + which, 4000))
}

/// Pushes paths at random until the depot is deposed or `pushes` are done; gives what was acknowledged.
async fn worker(depot: Depot, seed: u64, pushes: u32) -> Vec<(u32, u64)> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut acknowledged = Vec::new();
    for _ in 0..pushes {
        let (n, which) = (random.random_range(0..PATHS), random.random_range(0..2));
        let sample = variant(n, which);
        let pushed = tokio::time::timeout(Duration::from_millis(400), push(&depot, &sample)).await;
        if let Ok(Ok(_)) = pushed {
            acknowledged.push((n, which));
        }
    }
    acknowledged
}

async fn storm(seed: u64) {
    let world = World::new();
    let mut random = StdRng::seed_from_u64(seed);
    world.with_main("first").await.close().await;
    let mut dice = StdRng::seed_from_u64(seed + 1000);
    world
        .bucket
        .set_faults(Some(Box::new(move |_, _| match dice.random_range(0..20) {
            0 | 1 => Fault::Lost,
            2 => Fault::Unheard,
            _ => Fault::None,
        })));
    let mut workers = tokio::task::JoinSet::new();
    for term in 0..6_u64 {
        // Folders are shared by terms, as restarts share them, but never by two gateways at once.
        let folder = format!("gateway{term}");
        if let Ok(depot) = world.open(&folder).await {
            for worker_seed in 0..2 {
                workers.spawn(worker(depot.clone(), seed * 100 + term * 10 + worker_seed, 4));
            }
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..60))).await;
    }
    let acknowledged = workers.join_all().await.concat();
    world.bucket.set_faults(None);
    // Whoever takes over finds all that was acknowledged, each path with one NAR for ever.
    let (one, two) = (world.open("one").await.unwrap(), world.open("two").await.unwrap());
    for (n, which) in &acknowledged {
        assert_there(&two, &variant(*n, *which)).await;
    }
    for n in 0..PATHS {
        let hash = variant(n, 0).info.store_path_hash;
        let answers = (
            one.path(&main(), &hash).await.unwrap(),
            two.path(&main(), &hash).await.unwrap(),
        );
        assert_eq!(format!("{:?}", answers.0), format!("{:?}", answers.1), "path {n}");
        if let Some(entry) = answers.0 {
            let which = u64::from(entry.nar_hash != variant(n, 0).info.nar_hash);
            assert_there(&two, &variant(n, which)).await;
        }
    }
    println!("seed {seed}: {} pushes were acknowledged", acknowledged.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_acknowledged_is_ever_lost_whoever_leads() {
    for seed in 0..12 {
        storm(seed).await;
    }
}
