//! What only `main` may ask the system for, handed on as values: environment, clock, randomness, terminal, outputs.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The time now. Cheap to clone.
pub(crate) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The environment as it was when the command started.
#[derive(Debug, Clone, Default)]
pub(crate) struct Env(BTreeMap<OsString, OsString>);

impl Env {
    /// A variable that is set and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        self.0
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
            .filter(|value| !value.is_empty())
    }

    /// The same as text; what is not UTF-8 counts as not set.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.to_str()
    }

    /// All variables, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// The user's home folder.
    pub(crate) fn home(&self) -> Option<PathBuf> {
        self.get("HOME").map(PathBuf::from)
    }

    /// A folder of the XDG base directory specification: `variable` if it is set and absolute, else `fallback` below
    /// the user's home.
    pub(crate) fn xdg(&self, variable: &str, fallback: &str) -> Option<PathBuf> {
        match self.get(variable).map(PathBuf::from) {
            Some(path) if path.is_absolute() => Some(path),
            _ => Some(self.home()?.join(fallback)),
        }
    }
}

impl FromIterator<(OsString, OsString)> for Env {
    fn from_iter<I: IntoIterator<Item = (OsString, OsString)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

/// What is known of the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terminal {
    /// Standard input is one: a person can be asked.
    pub(crate) stdin: bool,
    /// Standard output is one.
    pub(crate) stdout: bool,
    /// Standard error is one: progress may be drawn there.
    pub(crate) stderr: bool,
    /// Colour is welcome on standard output.
    pub(crate) colour: bool,
}

/// Everything a command gets from outside.
pub(crate) struct Context {
    /// The environment.
    pub(crate) env: Env,
    /// The clock.
    pub(crate) clock: Clock,
    /// The time zone that people here live in.
    pub(crate) time_zone: TimeZone,
    /// The terminal.
    pub(crate) terminal: Terminal,
    /// This program's own file, to start itself as a child.
    pub(crate) program: PathBuf,
    random: StdRng,
}

impl Context {
    /// Asks the system. Called once, by `main`.
    ///
    /// # Errors
    /// When the system has no randomness or does not say which program this is.
    pub(crate) fn from_system() -> io::Result<Self> {
        let env: Env = std::env::vars_os().collect();
        let stdout = io::stdout().is_terminal();
        let terminal = Terminal {
            stdin: io::stdin().is_terminal(),
            stdout,
            stderr: io::stderr().is_terminal(),
            colour: stdout && env.get("NO_COLOR").is_none() && env.text("TERM") != Some("dumb"),
        };
        let random = StdRng::try_from_rng(&mut rand::rngs::SysRng).map_err(io::Error::other)?;
        Ok(Self {
            env,
            clock: Arc::new(system_clock),
            time_zone: TimeZone::system(),
            terminal,
            program: std::env::current_exe()?,
            random,
        })
    }

    /// A fresh seed for one more source of randomness.
    pub(crate) fn seed(&mut self) -> [u8; 32] {
        self.random.random()
    }

    /// Writes a line to standard output. A reader that has gone (`hayloft … | head`) is not an error.
    pub(crate) fn say(&self, line: &str) {
        let _ = writeln!(io::stdout().lock(), "{line}");
    }

    /// Writes a line to standard error: progress and notices.
    pub(crate) fn note(&self, line: &str) {
        let _ = writeln!(io::stderr().lock(), "{line}");
    }

    /// `hayloft up`'s folder when none is named.
    pub(crate) fn default_dir(&self) -> Option<PathBuf> {
        Some(self.env.xdg("XDG_DATA_HOME", ".local/share")?.join("hayloft"))
    }
}

#[expect(clippy::disallowed_methods, reason = "the one clock of the command")]
fn system_clock() -> Timestamp {
    Timestamp::now()
}
