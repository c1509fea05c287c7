//! All of it: clusters, columns in turn, rows.

use std::path::{Path, PathBuf};

use anyhow::Result;
use bytes::Bytes;
use hayloft_garage_fixture::{Garage, Options};

use crate::column::{Atticd, Bucket, Hayloft, Nginx, Programs, Server as _, raw};
use crate::corpus::Corpora;
use crate::cycle::Bench;
use crate::plan::{Plan, Row};
use crate::results::Results;
use crate::say;
use crate::{memory, scale};

/// The cache that the compared gateway may keep, in MiB: its default.
const MEMORY: u64 = 256;

/// What is run with.
#[derive(Clone, Debug)]
pub struct Setting {
    /// What is measured.
    pub programs: Programs,
    /// Where clusters, servers and files are put while it runs.
    pub scratch: PathBuf,
    /// With and without fsync.
    pub fsync: Vec<bool>,
}

/// Measures everything in the plan.
///
/// # Errors
/// When anything fails: there is no table of half a run.
pub async fn run(plan: &Plan, setting: &Setting, corpora: &Corpora) -> Result<Results> {
    let mut results = Results::default();
    for fsync in setting.fsync.iter().copied() {
        let dir = tempfile::Builder::new()
            .prefix("hayloft-bench-")
            .tempdir_in(&setting.scratch)?;
        let options = Options {
            fsync,
            compression: false,
            dir: Some(dir.path().to_owned()),
        };
        let garage = Garage::start_with(3, &options).await?;
        let mut bench = Bench::new(plan.clone(), fsync, garage, corpora)?;
        bench.results = results;
        if plan.compares() {
            compare(&mut bench, &setting.programs, dir.path()).await?;
        }
        if plan.has(Row::Memory) && !fsync {
            memory::measure(&mut bench, &setting.programs, dir.path()).await?;
        }
        if plan.has(Row::Scale) && !fsync {
            scale::measure(&mut bench, &setting.programs, dir.path()).await?;
        }
        results = bench.results;
    }
    Ok(results)
}

async fn compare(bench: &mut Bench, programs: &Programs, dir: &Path) -> Result<()> {
    let mut saved: Option<Vec<Bytes>> = None;
    let files = dir.join("files");
    for run in 0..bench.plan.runs {
        say(&format!("run {} of {}", run + 1, bench.plan.runs));
        let first = run == 0;
        let bucket = Bucket::make(&bench.garage, &format!("hayloft-{run}")).await?;
        let place = dir.join(format!("hayloft-{run}"));
        let hayloft = Hayloft::prepare(&programs.gateway, &place, &bucket, MEMORY)?;
        bench.cycle(&hayloft, &bucket, first).await?;
        if saved.is_none() && !bench.fsync && (bench.plan.has(Row::Pull) || bench.plan.has(Row::Hot)) {
            let running = hayloft.start().await?;
            saved = Some(bench.save_bodies(&running.client, &files).await?);
            running.process.stop().await?;
        }
        if let Some(atticd) = &programs.atticd {
            let bucket = Bucket::make(&bench.garage, &format!("atticd-{run}")).await?;
            let place = dir.join(format!("atticd-{run}"));
            let secret = hayloft.token_secret()?;
            let atticd = Atticd::prepare(atticd, &place, &bucket, &secret, hayloft.token())?;
            bench.cycle(&atticd, &bucket, first).await?;
        }
        let bucket = Bucket::make(&bench.garage, &format!("raw-{run}")).await?;
        if let Some(bodies) = &saved {
            raw_client(bench, &bucket, bodies).await?;
        }
        if bench.plan.has(Row::Ack) {
            bench.garage_put(&bucket).await?;
        }
        if let (Some(nginx), Some(_)) = (&programs.nginx, &saved) {
            let nginx = Nginx::prepare(nginx, &dir.join(format!("nginx-{run}")), &files)?;
            bench.static_files(&nginx).await?;
        }
    }
    Ok(())
}

async fn raw_client(bench: &mut Bench, bucket: &Bucket, bodies: &[Bytes]) -> Result<()> {
    let objects = raw::objects(bodies)?;
    let clients = bench.plan.clients;
    #[expect(clippy::cast_precision_loss, reason = "a size for people")]
    let megabytes = bench.first.iter().map(|(nar, _)| nar.size as f64).sum::<f64>() / 1e6;
    crate::process::drop_caches();
    let took = raw::put(bucket, &objects, clients).await?;
    bench.note("push", "raw client", "MB/s", megabytes / took.as_secs_f64());
    crate::process::drop_caches();
    let took = raw::get(bucket, &objects, clients).await?;
    bench.note("pull, cold", "raw client", "MB/s", megabytes / took.as_secs_f64());
    let took = raw::get(bucket, &objects, clients).await?;
    bench.note("pull, hot", "raw client", "MB/s", megabytes / took.as_secs_f64());
    Ok(())
}
