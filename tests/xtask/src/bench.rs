//! `cargo xtask bench`: builds what is measured, finds what it is measured against, and runs `hayloft-bench`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::places::Places;
use crate::{shell, tools};

#[derive(Args)]
pub(crate) struct BenchArgs {
    /// Only these rows: push, pull, hot, rebuild, big, narinfo, stored, ack, memory, scale
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    /// How often each number is measured
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Small corpora, one run, without fsync: shows in less than a minute that it works, not how fast
    #[arg(long)]
    quick: bool,
    /// Paths of the synthetic index, which has ten times as many chunks
    #[arg(long, default_value_t = 5_000_000)]
    paths: u64,
    /// Only with Garage's fsync off
    #[arg(long)]
    no_fsync: bool,
    /// Where the numbers go as JSON
    #[arg(long, default_value = "target/bench.json")]
    json: PathBuf,
    /// Where clusters are put while it runs, some 20 GB
    #[arg(long)]
    scratch: Option<PathBuf>,
}

/// Builds and runs it; true when it measured everything.
pub(crate) fn run(places: &Places, args: &BenchArgs) -> Result<bool> {
    let garage = tools::garage(places)?;
    let nginx = nginx(places);
    let mut build = Command::new("cargo");
    build
        .current_dir(&places.root)
        .args(["build", "--release", "--locked"]);
    build.args(["--package", "hayloft-bench", "--package", "hayloft-server"]);
    build.args(["--bin", "hayloft-bench", "--bin", "hayloft-gateway"]);
    if !shell::succeeds(&mut build)? {
        return Ok(false);
    }
    let release = places.target.join("release");
    let scratch = args.scratch.clone().unwrap_or_else(std::env::temp_dir);
    let mut command = Command::new(release.join("hayloft-bench"));
    command
        .current_dir(&places.root)
        .env("HAYLOFT_GARAGE", garage)
        .arg("--gateway")
        .arg(release.join("hayloft-gateway"))
        .arg("--cache")
        .arg(places.bench_corpora())
        .arg("--scratch")
        .arg(scratch)
        .arg("--json")
        .arg(&args.json)
        .arg("--runs")
        .arg(args.runs.to_string())
        .arg("--paths")
        .arg(args.paths.to_string());
    if let Some(nginx) = nginx {
        command.arg("--nginx").arg(nginx);
    }
    if !args.rows.is_empty() {
        command.arg("--rows").arg(args.rows.join(","));
    }
    for (wanted, flag) in [(args.quick, "--quick"), (args.no_fsync, "--no-fsync")] {
        if wanted {
            command.arg(flag);
        }
    }
    shell::succeeds(&mut command)
}

/// nginx from `PATH`, else Debian's package; none where there is neither: its column stays empty.
fn nginx(places: &Places) -> Option<PathBuf> {
    let find = || {
        let sbin = PathBuf::from("/usr/sbin/nginx");
        places.on_path("nginx").or_else(|| sbin.is_file().then_some(sbin))
    };
    if let Some(found) = find() {
        return Some(found);
    }
    if places.may_install {
        let mut install = Command::new("apt-get");
        install.args(["install", "-y", "--no-install-recommends", "nginx-light"]);
        // Where this may not be done, the bench says that nginx is not there.
        let _ = shell::succeeds(&mut install);
    }
    find()
}
