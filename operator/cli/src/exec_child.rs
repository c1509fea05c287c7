//! The hidden command that binds its life to its parent's and becomes another program.

use std::ffi::OsString;

use anyhow::Context as _;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The process that must still be the parent.
    #[arg(long)]
    parent: u32,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Becomes the program; comes back only when that failed.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let (program, rest) = args.command.split_first().context("no program was named")?;
    Err(hayloft_agent::child::spawn::become_program(args.parent, program, rest).into())
}
