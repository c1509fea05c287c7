//! How many small paths are acknowledged a second, and how soon, by one and by many who push at once.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::common::{Sample, World, all};

const PATHS: u64 = 600;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute and says how fast, not whether"]
async fn small_paths_are_acknowledged_alone_and_together() {
    let world = World::start(3).await;
    let depot = world.open("a").await;
    let mut seed = 1;
    for at_once in [1, 8, 64, 1, 8, 64] {
        let count = if at_once == 1 { PATHS / 6 } else { PATHS };
        let samples: Vec<Sample> = (seed..seed + count)
            .map(|seed| Sample::new(seed, 10_000))
            .collect();
        seed += count;
        let took = Mutex::new(Vec::<Duration>::new());
        let start = Instant::now();
        all(&samples, at_once, async |sample| {
            let start = Instant::now();
            sample.push(&depot).await.unwrap();
            took.lock().await.push(start.elapsed());
        })
        .await;
        let all = start.elapsed();
        let mut took = took.into_inner();
        took.sort_unstable();
        println!(
            "{at_once} at once: {:.0} paths a second, median {:?}, p99 {:?}",
            samples.len() as f64 / all.as_secs_f64(),
            took[took.len() / 2],
            took[took.len() * 99 / 100],
        );
    }
    depot.close().await;
}
