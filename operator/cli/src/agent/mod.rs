//! `hayloft agent`: the process on every host, and its place in the system.

mod relocate;
mod run;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use hayloft_agent::child::spawn::{Shim, Spawner};
use hayloft_agent::launch::{Places, Program};
use hayloft_agent::membership::Record;
use hayloft_agent::reach::Reach;
use hayloft_agent::systemd;
use tracing_subscriber::EnvFilter;

use crate::context::Context;
use crate::garage_program::{self, GarageProgram};
use crate::install;

/// Where a host's things lie, as a service of a machine.
pub(crate) const USUAL_DIR: &str = "/var/lib/hayloft/agent";

/// The commands.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make it so what the coordinator desires of this host, in the foreground
    Run(run::Args),
    /// Have this host reached at another address from now on
    Move(relocate::Args),
    /// Lay down the service of this host's agent, or of the coordinator
    Install(install::InstallArgs),
    /// Take that service away again; data stay
    Uninstall(install::UninstallArgs),
}

/// Does it.
pub(crate) async fn run(command: Command, context: &mut Context) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(args) => Box::pin(run::run(args, context)).await?,
        Command::Move(args) => relocate::run(args, context).await?,
        Command::Install(args) => install::install(args, context).await?,
        Command::Uninstall(args) => install::uninstall(args, context).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Starts children of this process.
pub(crate) fn spawner(context: &Context) -> anyhow::Result<Spawner> {
    Spawner::start(Shim {
        program: context.program.clone(),
        args: vec!["exec-child".into()],
    })
    .context("no thread for children")
}

/// Garage, found or built.
pub(crate) async fn provide_garage(context: &Context) -> anyhow::Result<GarageProgram> {
    Ok(garage_program::provide(context, &spawner(context)?).await?)
}

/// Where this host's things lie, and how its programs are called.
pub(crate) fn places(
    dir: &Path,
    record: &Record,
    garage: &GarageProgram,
    context: &Context,
    as_service: bool,
) -> Places {
    Places {
        dir: dir.to_owned(),
        admin_socket: if as_service {
            systemd::admin_socket()
        } else {
            dir.join("admin.sock")
        },
        garage: garage.path.clone(),
        gateway: Program {
            path: context.program.clone(),
            args: vec!["gateway".into()],
        },
        reach: Reach::Network(record.network.clone()),
    }
}

/// Sends the log to standard error, as services do: the journal adds time and name.
pub(crate) fn log_to_journal(context: &Context) {
    let filter = context
        .env
        .text("RUST_LOG")
        .and_then(|text| EnvFilter::try_new(text).ok())
        .unwrap_or_else(|| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .without_time()
        .with_writer(std::io::stderr);
    // Only a second call in one process fails, and then there is a log already.
    let _ = subscriber.try_init();
}
