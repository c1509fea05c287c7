//! Hosts with their own systemd, address and disk on this machine: the script `rig` as values.
//!
//! The script needs root and a base system, which `cargo xtask test --rung hosts` makes once. Hosts of one rig are there for one test
//! at a time.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// What is waited for on a host comes within this time, or not at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// Running hosts; they are gone when this is dropped.
#[derive(Debug)]
pub struct Rig {
    home: PathBuf,
}

impl Rig {
    /// Boots `hosts` hosts, `h1`, `h2` …; none where `HAYLOFT_HOSTS_HOME` does not name the folder with the base system.
    ///
    /// # Errors
    /// When they do not boot.
    #[expect(clippy::disallowed_methods, reason = "the test run's own configuration")]
    pub fn up(hosts: usize) -> anyhow::Result<Option<Self>> {
        let Some(home) = std::env::var_os("HAYLOFT_HOSTS_HOME") else {
            return Ok(None);
        };
        let rig = Self { home: home.into() };
        rig.run(&["up", &hosts.to_string()])?;
        Ok(Some(rig))
    }

    /// Copies a file into a host, its mode kept.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn put(&self, host: &str, from: &Path, to: &str) -> anyhow::Result<()> {
        let from = from.to_str().context("the path is no text")?;
        self.run(&["put", host, from, to]).map(drop)
    }

    /// Runs a shell command in a host and gives what it wrote.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn sh(&self, host: &str, command: &str) -> anyhow::Result<String> {
        self.run(&["exec", host, "sh", "-c", command])
    }

    /// Runs a shell command in a host again and again until it succeeds and writes what `fits`.
    ///
    /// # Errors
    /// When that does not come.
    pub fn until(&self, host: &str, command: &str, fits: impl Fn(&str) -> bool) -> anyhow::Result<String> {
        self.until_within(PATIENCE, host, command, fits)
    }

    /// The same with another patience.
    ///
    /// # Errors
    /// When that does not come.
    pub fn until_within(
        &self,
        patience: Duration,
        host: &str,
        command: &str,
        fits: impl Fn(&str) -> bool,
    ) -> anyhow::Result<String> {
        let start = Instant::now();
        loop {
            let last = self.sh(host, command);
            match last {
                Ok(text) if fits(&text) => return Ok(text),
                last if start.elapsed() > patience => {
                    let units = self.sh(host, "journalctl --no-pager -n 25 -u 'hayloft-*' -u 'test-*'");
                    bail!("`{command}` on {host} says {last:?}; the journal: {units:?}")
                }
                _ => std::thread::sleep(Duration::from_millis(200)),
            }
        }
    }

    /// Pulls a host's plug.
    ///
    /// # Errors
    /// When it goes on.
    pub fn kill(&self, host: &str) -> anyhow::Result<()> {
        self.run(&["kill", host]).map(drop)
    }

    /// Boots a host whose plug was pulled, with its disk as it was.
    ///
    /// # Errors
    /// When it does not boot.
    pub fn boot(&self, host: &str) -> anyhow::Result<()> {
        self.run(&["boot", host]).map(drop)
    }

    /// Takes a host's cable out.
    ///
    /// # Errors
    /// When the script fails.
    pub fn cut(&self, host: &str) -> anyhow::Result<()> {
        self.run(&["cut", host]).map(drop)
    }

    /// Puts a host's cable back.
    ///
    /// # Errors
    /// When the script fails.
    pub fn heal(&self, host: &str) -> anyhow::Result<()> {
        self.run(&["heal", host]).map(drop)
    }

    fn run(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/rig"))
            .args(args)
            .env("HOSTS_HOME", &self.home)
            .env("HOSTS_NS", "hayloft-hosts")
            .stdin(Stdio::null())
            .output()
            .context("the rig's script")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{args:?} failed: {} {}", said.trim(), text.trim());
        }
        Ok(text)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // The next run takes down what is left of this one.
        let _ = self.run(&["down"]);
    }
}
