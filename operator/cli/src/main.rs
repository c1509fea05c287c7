//! `hayloft`, the command. Only this file starts tasks and only [`context`] asks the system for clocks, randomness and
//! environment.

mod check;
mod command;
mod context;
mod document_file;
mod exec_child;
mod words;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;

use command::{Cli, Command};
use context::Context;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            // The one place where errors are shown: the sentence and its causes, in one line.
            let line = format!("{error:#}").replace('\n', " ");
            let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("hayloft: {line}\n").as_bytes());
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
        Command::Check(args) => check::run(&args, context)?,
        Command::ExecChild(_) => {}
    }
    Ok(ExitCode::SUCCESS)
}
