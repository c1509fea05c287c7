//! `cargo xtask test`: rungs in order, quick ones first, what was skipped named, a closing line of counts.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::counts::Counts;
use crate::places::Places;
use crate::{host_rig, kube_rig, nix_root, shell, tools};

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

/// A group of tests that need the same things.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Rung {
    /// Tests that need nothing but Rust.
    Pure,
    /// Crates' own tests on real Garage daemons.
    Garage,
    /// Hosts that join, leave, fail and return on real Garage while clients push and pull; and the table of the docs.
    Rebalance,
    /// The whole line from `hayloft up` to a NAR that is pulled, on three Garage hosts.
    E2e,
    /// The same with a real Nix client in a chroot.
    Nix,
    /// A real Kubernetes of one node.
    Kube,
    /// Hosts with their own systemd, in containers.
    Hosts,
}

/// nextest's name for the tests of the crates that start Garage.
const ON_GARAGE: &str =
    "binary(up) | (kind(test) & package(/^hayloft-(server|coordinator|garage-fixture|garage|agent)$/))";

impl Rung {
    const ALL: [Self; 7] = [
        Self::Pure,
        Self::Garage,
        Self::Rebalance,
        Self::E2e,
        Self::Nix,
        Self::Kube,
        Self::Hosts,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Pure => "pure",
            Self::Garage => "garage",
            Self::Rebalance => "rebalance",
            Self::E2e => "e2e",
            Self::Nix => "nix",
            Self::Kube => "kube",
            Self::Hosts => "hosts",
        }
    }

    /// What nextest is asked to run. Tests on a real Nix are the binaries `nix_*` of the crate `hayloft-e2e`.
    fn selection(self) -> [String; 4] {
        let filter = match self {
            Self::Pure => {
                format!("not package(/^hayloft-(e2e|hosts|kube|rebalance)$/) & not ({ON_GARAGE})")
            }
            Self::Garage => ON_GARAGE.to_owned(),
            // The binary `leaving` mostly waits, for as long as the slow ones here do.
            Self::Rebalance => "package(hayloft-rebalance) | binary(leaving)".to_owned(),
            Self::E2e => "package(hayloft-e2e) & not binary(/^nix_|^leaving$/)".to_owned(),
            Self::Nix => "package(hayloft-e2e) & binary(/^nix_/)".to_owned(),
            Self::Kube => "package(hayloft-kube)".to_owned(),
            Self::Hosts => "package(hayloft-hosts)".to_owned(),
        };
        // Programs that die where a test says so; what is released is built without that.
        let deadly = "--features=hayloft-coordinator/failpoints,hayloft-server/failpoints";
        ["--workspace", deadly, "-E", &filter].map(str::to_owned)
    }

    /// Whether it tests the released binary, as people run it.
    fn needs_release(self) -> bool {
        matches!(self, Self::Rebalance | Self::E2e | Self::Nix | Self::Hosts)
    }
}

/// What the rungs need, found or made; or why it is not to be had.
pub(crate) struct Needs {
    garage: Result<PathBuf>,
    nextest: Result<PathBuf>,
    nix_root: Result<PathBuf>,
    hosts: Result<PathBuf>,
    kube: Result<PathBuf>,
}

impl Needs {
    /// Why a rung cannot run.
    fn missing(&self, rung: Rung) -> Option<String> {
        match (rung, &self.nextest, &self.garage, &self.nix_root) {
            (Rung::Pure, ..) => None,
            (_, Err(error), ..) | (_, _, Err(error), _) => Some(format!("{error:#}")),
            (Rung::Nix, _, _, Err(error)) => Some(format!("no root file system with Nix: {error:#}")),
            (Rung::Kube, ..) => self
                .kube
                .as_ref()
                .err()
                .map(|error| format!("no Kubernetes: {error:#}")),
            (Rung::Hosts, ..) => self
                .hosts
                .as_ref()
                .err()
                .map(|error| format!("no hosts with systemd: {error:#}")),
            _ => None,
        }
    }
}

impl Needs {
    /// Says what was found, and what was not.
    pub(crate) fn report(&self) -> bool {
        let needs = [
            ("nextest", &self.nextest),
            ("Garage", &self.garage),
            ("Nix", &self.nix_root),
            ("hosts", &self.hosts),
            ("Kubernetes", &self.kube),
        ];
        for (name, found) in &needs {
            match found {
                Ok(path) => shell::say(&format!("xtask: {name}: {}", path.display())),
                Err(error) => shell::say(&format!("xtask: {name}: {error:#}")),
            }
        }
        needs.iter().all(|(_, found)| found.is_ok())
    }
}

/// Finds or makes what the tests need.
pub(crate) fn prepare(places: &Places) -> Needs {
    Needs {
        nextest: tools::cargo_tool(places, "cargo-nextest", NEXTEST_VERSION),
        garage: tools::garage(places),
        nix_root: nix_root::find_or_make(places),
        hosts: host_rig::find_or_make(places),
        kube: kube_rig::find_or_make(places),
    }
}

