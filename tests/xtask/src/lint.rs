//! `cargo xtask lint`: formatting, clippy, dependencies.

use std::process::Command;

use anyhow::Result;

use crate::places::Places;
use crate::shell;
use crate::tools;

/// The pinned version of cargo-deny.
const DENY_VERSION: &str = "0.20.2";

/// Runs every lint, also after one has failed, and says which did.
pub(crate) fn run(places: &Places) -> Result<bool> {
    let mut failed = Vec::new();
    let cargo = |args: &[&str]| {
        let mut command = Command::new("cargo");
        command.current_dir(&places.root).args(args);
        command
    };
    if !shell::succeeds(&mut cargo(&["fmt", "--all", "--check"]))? {
        failed.push("formatting: run `cargo fmt --all`");
    }
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ];
    if !shell::succeeds(&mut cargo(&clippy))? {
        failed.push("clippy");
    }
    let deny = tools::cargo_tool(places, "cargo-deny", DENY_VERSION)?;
    // Advisories need a database that is not reachable from everywhere; they are a separate, soft check.
    let mut command = Command::new(deny);
    command
        .current_dir(&places.root)
        .args(["--log-level", "error", "check", "bans", "licenses", "sources"]);
    if !shell::succeeds(&mut command)? {
        failed.push("cargo-deny: see deny.toml for what is allowed and why");
    }
    for what in &failed {
        shell::say(&format!("xtask: lint failed: {what}"));
    }
    if failed.is_empty() {
        shell::say("xtask: lint passed");
    }
    Ok(failed.is_empty())
}
