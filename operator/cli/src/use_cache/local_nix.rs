//! What the Nix on this machine says of itself. All of it is a courtesy: where it does not answer, nothing is known.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::Access;
use serde_json::Value;
use tokio::process::Command;

/// How long one question may take; the daemon may have to be started.
const ANSWER: Duration = Duration::from_secs(10);

/// The `nix` command.
#[derive(Debug)]
pub(super) struct LocalNix {
    nix: OsString,
}

impl Default for LocalNix {
    fn default() -> Self {
        LocalNix { nix: "nix".into() }
    }
}

impl LocalNix {
    /// Another command in its place.
    #[cfg(test)]
    pub(super) fn at(nix: &Path) -> LocalNix {
        LocalNix { nix: nix.into() }
    }

    /// The netrc file that is in force for this user.
    pub(super) async fn netrc_file(&self) -> Option<PathBuf> {
        let text = match self.ask(&["config", "show", "netrc-file"]).await {
            Some(text) => text,
            // Before Nix 2.19, and in Lix, it is `nix show-config`, and that shows all.
            None => {
                let all = self.ask(&["show-config"]).await?;
                all.lines()
                    .find_map(|line| line.strip_prefix("netrc-file = "))?
                    .to_owned()
            }
        };
        let text = text.trim();
        text.starts_with('/').then(|| PathBuf::from(text))
    }

    /// Whether the daemon lets this user name substituters and keys; nothing where it does not tell.
    pub(super) async fn trusts_us(&self) -> Option<bool> {
        let text = match self.ask(&["store", "info", "--json"]).await {
            Some(text) => text,
            None => self.ask(&["store", "ping", "--json"]).await?,
        };
        match serde_json::from_str::<Value>(&text).ok()?.get("trusted")? {
            Value::Bool(trusted) => Some(*trusted),
            Value::Number(number) => Some(number.as_u64() == Some(1)),
            _ => None,
        }
    }

    async fn ask(&self, args: &[&str]) -> Option<String> {
        let mut command = Command::new(&self.nix);
        command
            .args(["--extra-experimental-features", "nix-command"])
            .args(args);
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
        let output = tokio::time::timeout(ANSWER, output).await.ok()?.ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Whether this user may write the file, or make it where it is not.
pub(super) fn may_write(path: &Path) -> bool {
    let may = |path: &Path| rustix::fs::access(path, Access::WRITE_OK).is_ok();
    if path.exists() {
        may(path)
    } else {
        path.parent().is_some_and(|folder| folder.is_dir() && may(folder))
    }
}
