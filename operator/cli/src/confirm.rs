//! Asking a person before something happens that is hard to undo.

use std::io::{self, BufRead, Write};

use crate::context::Context;

/// Why it does not happen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotConfirmed {
    /// Nobody is there to be asked.
    #[error("nobody can be asked here whether that is meant; say it with {flag}")]
    NobodyThere {
        /// What says it.
        flag: String,
    },
    /// The person said something else.
    #[error("nothing was done")]
    Declined,
    /// The answer cannot be read.
    #[error("the answer cannot be read")]
    Read(#[source] io::Error),
}

/// What a person must say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer<'a> {
    /// `y` or `yes`.
    Yes,
    /// These very words, because a yes is given too lightly.
    Words(&'a str),
}

impl Answer<'_> {
    /// Whether the line is that.
    fn is(self, line: &str) -> bool {
        let line = line.trim();
        match self {
            Self::Yes => matches!(line.to_ascii_lowercase().as_str(), "y" | "yes"),
            Self::Words(words) => line == words,
        }
    }
}

/// Whether somebody is there to be asked.
pub(crate) fn can_ask(context: &Context) -> bool {
    context.terminal.stdin && context.terminal.stderr
}

/// Asks on the terminal. `flag` is what says the same beforehand.
///
/// # Errors
/// When nobody is there to be asked, and when the answer is another.
pub(crate) async fn ask(
    context: &Context,
    question: &str,
    wanted: Answer<'_>,
    flag: &str,
) -> Result<(), NotConfirmed> {
    if !can_ask(context) {
        return Err(NotConfirmed::NobodyThere {
            flag: flag.to_owned(),
        });
    }
    let hint = match wanted {
        Answer::Yes => "[y/N]".to_owned(),
        Answer::Words(words) => format!("Type `{words}` to go on:"),
    };
    let _ = write!(io::stderr().lock(), "{question} {hint} ");
    let _ = io::stderr().flush();
    let line = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map(|_| line)
    })
    .await
    .map_err(|error| NotConfirmed::Read(io::Error::other(error)))?
    .map_err(NotConfirmed::Read)?;
    if wanted.is(&line) {
        Ok(())
    } else {
        Err(NotConfirmed::Declined)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_is_one() {
        for yes in ["y\n", "Y\n", " yes \n"] {
            assert!(Answer::Yes.is(yes), "{yes:?}");
        }
        for no in ["", "\n", "n\n", "yeah\n", "host-1\n"] {
            assert!(!Answer::Yes.is(no), "{no:?}");
        }
        assert!(Answer::Words("host-4").is("host-4\n"));
        assert!(!Answer::Words("host-4").is("y\n"));
    }
}
