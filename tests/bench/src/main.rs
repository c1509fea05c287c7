//! `hayloft-bench`: see `cargo xtask bench --help`, which builds what it needs.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum as _};
use hayloft_bench::column::Programs;
use hayloft_bench::corpus::Corpora;
use hayloft_bench::plan::{Plan, Row};
use hayloft_bench::run::{Setting, run};
use hayloft_bench::wanted::WANTED;
use hayloft_bench::{probe, process, say};

/// Measures the gateway beside atticd, nginx and a bare client
#[derive(Debug, Parser)]
#[command(name = "hayloft-bench", version)]
struct Cli {
    /// The gateway's program
    #[arg(long)]
    gateway: PathBuf,
    /// atticd's program; without it its columns stay empty
    #[arg(long, env = "ATTICD")]
    atticd: Option<PathBuf>,
    /// nginx's program; without it its columns stay empty
    #[arg(long)]
    nginx: Option<PathBuf>,
    /// Only these rows
    #[arg(long, value_enum, value_delimiter = ',')]
    rows: Vec<Row>,
    /// How often each number is measured
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Small corpora, one run, seconds instead of minutes: shows that it works, not how fast
    #[arg(long)]
    quick: bool,
    /// Paths of the synthetic index, which has ten times as many chunks
    #[arg(long, default_value_t = 5_000_000)]
    paths: u64,
    /// Only with Garage's fsync off
    #[arg(long)]
    no_fsync: bool,
    /// Where corpora are kept, up to 3 GB
    #[arg(long)]
    cache: PathBuf,
    /// Where clusters are put while it runs, some 20 GB
    #[arg(long)]
    scratch: PathBuf,
    /// Where the numbers go as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let done = match (arguments.next().as_deref(), arguments.next()) {
        (Some(probe::APART), Some(address)) => probe::apart(&address),
        _ => measure(Cli::parse()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("hayloft-bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn measure(cli: Cli) -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(bench(cli))
}

async fn bench(cli: Cli) -> Result<()> {
    let rows = match (cli.rows.is_empty(), cli.quick) {
        (false, _) => cli.rows,
        (true, false) => Row::value_variants().to_vec(),
        (true, true) => Row::value_variants()
            .iter()
            .copied()
            .filter(|row| *row != Row::Scale)
            .collect(),
    };
    let paths = if cli.quick { 50_000 } else { cli.paths };
    let plan = Plan {
        rows,
        runs: if cli.quick { 1 } else { cli.runs },
        clients: 8,
        acknowledgements: if cli.quick { 5 } else { 21 },
        salt: 0,
        narinfo_time: Duration::from_secs(if cli.quick { 1 } else { 4 }),
        crowd: if cli.quick {
            (64, 1_000_000)
        } else {
            (64, 100_000_000)
        },
        scale: (paths, paths * 10),
    };
    std::fs::create_dir_all(&cli.cache)?;
    let corpora = Corpora::find_or_make(&cli.cache, cli.quick)?;
    let setting = Setting {
        programs: Programs {
            gateway: cli.gateway,
            atticd: cli.atticd,
            nginx: cli.nginx,
        },
        scratch: cli.scratch,
        fsync: if cli.quick || cli.no_fsync {
            vec![false]
        } else {
            vec![false, true]
        },
    };
    let mut results = run(&plan, &setting, &corpora).await?;
    results.notes = notes(&setting, &corpora, &plan);
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", results.table(WANTED))?;
    if let Some(path) = cli.json {
        let verdicts = results.verdicts(WANTED);
        let text =
            serde_json::json!({ "results": results, "promises": verdicts, "packages": corpora.packages });
        std::fs::write(&path, serde_json::to_vec_pretty(&text)?)
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}

fn notes(setting: &Setting, corpora: &Corpora, plan: &Plan) -> Vec<String> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let model = read("/proc/cpuinfo");
    let model = model
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, name)| name);
    let memory = read("/proc/meminfo");
    let memory = memory
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .nth(1)
        .unwrap_or("0");
    let gib = memory.parse::<u64>().unwrap_or(0) >> 20;
    let kernel = read("/proc/sys/kernel/osrelease");
    let size = |generation: &[hayloft_bench::corpus::Nar]| {
        generation.iter().map(|nar| nar.size).sum::<u64>() / 1_000_000
    };
    let mut notes = vec![
        format!("Machine: {cpus} × {model}, {gib} GiB, Linux {}.", kernel.trim()),
        format!(
            "Corpora: {} paths of {} MB in two versions, and one of {} MB; {} clients; medians of {} runs.",
            corpora.first.len(),
            size(&corpora.first),
            size(&corpora.large),
            plan.clients,
            plan.runs
        ),
    ];
    if plan.has(Row::Scale) && plan.scale.0 != 5_000_000 {
        notes.push(format!("The synthetic index had {} paths only.", plan.scale.0));
    }
    if setting.programs.atticd.is_none() {
        notes.push("atticd: not measured, ATTICD names no program.".to_owned());
    }
    if setting.programs.nginx.is_none() {
        notes.push("nginx: not measured, it is not installed.".to_owned());
    }
    if !process::drop_caches() {
        notes.push("The page cache could not be dropped: nothing here is cold.".to_owned());
    }
    notes
}
