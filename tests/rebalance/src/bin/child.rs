//! Binds its life to its parent's and becomes another program, as the hidden command of `hayloft` does.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context as _;

fn main() -> ExitCode {
    let error = match run() {
        Ok(error) => error.into(),
        Err(error) => error,
    };
    #[expect(clippy::print_stderr, reason = "the driver reads the last words of a child")]
    {
        eprintln!("{error:#}");
    }
    ExitCode::FAILURE
}

/// Called with `exec-child --parent PID -- program args…`; comes back only with the reason why it could not become the program.
fn run() -> anyhow::Result<std::io::Error> {
    let mut args = std::env::args_os().skip(3);
    let parent = args.next().context("whose child?")?;
    let parent = parent.to_str().context("no number")?.parse()?;
    let program = args.nth(1).context("no program was named")?;
    let rest: Vec<OsString> = args.collect();
    Ok(hayloft_agent::child::spawn::become_program(
        parent, &program, &rest,
    ))
}