/// Runs the rungs; true when nothing failed.
pub(crate) fn run(places: &Places, args: &TestArgs) -> Result<bool> {
    let needs = prepare(places);
    let mut counts = Counts::default();
    let mut all_well = true;
    let mut notes = Vec::new();
    for rung in Rung::ALL
        .into_iter()
        .filter(|r| args.rung.is_none_or(|only| only == *r))
    {
        let why = needs
            .missing(rung)
            .or_else(|| (!all_well).then(|| "an earlier rung failed".to_owned()));
        if let Some(why) = why {
            let left_out = count(places, &needs, rung, args);
            counts.skipped += left_out.unwrap_or(0);
            let how_many = left_out.map_or("all".to_owned(), |n| format!("the {n}"));
            notes.push(format!(
                "skipped: {how_many} tests of the rung `{}`: {why}",
                rung.name()
            ));
            continue;
        }
        all_well &= run_rung(places, &needs, rung, args, &mut counts)?;
    }
    for note in &notes {
        shell::print(&format!("xtask: {note}"));
    }
    if counts.passed + counts.failed == 0 && all_well && notes.is_empty() {
        bail!("no test has such a name");
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

fn nextest(
    places: &Places,
    needs: &Needs,
    nextest: &PathBuf,
    verb: &str,
    rung: Rung,
    args: &TestArgs,
) -> Command {
    let mut command = Command::new(nextest);
    command
        .current_dir(&places.root)
        .args(["nextest", verb])
        .args(rung.selection())
        .arg("--locked");
    if let Ok(garage) = &needs.garage {
        command.env("HAYLOFT_GARAGE", garage);
    }
    if let Ok(root) = &needs.nix_root {
        command.env("HAYLOFT_NIX_ROOT", root);
    }
    if let Ok(home) = &needs.hosts {
        command.env("HAYLOFT_HOSTS_HOME", home);
    }
    if let Ok(home) = &needs.kube {
        command.env("HAYLOFT_KUBE_HOME", home);
    }
    if rung.needs_release() {
        command.env("HAYLOFT_BIN", places.target.join("release/hayloft"));
    }
    if verb == "run" {
        command.args(["--no-fail-fast", "--no-tests=pass"]);
        if rung == Rung::Rebalance {
            // Three of them mostly sleep, for ten minutes.
            command.args(["--test-threads", "5"]);
        }
        if matches!(rung, Rung::Hosts | Rung::Kube) {
            // All have the same hosts, or the same node.
            command.args(["--test-threads", "1"]);
        }
    }
    if let Some(filter) = &args.filter {
        command.arg("--").arg(filter);
    }
    command
}

fn run_rung(
    places: &Places,
    needs: &Needs,
    rung: Rung,
    args: &TestArgs,
    counts: &mut Counts,
) -> Result<bool> {
    shell::say(&format!("xtask: rung `{}`", rung.name()));
    if rung.needs_release() {
        // The whole line is tested as people run it: hashing and compression without optimisation tell nothing.
        let build = ["build", "--release", "--locked", "--package", "hayloft-cli"];
        if !shell::succeeds(Command::new("cargo").current_dir(&places.root).args(build))? {
            return Ok(false);
        }
    }
    match &needs.nextest {
        Ok(program) => {
            let mut command = nextest(places, needs, program, "run", rung, args);
            shell::watch(&mut command, shell::Output::Stderr, |line| {
                counts.read_nextest(line);
            })
        }
        Err(error) => {
            shell::say(&format!("xtask: `cargo test` stands in for nextest: {error:#}"));
            let mut command = Command::new("cargo");
            command.current_dir(&places.root).args([
                "test",
                "--workspace",
                "--lib",
                "--bins",
                "--no-fail-fast",
            ]);
            command
                .args([
                    "--exclude",
                    "hayloft-e2e",
                    "--exclude",
                    "hayloft-hosts",
                    "--exclude",
                    "hayloft-kube",
                    "--exclude",
                    "hayloft-rebalance",
                    "--locked",
                ])
                .args(&args.filter);
            shell::watch(&mut command, shell::Output::Stdout, |line| {
                counts.read_cargo_test(line);
            })
        }
    }
}

/// How many tests a rung that does not run would have had; none when that can't be told.
fn count(places: &Places, needs: &Needs, rung: Rung, args: &TestArgs) -> Option<u64> {
    let program = needs.nextest.as_ref().ok()?;
    let mut command = nextest(places, needs, program, "list", rung, args);
    let output = command
        .args(["--message-format", "oneline"])
        .stderr(Stdio::inherit())
        .output()
        .ok()?;
    let lines = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|l| !l.trim().is_empty())
        .count();
    output
        .status
        .success()
        .then_some(u64::try_from(lines).unwrap_or(u64::MAX))
}
