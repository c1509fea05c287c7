//! How fast a gateway serves what its disk cache holds, its memory and the kernel's being empty.

use std::time::Instant;

use futures::TryStreamExt as _;
use hayloft_server::depot::{Depot, Effects};

use crate::common::{Sample, World, main_cache};

const PATHS: u64 = 32;
const SIZE: u64 = 16_000_000;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute, drops the kernel's page cache, and says how fast, not whether"]
async fn what_the_disk_holds_is_served_after_a_restart() {
    let world = World::start(1).await;
    let depot = world.open("a").await;
    let samples: Vec<Sample> = (1..=PATHS).map(|seed| Sample::new(seed, SIZE)).collect();
    for sample in &samples {
        sample.push(&depot).await.unwrap();
    }
    depot.close().await;
    for round in ["from the bucket", "from disk", "from disk", "from disk"] {
        let mut config = world.config("a");
        config.upkeep.disk = 4_000_000_000;
        let effects = Effects {
            clock: std::sync::Arc::new(clock),
            seed: [9; 32],
        };
        let depot = Depot::open(config, effects).await.unwrap();
        // Only root may; else the figures are of what the kernel holds.
        let dropped = std::fs::write("/proc/sys/vm/drop_caches", "3").is_ok();
        let start = Instant::now();
        let mut bytes = 0;
        for sample in &samples {
            bytes += drain(&depot, sample).await;
        }
        println!(
            "{round}{}: {:.0} MB/s",
            if dropped { "" } else { " (page cache not dropped)" },
            bytes as f64 / 1e6 / start.elapsed().as_secs_f64()
        );
        depot.close().await;
    }
}

/// Bytes that are sent for it.
async fn drain(depot: &Depot, sample: &Sample) -> u64 {
    let hash = &sample.info.store_path_hash;
    let entry = depot.path(&main_cache(), hash).await.unwrap().unwrap();
    let mut stream = depot.nar(&entry).await.unwrap().stream;
    let mut bytes = 0;
    while let Some(part) = stream.try_next().await.unwrap() {
        bytes += part.len() as u64;
    }
    bytes
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test has no main that gives it a clock"
)]
fn clock() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
