//! `hayloft coordinator`: the process that decides for a cluster whose hosts are elsewhere.

mod admissions;
mod announce;
mod clients;
mod init;
mod kits;
pub(crate) mod leaving;
mod restore;
mod run;
mod settings;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::context::Context;

/// Where it keeps what it knows, as a service of a machine.
pub(crate) const USUAL_DIR: &str = "/var/lib/hayloft/coordinator";

/// `hayloft coordinator`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  hayloft coordinator init --name commons --address coordinator.example.org\n  hayloft coordinator run"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a cluster: its authority, its secrets, its document, and the first join token
    Init(init::Args),
    /// Decide for it, in the foreground
    Run(RunArgs),
    /// Bring the coordinator back on another machine, from a recovery kit
    Restore(restore::Args),
}

/// `hayloft coordinator run`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Example:\n  hayloft coordinator run --dir /var/lib/hayloft/coordinator")]
pub(crate) struct RunArgs {
    /// The folder that holds everything
    #[arg(long, value_name = "DIR", default_value = USUAL_DIR)]
    dir: PathBuf,
    /// Serve metrics for Prometheus at this address, under /metrics [default: only on the control socket]
    #[arg(long, value_name = "ADDR:PORT")]
    metrics_listen: Option<std::net::SocketAddr>,
}

/// Does one of them.
pub(crate) async fn run(args: Args, context: &mut Context) -> anyhow::Result<ExitCode> {
    match args.command {
        Some(Command::Init(args)) => init::run(args, context).await?,
        Some(Command::Run(args)) => run::run(args, context).await?,
        Some(Command::Restore(args)) => restore::run(args, context).await?,
        None => run::run(args.run, context).await?,
    }
    Ok(ExitCode::SUCCESS)
}
