//! Running one of Nix's commands.

use std::ffi::OsStr;
use std::io;
use std::process::Stdio;

use tokio::process::Command;

/// Why the local store did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The command is not in `PATH`.
    #[error("this machine has no `{command}`: install Nix or Lix, or put its commands into PATH")]
    NotInstalled {
        /// The command.
        command: String,
    },
    /// The command cannot be started.
    #[error("cannot start `{command}`")]
    Start {
        /// The command.
        command: String,
        /// What the system says.
        source: io::Error,
    },
    /// The command failed.
    #[error("`{command}` failed: {complaint}")]
    Failed {
        /// The command.
        command: String,
        /// The last thing it said.
        complaint: String,
    },
    /// The command printed something that is not understood.
    #[error("Nix printed what is not a store path: {line:?}")]
    Unreadable {
        /// The line.
        line: String,
    },
    /// The command printed JSON of an unknown shape.
    #[error("the JSON of `nix path-info` has a shape that this version does not know")]
    Json {
        /// Where it stops being known.
        source: serde_json::Error,
    },
    /// An entry in that JSON makes no sense.
    #[error("`nix path-info` tells of {path} what cannot be: {why}")]
    Entry {
        /// The path.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// A path is not in the store.
    #[error("{path} is not in the Nix store: build or fetch it first")]
    NotValid {
        /// The path.
        path: String,
    },
}

/// A command that ended.
#[derive(Debug)]
pub(super) struct Ran {
    command: String,
    /// Whether it ended well.
    pub(super) succeeded: bool,
    output: Vec<u8>,
    /// What it said on standard error.
    pub(super) complaint: String,
}

impl Ran {
    /// What it printed, if it ended well.
    pub(super) fn success(self) -> Result<Vec<u8>, StoreError> {
        if self.succeeded {
            return Ok(self.output);
        }
        if let Some(path) = invalid_path(&self.complaint) {
            return Err(StoreError::NotValid {
                path: path.to_owned(),
            });
        }
        Err(StoreError::Failed {
            command: self.command,
            complaint: last_error(&self.complaint),
        })
    }
}

/// Runs a command with some paths; it is killed when the returned future is dropped.
pub(super) async fn run(command: &OsStr, args: &[&str], paths: &[&str]) -> Result<Ran, StoreError> {
    let name = command.to_string_lossy().into_owned();
    let output = Command::new(command)
        .args(args)
        .args(paths)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => StoreError::NotInstalled {
                command: name.clone(),
            },
            _ => StoreError::Start {
                command: name.clone(),
                source,
            },
        })?;
    Ok(Ran {
        command: std::iter::once(name.as_str())
            .chain(args.iter().copied())
            .collect::<Vec<_>>()
            .join(" "),
        succeeded: output.status.success(),
        output: output.stdout,
        complaint: without_colour(&String::from_utf8_lossy(&output.stderr)),
    })
}

/// The path in `path '…' is not valid`, which Nix and Lix of all versions say alike.
fn invalid_path(complaint: &str) -> Option<&str> {
    let (_, rest) = complaint.split_once("path '")?;
    let (path, rest) = rest.split_once('\'')?;
    rest.starts_with(" is not valid").then_some(path)
}

/// The last message that is an error, else the last line.
fn last_error(complaint: &str) -> String {
    let mut lines = complaint.lines().map(str::trim).filter(|line| !line.is_empty());
    let error = lines.clone().rfind(|line| line.starts_with("error:"));
    let text = error
        .map(|line| line.trim_start_matches("error:").trim())
        .or_else(|| lines.next_back());
    text.unwrap_or("it said nothing").to_owned()
}

/// Drops escape sequences, which Nix prints when it is told to always colour.
fn without_colour(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter == '\u{1b}' {
            letters.by_ref().find(char::is_ascii_alphabetic);
        } else {
            out.push(letter);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_that_is_not_valid_is_named() {
        let text = without_colour(
            "\u{1b}[31;1merror:\u{1b}[0m path '\u{1b}[35;1m/nix/store/x\u{1b}[0m' is not valid\n",
        );
        assert_eq!(invalid_path(&text), Some("/nix/store/x"));
        assert_eq!(last_error(&text), "path '/nix/store/x' is not valid");
    }

    #[test]
    fn the_error_is_found_among_traces_and_warnings() {
        let text = "warning: a\nerror:\n       … while x\n\n       error: cannot connect to socket\n";
        assert_eq!(last_error(text), "cannot connect to socket");
        assert_eq!(last_error("plain\n"), "plain");
        assert_eq!(last_error(""), "it said nothing");
    }

    #[tokio::test]
    async fn a_missing_command_is_told_from_a_failing_one() {
        let missing = run(OsStr::new("hayloft-no-such-command"), &[], &[]).await;
        assert!(matches!(missing, Err(StoreError::NotInstalled { .. })));
        let failed = run(OsStr::new("sh"), &["-c", "echo 'error: no' >&2; exit 3"], &[])
            .await
            .expect("runs")
            .success();
        assert!(matches!(failed, Err(StoreError::Failed { ref complaint, .. }) if complaint == "no"));
    }
}
