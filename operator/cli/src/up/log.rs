//! The log of this process, for those who look for a cause: people read the terminal.

use std::fs::File;
use std::io;
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;

use super::folder::{self, Folder};

/// What is logged when `RUST_LOG` says nothing.
const DEFAULT: &str = "info";

/// Sends the log to a file in the folder. `filter` is in the form of `RUST_LOG`; one that is not is ignored.
///
/// # Errors
/// When the file cannot be opened.
pub(super) fn init(folder: &Folder, filter: Option<&str>) -> io::Result<()> {
    let file: File = folder::open_log(folder)?;
    let filter = filter
        .and_then(|text| EnvFilter::try_new(text).ok())
        .unwrap_or_else(|| EnvFilter::new(DEFAULT));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(Mutex::new(file));
    // Only a second call in one process fails, and then there is a log already.
    let _ = log.try_init();
    Ok(())
}
