//! The commands of systemd that an installation needs.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::process::Command;
use tokio::time::timeout;

/// Stopping a gateway that finishes what it sends takes the longest.
const LONGEST: Duration = Duration::from_secs(90);

/// Runs `systemctl`.
pub(super) async fn systemctl(args: &[&str]) -> anyhow::Result<()> {
    run("systemctl", args).await
}

/// Makes the users that a daemon's file names; those that are there stay.
pub(super) async fn sysusers(service: &str) -> anyhow::Result<()> {
    run("systemd-sysusers", &[&format!("{service}.conf")]).await
}

async fn run(program: &str, args: &[&str]) -> anyhow::Result<()> {
    let shown = format!("{program} {}", args.join(" "));
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(LONGEST, command.output())
        .await
        .with_context(|| format!("`{shown}` did not end"))?
        .with_context(|| format!("`{shown}` could not be run"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{shown}` failed: {}", said.trim().replace('\n', "; "));
    }
    Ok(())
}
