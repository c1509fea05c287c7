//! An index of 5 million paths and 50 million chunks beside an empty one: both servers up, measured in turn.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use hayloft_index::synthetic;

use crate::client::CACHE;
use crate::column::{Bucket, Hayloft, Programs, Running, Server as _};
use crate::cycle::{Bench, missing_hashes, push_all, speed};
use crate::probe::{Probe, rate};
use crate::process::drop_caches;
use crate::say;

/// The cache that each gateway may keep, in MiB.
const MEMORY: u64 = 64;

/// Fills one and measures both.
///
/// # Errors
/// When anything of it fails.
pub async fn measure(bench: &mut Bench, programs: &Programs, dir: &Path) -> Result<()> {
    let (paths, frames) = bench.plan.scale;
    let bucket = Bucket::make(&bench.garage, "scale-empty").await?;
    let empty = Hayloft::prepare(&programs.gateway, &dir.join("scale-empty"), &bucket, MEMORY)?;
    let bucket = Bucket::make(&bench.garage, "scale-full").await?;
    let full = Hayloft::prepare(&programs.gateway, &dir.join("scale-full"), &bucket, MEMORY)?;
    // It makes the cache and the index, which is then filled.
    full.start().await?.process.stop().await?;
    let begin = Instant::now();
    let sample = synthetic::fill(&full.index(), paths, frames, |what| {
        say(&format!("  {:5.0} s {what}", begin.elapsed().as_secs_f64()));
    })
    .await?;
    let size = std::fs::metadata(full.index())?.len();
    #[expect(clippy::cast_precision_loss, reason = "a size for people")]
    bench.note(
        "5 million paths: index on disk",
        "hayloft",
        "MB",
        size as f64 / 1e6,
    );
    let one = sample.first().context("no path was made")?;
    let spread: Vec<String> = sample.iter().map(|hash| narinfo(hash.as_str())).collect();

    let empty = empty.start().await?;
    drop_caches();
    let begin = Instant::now();
    let full = full.start().await?;
    Probe::connect(&full.address)?.get(&narinfo(one.as_str()))?;
    let took = begin.elapsed().as_secs_f64();
    bench.note("5 million paths: start to first answer", "hayloft", "s", took);

    let clients = bench.plan.clients;
    for generation in [bench.first.clone(), bench.second.clone()] {
        for (column, running) in [("empty index", &empty), ("hayloft", &full)] {
            let took = push_all(&running.client, &generation, clients).await?;
            bench.note("5 million paths: push", column, "MB/s", speed(&generation, took));
        }
    }
    let hits: Vec<String> = bench.first.iter().map(|(nar, _)| narinfo(nar.hash())).collect();
    let misses: Vec<String> = missing_hashes(1000)?.iter().map(|hash| narinfo(hash)).collect();
    for _ in 0..3 {
        for (column, running) in [("empty index", &empty), ("hayloft", &full)] {
            ask(
                bench,
                "5 million paths: narinfo hits",
                column,
                running,
                &hits,
                200,
            )
            .await?;
            ask(
                bench,
                "5 million paths: narinfo misses",
                column,
                running,
                &misses,
                404,
            )
            .await?;
        }
    }
    let row = "5 million paths: narinfo hits, spread over all";
    ask(bench, row, "hayloft", &full, &spread, 200).await?;
    #[expect(clippy::cast_precision_loss, reason = "a size for people")]
    let memory = full.process.peak_memory()? as f64 / 1e6;
    bench.note("5 million paths: memory", "hayloft", "MB", memory);
    full.process.stop().await?;
    empty.process.stop().await
}

fn narinfo(hash: &str) -> String {
    format!("/{CACHE}/{hash}.narinfo")
}

async fn ask(
    bench: &mut Bench,
    row: &'static str,
    column: &str,
    running: &Running,
    paths: &[String],
    status: u16,
) -> Result<()> {
    let (address, paths, time) = (running.address.clone(), paths.to_vec(), bench.plan.narinfo_time);
    let answers = tokio::task::spawn_blocking(move || rate(&address, &paths, status, 16, time)).await??;
    bench.note(row, column, "1/s", answers);
    Ok(())
}
