//! `cargo xtask`: the commands that CI and a contributor both run.
//!
//! `lint` and `test` are the whole of CI. Everything they need that is slow to make (Garage, the tools, a root file
//! system with Nix) is found, else made once in folders under the user's cache directory.

mod bench;
mod counts;
mod host_rig;
mod kube_rig;
mod lint;
mod nix_root;
mod places;
mod rungs;
mod shell;
mod tools;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::places::Places;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own commands")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Formatting, clippy with warnings denied, and cargo-deny (bans, licences, sources).
    Lint,
    /// All tests, quick rungs first; ends with a line of counts.
    Test(rungs::TestArgs),
    /// Measures the gateway beside atticd (the program that ATTICD names), nginx and a bare client.
    Bench(bench::BenchArgs),
    /// Finds or makes what the tests need (Garage, nextest, a root file system with Nix) and runs nothing.
    Prepare,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            shell::say(&format!("xtask: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<bool> {
    let places = Places::from_environment()?;
    match &cli.command {
        Command::Lint => lint::run(&places),
        Command::Test(args) => rungs::run(&places, args),
        Command::Bench(args) => bench::run(&places, args),
        Command::Prepare => Ok(rungs::prepare(&places).report()),
    }
}
