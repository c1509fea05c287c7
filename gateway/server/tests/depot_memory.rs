//! Memory does not grow with the size of a NAR. Alone in its process, for it looks at that process.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "depot/common.rs"]
mod common;

use std::time::Instant;

use common::{Sample, World, all};

/// The most memory that this process has used, in MB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1000
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nar_of_400_megabytes_takes_a_fraction_of_that_in_memory() {
    const SIZE: u64 = 400_000_000;
    let world = World::start(1).await;
    let depot = world.open("a").await;
    let big = [Sample::new(1, SIZE)];
    let start = Instant::now();
    all(&big, 1, async |sample| {
        sample.push(&depot).await.unwrap();
    })
    .await;
    println!("push: {} MB/s, peak {} MB", rate(SIZE, start), peak());
    let start = Instant::now();
    all(&big, 1, async |sample| {
        assert!(sample.pull(&depot).await.unwrap());
    })
    .await;
    println!(
        "pull, decompress and hash: {} MB/s, peak {} MB",
        rate(SIZE, start),
        peak()
    );
    assert!(peak() < 250, "{} MB", peak());
    depot.close().await;
}

fn rate(bytes: u64, since: Instant) -> u128 {
    u128::from(bytes) / 1000 / since.elapsed().as_millis().max(1)
}
