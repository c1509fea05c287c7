//! The log file of one unit: bounded on disk, and never a reason for the unit to stop.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Notify;

use crate::cause::Cause;
use crate::death::last_words;

/// A file that grows to this size is set aside as `<name>.1`; the one before that is gone.
const ROTATE_AT: u64 = 10 * 1024 * 1024;
/// A longer line is cut into several.
const LONGEST_LINE: usize = 8 * 1024;
/// So many last lines are kept in memory, to be shown when the unit dies.
const TAIL_LINES: usize = 20;

/// A log file that rotates.
#[derive(Debug)]
struct RotatingFile {
    path: PathBuf,
    open: Option<(File, u64)>,
    rotate_at: u64,
}

impl RotatingFile {
    fn new(path: PathBuf, rotate_at: u64) -> Self {
        Self {
            path,
            open: None,
            rotate_at,
        }
    }

    fn write_line(&mut self, line: &str) -> io::Result<()> {
        let length = line.len() as u64 + 1;
        if let Some((_, size)) = &self.open
            && *size + length > self.rotate_at
        {
            self.open = None;
            std::fs::rename(&self.path, previous(&self.path))?;
        }
        if self.open.is_none() {
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o600)
                .open(&self.path)?;
            let size = file.metadata()?.len();
            self.open = Some((file, size));
        }
        if let Some((file, size)) = &mut self.open {
            let mut bytes = Vec::with_capacity(line.len() + 1);
            bytes.extend_from_slice(line.as_bytes());
            bytes.push(b'\n');
            if let Err(error) = file.write_all(&bytes) {
                self.open = None;
                return Err(error);
            }
            *size += length;
        }
        Ok(())
    }
}

/// Where a rotated log goes.
fn previous(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

#[derive(Debug)]
struct Inner {
    file: RotatingFile,
    tail: VecDeque<String>,
    cause: Option<Cause>,
    dropped: u64,
}

/// Takes the lines of a unit, from both of its outputs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct UnitLog {
    inner: Arc<Mutex<Inner>>,
    crippled: Arc<Notify>,
}

impl UnitLog {
    /// A log at `path`; the file is made with the first line.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self::rotating_at(path, ROTATE_AT)
    }

    fn rotating_at(path: PathBuf, rotate_at: u64) -> Self {
        let file = RotatingFile::new(path, rotate_at);
        Self {
            inner: Arc::new(Mutex::new(Inner {
                file,
                tail: VecDeque::new(),
                cause: None,
                dropped: 0,
            })),
            crippled: Arc::default(),
        }
    }

    /// Forgets the last lines and the cause: a new life begins.
    pub fn begin(&self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.tail.clear();
        inner.cause = None;
    }

    /// Takes one line. A file that cannot be written loses the line and nothing else.
    pub fn line(&self, line: &str) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cause) = Cause::of_line(line) {
            inner.cause = Some(cause);
        }
        if Cause::cripples(line) {
            self.crippled.notify_one();
        }
        if inner.tail.len() == TAIL_LINES {
            inner.tail.pop_front();
        }
        inner.tail.push_back(line.to_owned());
        match inner.file.write_line(line) {
            Ok(()) if inner.dropped > 0 => {
                let note = format!(
                    "-- {} lines were lost: the log could not be written --",
                    inner.dropped
                );
                inner.dropped = 0;
                let _ = inner.file.write_line(&note);
            }
            Ok(()) => {}
            Err(_) => inner.dropped += 1,
        }
    }

    /// The last cause that this life's lines named.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).cause
    }

    /// Waits for a line that says that the unit goes on without something that it is there for.
    pub async fn crippled(&self) {
        self.crippled.notified().await;
    }

    /// The last line that says why, if any: the last one with an error in it, else the very last.
    #[must_use]
    pub fn last_words(&self) -> Option<String> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        last_words(inner.tail.iter().map(String::as_str)).map(str::to_owned)
    }

    /// Reads `source` to its end, line by line, into this log; `see` gets every line too.
    pub async fn follow(self, mut source: impl AsyncRead + Unpin, mut see: impl FnMut(&str)) {
        let mut pending: Vec<u8> = Vec::new();
        let mut buffer = [0_u8; 4096];
        loop {
            let read = match source.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(read) => read,
            };
            for byte in buffer.iter().take(read) {
                if *byte != b'\n' {
                    pending.push(*byte);
                }
                if *byte == b'\n' || pending.len() >= LONGEST_LINE {
                    let line = String::from_utf8_lossy(&pending).into_owned();
                    self.line(&line);
                    see(&line);
                    pending.clear();
                }
            }
        }
        if !pending.is_empty() {
            let line = String::from_utf8_lossy(&pending).into_owned();
            self.line(&line);
            see(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_bounded_and_keeps_one_older_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("garage.log");
        let log = UnitLog::rotating_at(path.clone(), 100);
        for number in 0..100 {
            log.line(&format!("line {number:04}"));
        }
        let newest = std::fs::read_to_string(&path).unwrap();
        let older = std::fs::read_to_string(previous(&path)).unwrap();
        assert!(newest.len() <= 100 && older.len() <= 100);
        assert!(newest.ends_with("line 0099\n"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_log_that_cannot_be_written_loses_lines_and_says_so_later() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/garage.log");
        let log = UnitLog::new(path.clone());
        log.line("Error: No space left on device");
        assert_eq!(log.cause(), Some(Cause::DiskFull));
        std::fs::create_dir(dir.path().join("logs")).unwrap();
        log.line("back");
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "back\n-- 1 lines were lost: the log could not be written --\n"
        );
    }

    #[tokio::test]
    async fn an_endless_line_is_cut_and_memory_stays_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let log = UnitLog::new(dir.path().join("x.log"));
        let endless = vec![b'x'; LONGEST_LINE * 3];
        let mut longest = 0;
        log.follow(&endless[..], |line| longest = longest.max(line.len()))
            .await;
        assert_eq!(longest, LONGEST_LINE);
    }
}
