//! The commands and their arguments.

use clap::{Parser, Subcommand};

use crate::{check, exec_child};

const ABOUT: &str = "A Nix binary cache that a community keeps together";

/// `hayloft`.
#[derive(Debug, Parser)]
#[command(
    name = "hayloft",
    version,
    about = ABOUT,
    after_help = "Example:\n  hayloft up                      # a whole cache on this machine\n  hayloft push --cache main ./result"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check a document, without asking anything that runs
    Check(check::Args),
    /// Bind to the parent's life and become another program
    #[command(hide = true)]
    ExecChild(exec_child::Args),
}
