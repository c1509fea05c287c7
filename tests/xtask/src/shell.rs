//! Running commands, with what is run printed first.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Prints a line to standard error.
pub(crate) fn say(line: &str) {
    // A closed standard error is no reason to stop a test run.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Prints a line to standard output: the closing counts.
pub(crate) fn print(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Runs a command with its output passed through; true when it exited with 0.
pub(crate) fn succeeds(command: &mut Command) -> Result<bool> {
    say(&format!("+ {}", shown(command)));
    let status = command
        .status()
        .with_context(|| format!("{} could not be started", shown(command)))?;
    Ok(status.success())
}

/// Runs a command that must exit with 0.
pub(crate) fn must(command: &mut Command) -> Result<()> {
    if !succeeds(command)? {
        bail!("{} failed", shown(command));
    }
    Ok(())
}

/// Runs a command, passes its standard error through line by line and hands each line to `see`.
pub(crate) fn watch_stderr(command: &mut Command, mut see: impl FnMut(&str)) -> Result<bool> {
    say(&format!("+ {}", shown(command)));
    let mut child = command
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{} could not be started", shown(command)))?;
    let stderr = child.stderr.take().context("the child has no standard error")?;
    for line in BufReader::new(stderr).split(b'\n') {
        let line = line.context("the child's output could not be read")?;
        let line = String::from_utf8_lossy(&line);
        say(&line);
        see(&line);
    }
    Ok(child
        .wait()
        .context("the child could not be waited for")?
        .success())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|w| w.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}
