//! Writes the table of `docs/rebalancing.md` from what the last run of the situations measured.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use hayloft_rebalance::Row;

const BEGIN: &str = "<!-- measured: begin -->\n";
const END: &str = "<!-- measured: end -->";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        #[expect(clippy::print_stderr, reason = "for the person who runs it")]
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Called with the target folder of the run.
fn run() -> Result<()> {
    let target = std::env::args_os()
        .nth(1)
        .map_or_else(|| "target".into(), PathBuf::from);
    let rows = rows(&target.join("tmp/rebalance"))?;
    let page = Path::new("docs/rebalancing.md");
    let text = fs::read_to_string(page).context("to be run in the root")?;
    let (before, rest) = text.split_once(BEGIN).context("no place for the table")?;
    let (_, after) = rest.split_once(END).context("the table has no end")?;
    let table = render(&rows)?;
    Ok(fs::write(page, format!("{before}{BEGIN}{table}{END}{after}"))?)
}

fn rows(dir: &Path) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = fs::read_dir(dir)
        .context("nothing was measured yet")?
        .map(|entry| Ok(serde_json::from_slice(&fs::read(entry?.path())?)?))
        .collect::<Result<_>>()?;
    rows.sort_by(|one, other| {
        let key = |row: &Row| (row.hosts_after < row.hosts_before, row.change.clone());
        key(one).cmp(&key(other))
    });
    Ok(rows)
}

fn render(rows: &[Row]) -> Result<String> {
    let mut text = String::from(
        "| change | hosts | partitions moved (least) | MB moved (least) | settled | placed | requests | failed |\n\
         |---|---|---:|---:|---:|---:|---:|---:|\n",
    );
    for row in rows {
        let Row {
            change,
            hosts_before,
            hosts_after,
            partitions_moved,
            partitions_least,
            bytes_moved,
            bytes_least,
            settled_seconds,
            placed_seconds,
            requests,
            failed,
        } = row;
        writeln!(
            text,
            "| {change} | {hosts_before} → {hosts_after} | {partitions_moved} ({partitions_least}) | {} ({}) | {settled_seconds:.1} s | {placed_seconds:.1} s | {requests} | {failed} |",
            megabytes(*bytes_moved),
            megabytes(*bytes_least),
        )?;
    }
    Ok(text)
}

/// Of blocks that were there before the change.
#[expect(clippy::cast_precision_loss, reason = "megabytes")]
fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}
