//! Asking and telling systemd, through its commands.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::render::{service_name, socket_name};
use super::shown::{self, PROPERTIES, Shown};
use crate::unit::UnitName;

/// A command of systemd takes so long at most; stopping waits for the unit's own end besides.
const LONGEST: Duration = Duration::from_secs(30);
/// So many last lines of a unit are looked at when it died.
const TAIL_LINES: &str = "20";

/// A command of systemd failed.
#[derive(Debug, thiserror::Error)]
#[error("`{command}` failed: {why}")]
pub(super) struct ManagerError {
    command: String,
    why: String,
}

/// systemd.
#[derive(Debug, Clone)]
pub(super) struct Manager {
    pub(super) systemctl: PathBuf,
    pub(super) journalctl: PathBuf,
    /// Where unit files are written.
    pub(super) units: PathBuf,
}

impl Manager {
    /// What it says of all services of ours; one that it does not know is inactive.
    pub(super) async fn show(&self) -> Result<BTreeMap<UnitName, Shown>, ManagerError> {
        let names = UnitName::ALL.map(service_name);
        let property = format!("--property={PROPERTIES}");
        let mut args = vec!["show", property.as_str()];
        args.extend(names.iter().map(String::as_str));
        let mut shown = shown::parse(&self.systemctl(&args, LONGEST).await?);
        Ok(UnitName::ALL
            .into_iter()
            .map(|name| (name, shown.remove(&service_name(name)).unwrap_or_default()))
            .collect())
    }

    /// Has it read all unit files.
    pub(super) async fn reload(&self) -> Result<(), ManagerError> {
        self.do_it(&["daemon-reload"], LONGEST).await
    }

    /// Has a unit started at boot, and its socket where it has one.
    pub(super) async fn enable(&self, name: UnitName, socket: bool) -> Result<(), ManagerError> {
        let (service, door) = (service_name(name), socket_name(name));
        let mut args = vec!["enable", "--quiet"];
        args.extend(self.runtime());
        args.push(&service);
        if socket {
            args.push(&door);
        }
        self.do_it(&args, LONGEST).await
    }

    /// Starts a service; how that goes on shows later.
    pub(super) async fn start(&self, name: UnitName) -> Result<(), ManagerError> {
        self.do_it(&["start", "--no-block", &service_name(name)], LONGEST)
            .await
    }

    /// Starts a service anew.
    pub(super) async fn restart(&self, name: UnitName) -> Result<(), ManagerError> {
        self.do_it(&["restart", "--no-block", &service_name(name)], LONGEST)
            .await
    }

    /// Has the process read its files anew.
    pub(super) async fn hang_up(&self, name: UnitName) -> Result<(), ManagerError> {
        let service = service_name(name);
        self.do_it(&["kill", "--kill-whom=main", "--signal=HUP", &service], LONGEST)
            .await
    }

    /// Ends a unit's process at once; systemd starts it again.
    pub(super) async fn kill(&self, name: UnitName) -> Result<(), ManagerError> {
        let service = service_name(name);
        self.do_it(&["kill", "--kill-whom=main", "--signal=KILL", &service], LONGEST)
            .await
    }

    /// Stops a unit, its socket first, and gives back when both are gone.
    pub(super) async fn stop(&self, name: UnitName, grace: Duration) -> Result<(), ManagerError> {
        let longest = LONGEST + grace;
        if self.units.join(socket_name(name)).exists() {
            self.do_it(&["stop", &socket_name(name)], longest).await?;
        }
        if !self.units.join(service_name(name)).exists() {
            return Ok(());
        }
        self.do_it(&["stop", &service_name(name)], longest).await
    }

    /// Has a unit not started at boot.
    pub(super) async fn disable(&self, name: UnitName) -> Result<(), ManagerError> {
        let (service, door) = (service_name(name), socket_name(name));
        let mut args = vec!["disable", "--quiet"];
        args.extend(self.runtime());
        let there: Vec<&str> = [service.as_str(), door.as_str()]
            .into_iter()
            .filter(|file| self.units.join(file).exists())
            .collect();
        if there.is_empty() {
            return Ok(());
        }
        args.extend(there);
        self.do_it(&args, LONGEST).await
    }

    /// Where unit files do not survive a reboot, neither does what points to them.
    fn runtime(&self) -> Option<&'static str> {
        self.units.starts_with("/run").then_some("--runtime")
    }

    /// The last lines that one life of a service wrote.
    pub(super) async fn last_lines(&self, invocation: &str) -> Vec<String> {
        self.journal(&[&format!("_SYSTEMD_INVOCATION_ID={invocation}")])
            .await
    }

    /// The last lines that systemd itself wrote about one life of a service.
    pub(super) async fn notes(&self, invocation: &str) -> Vec<String> {
        // Any service can write such a field; only the first process is systemd.
        self.journal(&["_PID=1", &format!("INVOCATION_ID={invocation}")])
            .await
    }

    async fn journal(&self, of: &[&str]) -> Vec<String> {
        let mut args = vec!["--no-pager", "--quiet", "--output=cat", "--lines", TAIL_LINES];
        args.extend(of);
        match run(self.journalctl.as_os_str(), &args, LONGEST).await {
            Ok(text) => text.lines().map(str::to_owned).collect(),
            Err(error) => {
                tracing::warn!(%error, "the journal of a unit that died cannot be read");
                Vec::new()
            }
        }
    }

    async fn do_it(&self, args: &[&str], longest: Duration) -> Result<(), ManagerError> {
        tracing::info!(command = args.join(" "), "systemctl");
        self.systemctl(args, longest).await.map(drop)
    }

    async fn systemctl(&self, args: &[&str], longest: Duration) -> Result<String, ManagerError> {
        run(self.systemctl.as_os_str(), args, longest).await
    }
}

async fn run(program: &OsStr, args: &[&str], longest: Duration) -> Result<String, ManagerError> {
    let fail = |why: String| ManagerError {
        command: format!("{} {}", program.to_string_lossy(), args.join(" ")),
        why,
    };
    let mut command = Command::new(program);
    command
        .args(args)
        .env("LC_ALL", "C")
        .env("SYSTEMD_COLORS", "0")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(longest, command.output())
        .await
        .map_err(|_| fail(format!("no answer for {} s", longest.as_secs())))?
        .map_err(|error| fail(error.to_string()))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(fail(said.trim().replace('\n', "; ")))
    }
}
