//! Running commands, with what is run printed first.

use std::io::{BufRead, BufReader, Read, Write};
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

/// Which output of a command is read.
#[derive(Clone, Copy)]
pub(crate) enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Runs a command, passes one of its outputs through line by line and hands each line to `see`; true when it exited
/// with 0.
pub(crate) fn watch(command: &mut Command, output: Output, mut see: impl FnMut(&str)) -> Result<bool> {
    say(&format!("+ {}", shown(command)));
    match output {
        Output::Stdout => command.stdout(Stdio::piped()),
        Output::Stderr => command.stderr(Stdio::piped()),
    };
    let mut child = command
        .spawn()
        .with_context(|| format!("{} could not be started", shown(command)))?;
    let read: Box<dyn Read> = match (child.stdout.take(), child.stderr.take()) {
        (Some(stdout), _) => Box::new(stdout),
        (None, Some(stderr)) => Box::new(stderr),
        (None, None) => bail!("{} has no output", shown(command)),
    };
    for line in BufReader::new(read).split(b'\n') {
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
