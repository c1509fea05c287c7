//! How long a collection takes in an index of very many paths, of which a hundredth is to go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hayloft_server::depot::{CachePatch, CollectReport, CollectSettings, Depot, Effects, Upkeep};
use tokio_util::sync::CancellationToken;

use crate::common::{Sample, World, main_cache};
use crate::{forget_peak, number, peak_memory};

/// Unless the environment says another number.
const PATHS: u64 = 500_000;
const FRAMES_OF_A_PATH: u64 = 10;
/// Paths that share a pack.
const PATHS_OF_A_PACK: u64 = 60;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes and some gigabytes"]
async fn a_hundredth_of_very_many_paths_is_collected() {
    let paths = number("PATHS", PATHS);
    let old = (paths / 100).next_multiple_of(PATHS_OF_A_PACK);
    let world = World::start(1).await;
    let depot = world.open("a").await;
    Sample::new(1, 10_000).push(&depot).await.unwrap();
    depot.close().await;
    let file = world.dir.path().join("a/index.sqlite");
    hayloft_index::synthetic::fill(&file, paths, paths * FRAMES_OF_A_PATH, |_| {})
        .await
        .unwrap();
    let now = clock().as_millisecond();
    hayloft_index::synthetic::push_again(&file, old, now)
        .await
        .unwrap();

    let mut config = world.config("a");
    config.upkeep = Upkeep {
        collect: CollectSettings {
            grace: Duration::ZERO,
            settle: Duration::ZERO,
            max_rate: 0,
            ..CollectSettings::default()
        },
        ..config.upkeep
    };
    let effects = Effects {
        clock: Arc::new(clock),
        seed: [9; 32],
    };
    let depot = Depot::open(config, effects).await.unwrap();
    depot
        .configure_cache(
            &main_cache(),
            CachePatch {
                retention: Some(Some(30 * 86_400)),
                ..CachePatch::default()
            },
        )
        .await
        .unwrap();
    // Filling took most.
    forget_peak();
    let look = timed("a look", &depot, true).await;
    assert_eq!(look.caches[0].expired.count, old);
    let paths_go = timed("removing paths", &depot, false).await;
    assert_eq!(paths_go.caches[0].expired.count, old);
    let packs_go = timed("giving packs up, deleting objects", &depot, false).await;
    assert_eq!(packs_go.packs.dead.count, old / PATHS_OF_A_PACK);
    timed("nothing to do", &depot, false).await;
    depot.close().await;
}

#[expect(clippy::print_stdout, reason = "figures for whoever asked for this test")]
async fn timed(what: &str, depot: &Depot, dry_run: bool) -> CollectReport {
    let start = Instant::now();
    let report = depot
        .collect(dry_run, &CancellationToken::new(), &(Arc::new(|_| {}) as _))
        .await
        .unwrap();
    println!(
        "{what}: {:?}, memory at most {} MB",
        start.elapsed(),
        peak_memory()
    );
    report
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test has no main that gives it a clock"
)]
fn clock() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
