//! How a unit's process ended, in one line.

use crate::cause::Cause;

/// How it ended, as the system tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum How {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal.
    Killed(i32),
    /// In another way, in words.
    Unknown(String),
}

impl How {
    /// One line: the known cause if there is one, how the process ended, its last words.
    pub(crate) fn in_words(&self, cause: Option<Cause>, last_words: Option<&str>) -> String {
        let how = match self {
            Self::Exited(code) => format!("exit code {code}"),
            Self::Killed(signal) => format!("killed by signal {signal}"),
            Self::Unknown(words) => words.clone(),
        };
        match (cause, last_words) {
            (Some(cause), _) => format!("{} ({how})", cause.in_words()),
            (None, Some(words)) if !matches!(self, Self::Killed(_)) => {
                format!("{how}; it last said: {}", shorten(words))
            }
            _ => how,
        }
    }
}

/// The line that says why, if any: the last one with an error in it, else the very last.
pub(crate) fn last_words<'a>(lines: impl DoubleEndedIterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let is_error = |line: &&str| {
        let lower = line.to_ascii_lowercase();
        lower.contains("error") || lower.contains("panicked")
    };
    lines.clone().rev().find(is_error).or(lines.last())
}

fn shorten(words: &str) -> String {
    const LONGEST: usize = 300;
    let words = words.trim();
    match words.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", words.get(..end).unwrap_or(words)),
        None => words.to_owned(),
    }
}
