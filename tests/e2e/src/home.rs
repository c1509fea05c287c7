//! `hayloft up`, run as a person would run it, in a folder of the test's own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tempfile::TempDir;

use crate::process;

/// What `--ready-file` holds.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are the file's own")]
pub struct Ready {
    pub gateway: String,
    pub cache: String,
    pub public_key: String,
    pub token: String,
    pub s3: S3,
    pub hosts: Vec<Host>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are the file's own")]
pub struct S3 {
    pub endpoint: String,
    pub region: String,
    pub bucket: String,
    pub access_key_id: String,
    pub secret_access_key: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are the file's own")]
pub struct Host {
    pub name: String,
    pub garage_id: String,
    pub pid: u32,
    pub dir: PathBuf,
}

/// The folder that a home keeps its data in, and may be started on again.
pub struct Place {
    root: TempDir,
    port: u16,
}

/// A running `hayloft up`.
pub struct Home {
    child: Child,
    dir: PathBuf,
    log: PathBuf,
    ready_file: PathBuf,
    /// What the ready file said when the home became ready.
    pub ready: Ready,
    /// How long it took to become ready.
    pub took: Duration,
}

/// The binary under test: `HAYLOFT_BIN`, which `cargo xtask test` sets.
///
/// # Errors
/// When the variable is not set.
#[expect(clippy::disallowed_methods, reason = "the test run's own configuration")]
pub fn binary() -> Result<PathBuf> {
    let file = std::env::var_os("HAYLOFT_BIN")
        .context("HAYLOFT_BIN is not set: run `cargo xtask test`, or set it to a built `hayloft`")?;
    Ok(PathBuf::from(file))
}

impl Place {
    /// A new empty folder and a free port on loopback.
    ///
    /// # Errors
    /// When no folder can be made.
    pub fn new() -> Result<Self> {
        let root = tempfile::Builder::new().prefix("hayloft-e2e-").tempdir()?;
        let port = hayloft_garage_fixture::free_port()?;
        Ok(Self { root, port })
    }

    /// What is given to `--dir`.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// A command of `hayloft` whose user has an empty configuration.
    ///
    /// # Errors
    /// When the binary under test is not named.
    pub fn hayloft(&self) -> Result<Command> {
        // The child must not outlive a test that is killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(binary()?);
        for (name, folder) in [
            ("HOME", "user"),
            ("XDG_CONFIG_HOME", "user/config"),
            ("XDG_DATA_HOME", "user/data"),
        ] {
            command.env(name, self.root.path().join(folder));
        }
        fs::create_dir_all(self.root.path().join("user/config"))?;
        command.stdin(Stdio::null());
        Ok(command)
    }

    /// Starts `hayloft up` here and waits until it is ready.
    ///
    /// # Errors
    /// When it is not ready in 90 s; the message holds what it printed.
    pub async fn up(&self, more: &[&str]) -> Result<Home> {
        let ready_file = self.root.path().join("ready.json");
        let _ = fs::remove_file(&ready_file);
        let log = self.root.path().join("up.log");
        let out = File::options().create(true).append(true).open(&log)?;
        let started = Instant::now();
        let mut child = self
            .hayloft()?
            .arg("up")
            .arg("--dir")
            .arg(self.dir())
            .args(["--port", &self.port.to_string(), "--ready-file"])
            .arg(&ready_file)
            .args(more)
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()?;
        loop {
            if let Ok(text) = fs::read_to_string(&ready_file) {
                let ready = serde_json::from_str(&text)
                    .with_context(|| format!("the ready file is not as said: {text}"))?;
                return Ok(Home {
                    child,
                    dir: self.dir(),
                    log,
                    ready_file,
                    ready,
                    took: started.elapsed(),
                });
            }
            if let Some(status) = child.try_wait()? {
                bail!("hayloft up ended with {status}:\n{}", fs::read_to_string(&log)?);
            }
            if started.elapsed() > Duration::from_secs(90) {
                let _ = child.kill();
                let _ = child.wait();
                bail!("hayloft up was not ready in 90 s:\n{}", fs::read_to_string(&log)?);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Home {
    /// What `hayloft up` has printed so far, over all starts on this place.
    #[must_use]
    pub fn printed(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The newest ready file: pids change when a daemon is restarted.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn ready_now(&self) -> Result<Ready> {
        Ok(serde_json::from_str(&fs::read_to_string(&self.ready_file)?)?)
    }

    /// The process of the gateway.
    ///
    /// # Errors
    /// When there is none.
    pub fn gateway_pid(&self) -> Result<u32> {
        process::naming(&self.dir)
            .into_iter()
            .find(|(_, line)| line.contains(" gateway serve "))
            .map(|(pid, _)| pid)
            .context("no gateway process")
    }

    /// Sends SIGKILL to one host's Garage daemon.
    ///
    /// # Errors
    /// When it is not running.
    pub fn kill_garage(&self, host: usize) -> Result<()> {
        signal(self.ready_now()?.hosts[host].pid, Signal::KILL)
    }

    /// Sends SIGKILL to `hayloft` itself and waits for its end.
    ///
    /// # Errors
    /// When it had ended before.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends SIGTERM and waits until it has ended; returns its exit status and how long it took.
    ///
    /// # Errors
    /// When it has not ended in 20 s, or left a process behind.
    pub async fn stop(mut self) -> Result<(ExitStatus, Duration)> {
        let started = Instant::now();
        signal(self.child.id(), Signal::TERM)?;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(
                started.elapsed() < Duration::from_secs(20),
                "still there 20 s after SIGTERM:\n{}",
                self.printed()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let took = started.elapsed();
        let left = process::naming(&self.dir);
        ensure!(left.is_empty(), "left behind: {left:?}");
        Ok((status, took))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Sends a signal to one process.
///
/// # Errors
/// When there is no such process.
pub fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .context("not a process id")?;
    kill_process(pid, signal).context("the process is gone")
}

/// A file with the token, for `--token-file`; removed with the folder it lies in.
///
/// # Errors
/// When it cannot be written.
pub fn token_file(folder: &Path, token: &str) -> Result<PathBuf> {
    let file = folder.join("token");
    fs::write(&file, token)?;
    Ok(file)
}
