//! `hayloft`, the command. Only this file starts tasks and only [`context`] asks the system for clocks, randomness and
//! environment.

mod agent;
mod apply;
mod authority;
mod changes;
mod check;
mod client;
mod command;
mod confirm;
mod context;
mod control;
mod coordinator;
mod crd;
mod deciding;
mod document_file;
mod exec_child;
mod garage_program;
mod host;
mod install;
mod join;
mod leave;
mod outcome;
mod preview;
mod push;
mod recovery;
mod report;
mod signals;
mod status;
mod token;
mod up;
mod use_cache;
mod words;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;

use command::{Cli, Command};
use context::Context;

/// Buffers of uploads and packs come and go on many threads; glibc's allocator keeps nearly twice what they hold.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How a command prints what it found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum OutputFormat {
    /// For people
    #[default]
    Text,
    /// For programs; its shape is stable
    Json,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            // The one place where errors are shown: the sentence and its causes, in one line.
            let line = format!("{error:#}").replace('\n', " ");
            let _ =
                std::io::Write::write_all(&mut std::io::stderr(), format!("hayloft: {line}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    // It becomes another program: no runtime, no threads before that.
    if let Command::ExecChild(args) = &command {
        exec_child::run(args)?;
    }
    let mut context = Context::from_system().context("the system refused what every command needs")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = runtime.block_on(Box::pin(dispatch(command, &mut context)));
    // A blocked reader of standard input must not hold the process.
    runtime.shutdown_background();
    code
}

async fn dispatch(command: Command, context: &mut Context) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(args) => return Box::pin(up::run(args, context)).await,
        Command::Apply(args) => apply::apply(args, context).await?,
        Command::Plan(args) => return apply::plan(args, context).await,
        Command::Host(command) => host::run(command, context).await?,
        Command::Agent(command) => return Box::pin(agent::run(command, context)).await,
        Command::Coordinator(args) => return Box::pin(coordinator::run(args, context)).await,
        Command::Token(command) => token::run(command, context).await?,
        Command::Report(args) => report::run(args, context).await?,
        Command::Authority(command) => authority::run(command, context).await?,
        Command::Join(args) => join::run(args, context).await?,
        Command::Leave(args) => leave::run(args, context).await?,
        Command::Status(args) => status::run(args, context).await?,
        Command::Gateway(command) => {
            let outside = hayloft_server::command::Outside {
                clock: context.clock.clone(),
                seed: context.seed(),
                log_filter: context.env.text("RUST_LOG").map(str::to_owned),
                notify_socket: context.env.get("NOTIFY_SOCKET").map(std::ffi::OsStr::to_owned),
            };
            return Ok(Box::pin(hayloft_server::command::run(command, outside)).await);
        }
        Command::Check(args) => check::run(&args, context)?,
        Command::Crd(_) => crd::run(context)?,
        Command::Recovery(command) => recovery::run(command, context).await?,
        Command::Push(args) => push::run(args, context).await?,
        Command::Use(args) => use_cache::run(args, context).await?,
        Command::ExecChild(_) => {}
    }
    Ok(ExitCode::SUCCESS)
}
