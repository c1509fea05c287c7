//! `cargo xtask test`: rungs in order, quick ones first, what was skipped named, a closing line of counts.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::places::Places;
use crate::{nix_root, shell, tools};

/// The pinned version of cargo-nextest.
const NEXTEST_VERSION: &str = "0.9.151";

#[derive(Args)]
pub(crate) struct TestArgs {
    /// Only this rung.
    #[arg(long, value_enum)]
    rung: Option<Rung>,
    /// Only tests whose names contain this.
    filter: Option<String>,
}

/// What a rung of tests needs, and where it stands in the order.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Rung {
    /// Every crate's own tests: pure ones, and ones on real Garage daemons.
    Crates,
    /// The whole line from `hayloft up` to a NAR that is pulled, on three Garage hosts.
    E2e,
    /// The same with a real Nix client in a chroot.
    Nix,
}

impl Rung {
    const ALL: [Self; 3] = [Self::Crates, Self::E2e, Self::Nix];

    fn name(self) -> &'static str {
        match self {
            Self::Crates => "crates",
            Self::E2e => "e2e",
            Self::Nix => "nix",
        }
    }

    /// What nextest is asked to run. Tests on a real Nix are the binaries `nix_*` of the crate `hayloft-e2e`.
    fn selection(self) -> &'static [&'static str] {
        match self {
            Self::Crates => &["--workspace", "-E", "not package(hayloft-e2e)"],
            Self::E2e => &["--package", "hayloft-e2e", "-E", "not binary(/^nix_/)"],
            Self::Nix => &["--package", "hayloft-e2e", "-E", "binary(/^nix_/)"],
        }
    }
}

#[derive(Default)]
struct Counts {
    passed: u64,
    failed: u64,
    skipped: u64,
}

/// What the rungs need, found or made.
pub(crate) struct Needs {
    garage: Result<PathBuf>,
    nextest: PathBuf,
    nix_root: Result<PathBuf>,
}

/// Finds or makes what the tests need.
pub(crate) fn prepare(places: &Places) -> Result<Needs> {
    Ok(Needs {
        nextest: tools::cargo_tool(places, "cargo-nextest", NEXTEST_VERSION)?,
        garage: tools::garage(places),
        nix_root: nix_root::find_or_make(places),
    })
}

/// Runs the rungs; true when nothing failed.
pub(crate) fn run(places: &Places, args: &TestArgs) -> Result<bool> {
    let needs = prepare(places)?;
    let mut counts = Counts::default();
    let mut all_well = true;
    let mut notes = Vec::new();
    for rung in Rung::ALL
        .into_iter()
        .filter(|r| args.rung.is_none_or(|only| only == *r))
    {
        if let Some(why) = missing(rung, &needs) {
            let listed = list(places, &needs, rung, args)?;
            counts.skipped += listed;
            notes.push(format!(
                "skipped: the {listed} tests of the rung `{}`: {why}",
                rung.name()
            ));
            continue;
        }
        if !all_well {
            notes.push(format!(
                "skipped: the rung `{}`, because an earlier one failed",
                rung.name()
            ));
            continue;
        }
        all_well &= run_rung(places, &needs, rung, args, &mut counts)?;
    }
    for note in &notes {
        shell::print(&format!("xtask: {note}"));
    }
    if counts.passed + counts.failed == 0 && all_well {
        bail!("no test ran");
    }
    if !all_well && counts.failed == 0 {
        // A build that failed counts as a failure, or the closing line would read as a success.
        counts.failed = 1;
    }
    shell::print(&format!(
        "{} passed, {} failed, {} skipped",
        counts.passed, counts.failed, counts.skipped
    ));
    Ok(all_well)
}

fn missing(rung: Rung, needs: &Needs) -> Option<String> {
    if let Err(error) = &needs.garage {
        return Some(format!("no Garage: {error:#}"));
    }
    match (rung, &needs.nix_root) {
        (Rung::Nix, Err(error)) => Some(format!("no root file system with Nix: {error:#}")),
        _ => None,
    }
}

fn nextest(places: &Places, needs: &Needs) -> Command {
    let mut command = Command::new(&needs.nextest);
    command.current_dir(&places.root).arg("nextest");
    if let Ok(garage) = &needs.garage {
        command.env("HAYLOFT_GARAGE", garage);
    }
    if let Ok(root) = &needs.nix_root {
        command.env("HAYLOFT_NIX_ROOT", root);
    }
    command
}

fn with_selection(command: &mut Command, rung: Rung, args: &TestArgs) {
    command.args(rung.selection()).arg("--locked");
    if let Some(filter) = &args.filter {
        command.arg("--").arg(filter);
    }
}

fn run_rung(
    places: &Places,
    needs: &Needs,
    rung: Rung,
    args: &TestArgs,
    counts: &mut Counts,
) -> Result<bool> {
    shell::say(&format!("xtask: rung `{}`", rung.name()));
    let mut command = nextest(places, needs);
    command.args(["run", "--no-fail-fast", "--no-tests=pass"]);
    if rung != Rung::Crates {
        // The whole line is tested as people run it: hashing and compression without optimisation tell nothing.
        let build = ["build", "--release", "--locked", "--package", "hayloft-cli"];
        if !shell::succeeds(Command::new("cargo").current_dir(&places.root).args(build))? {
            return Ok(false);
        }
        command.env("HAYLOFT_BIN", release_binary(&places.target));
    }
    with_selection(&mut command, rung, args);
    let mut summary = None;
    let passed = shell::watch_stderr(&mut command, |line| {
        summary = parse_summary(line).or(summary.take());
    })?;
    if let Some(found) = summary {
        counts.passed += found.passed;
        counts.failed += found.failed;
    }
    Ok(passed)
}

fn release_binary(target: &Path) -> PathBuf {
    target.join("release/hayloft")
}

/// How many tests a rung that cannot run would have had.
fn list(places: &Places, needs: &Needs, rung: Rung, args: &TestArgs) -> Result<u64> {
    let mut command = nextest(places, needs);
    command.args(["list", "--message-format", "oneline"]);
    with_selection(&mut command, rung, args);
    let output = command.output()?;
    let lines = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|l| !l.trim().is_empty())
        .count();
    Ok(u64::try_from(lines).unwrap_or(u64::MAX))
}

/// Reads nextest's closing line, such as `Summary [ 2.1s] 85 tests run: 84 passed (1 slow), 1 failed, 2 skipped`.
fn parse_summary(line: &str) -> Option<Counts> {
    let (_, counted) = line.split_once("Summary [")?.1.split_once(" run: ")?;
    let mut counts = Counts::default();
    for part in counted.split(", ") {
        let mut words = part.split_whitespace();
        let (Some(number), Some(what)) = (words.next().and_then(|n| n.parse::<u64>().ok()), words.next())
        else {
            continue;
        };
        match what {
            "passed" => counts.passed = number,
            "skipped" => counts.skipped = number,
            // failed, timed out, exec failed …
            _ => counts.failed += number,
        }
    }
    Some(counts)
}

#[cfg(test)]
mod tests {
    use super::parse_summary;

    #[test]
    fn the_closing_line_of_nextest_is_counted() {
        let line =
            "     Summary [   2.147s] 87 tests run: 84 passed (1 slow), 2 failed, 1 timed out, 5 skipped";
        let counts = parse_summary(line).unwrap();
        assert_eq!((counts.passed, counts.failed, counts.skipped), (84, 3, 5));
    }

    #[test]
    fn other_lines_are_not_counted() {
        assert!(parse_summary("        PASS [   0.005s] xtask rungs::tests::x").is_none());
    }
}
