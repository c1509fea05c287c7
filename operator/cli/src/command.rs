//! The commands and their arguments.

use clap::{Parser, Subcommand};

use crate::{apply, check, exec_child, push, status, up, use_cache};

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
    /// Run a whole cache on this machine, in the foreground
    Up(up::Args),
    /// Bring a running cache to what a document declares
    Apply(apply::ApplyArgs),
    /// Show what applying a document would change
    Plan(apply::PlanArgs),
    /// Check a document, without asking anything that runs
    Check(check::Args),
    /// Show the state of a running cache
    Status(status::Args),
    /// Push store paths, and all that they need, into a cache
    Push(push::Args),
    /// Make this user's Nix take paths from a cache
    Use(use_cache::Args),
    /// Serve Nix clients, and look after what serves them
    #[command(subcommand)]
    Gateway(hayloft_server::command::Command),
    /// Bind to the parent's life and become another program
    #[command(hide = true)]
    ExecChild(exec_child::Args),
}
