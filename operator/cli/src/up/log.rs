//! The log of this process, for those who look for a cause: people read the terminal.

use std::io::{self, Write};

use hayloft_agent::child::log::UnitLog;
use tracing_subscriber::EnvFilter;

use super::folder::Folder;

/// What is logged when `RUST_LOG` says nothing.
const DEFAULT: &str = "info";

/// Sends the log to a file in the folder, which is bounded as those of the units are. `filter` is in the form of
/// `RUST_LOG`; one that is not is ignored.
pub(super) fn init(folder: &Folder, filter: Option<&str>) {
    let log = UnitLog::new(folder.log());
    let filter = filter
        .and_then(|text| EnvFilter::try_new(text).ok())
        .unwrap_or_else(|| EnvFilter::new(DEFAULT));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(move || Lines(log.clone()));
    // Only a second call in one process fails, and then there is a log already.
    let _ = subscriber.try_init();
}

/// Hands what is written to the log, line by line.
struct Lines(UnitLog);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        String::from_utf8_lossy(bytes)
            .lines()
            .for_each(|line| self.0.line(line));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
