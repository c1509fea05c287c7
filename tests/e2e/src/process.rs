//! Facts about running processes, from /proc.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The highest resident set size that a process has had, in bytes (`VmHWM`).
///
/// # Errors
/// When the process is gone.
pub fn peak_memory(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the process is gone")?;
    let line = status
        .lines()
        .find(|l| l.starts_with("VmHWM:"))
        .context("no VmHWM in /proc")?;
    let kib: u64 = line
        .split_whitespace()
        .nth(1)
        .context("no number in VmHWM")?
        .parse()?;
    Ok(kib * 1024)
}

/// The processes whose command line names this folder, zombies left out.
#[must_use]
pub fn naming(dir: &Path) -> Vec<(u32, String)> {
    let wanted = dir.to_string_lossy().into_owned();
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            line.contains(&wanted).then_some((pid, line))
        })
        .collect()
}

/// Asks again and again until the condition holds.
///
/// # Errors
/// When it does not hold within the limit; the message names what was waited for.
pub async fn eventually(what: &str, limit: Duration, mut holds: impl AsyncFnMut() -> bool) -> Result<()> {
    let started = Instant::now();
    while !holds().await {
        if started.elapsed() > limit {
            bail!("{what}: not within {limit:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
