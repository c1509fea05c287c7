//! A server of a column: started, asked whether it answers, measured, stopped. It ends when the bench ends, however
//! that happens.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// Runs the program, tells its process id, and kills it when standard input ends.
const KEEPER: &str = r#"log="$1"; shift; "$@" >>"$log" 2>&1 & p=$!; echo $p; read -r _; kill -9 $p 2>/dev/null; wait $p 2>/dev/null"#;
const PATIENCE: Duration = Duration::from_secs(120);

/// A process that runs.
#[derive(Debug)]
pub struct Process {
    keeper: Child,
    pid: i32,
    log: PathBuf,
}

impl Process {
    /// Starts `program`; its output goes to `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(program: &Path, args: &[&str], log: &Path) -> Result<Self> {
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "sh"])
            .arg(log)
            .arg(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let out = keeper.stdout.take().context("no pipe")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        Ok(Self {
            keeper,
            pid: line.trim().parse().context("no process id")?,
            log: log.to_owned(),
        })
    }

    /// Waits until `url` answers with success; how long that took.
    ///
    /// # Errors
    /// When it does not, with the end of the log.
    pub async fn answers(&self, url: &str) -> Result<Duration> {
        let begin = Instant::now();
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(5))
            .build()?;
        while begin.elapsed() < PATIENCE {
            if let Ok(answer) = client.get(url).send().await
                && answer.status().is_success()
            {
                return Ok(begin.elapsed());
            }
            if self.ended() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let end: Vec<&str> = log.lines().rev().take(8).collect();
        bail!("{url} does not answer; its log ends with: {end:?}")
    }

    fn status(&self, field: &str) -> Option<String> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(field))?;
        Some(line.trim_start_matches(':').trim().to_owned())
    }

    fn ended(&self) -> bool {
        self.status("State").is_none_or(|state| state.starts_with('Z'))
    }

    /// The most memory it ever had, in bytes (`VmHWM`).
    ///
    /// # Errors
    /// When the process is gone.
    pub fn peak_memory(&self) -> Result<u64> {
        let text = self.status("VmHWM").context("the process is gone")?;
        let kib: u64 = text.trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024)
    }

    /// Seconds of processor time it has used.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn cpu(&self) -> Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        let fields: Vec<&str> = text
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let ticks = |n: usize| {
            fields
                .get(n)
                .and_then(|text| text.parse::<u32>().ok())
                .unwrap_or(0)
        };
        // User and system time, in hundredths of a second.
        Ok(f64::from(ticks(11) + ticks(12)) / 100.0)
    }

    /// Tells it to end and waits until it has.
    ///
    /// # Errors
    /// When it does not.
    pub async fn stop(mut self) -> Result<()> {
        if let Some(pid) = Pid::from_raw(self.pid) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let begin = Instant::now();
        while !self.ended() {
            if begin.elapsed() > Duration::from_secs(20) {
                bail!("process {} does not end", self.pid);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        drop(self.keeper.stdin.take());
        self.keeper.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// A port that nothing listens on.
///
/// # Errors
/// When there is none.
pub fn free_port() -> Result<u16> {
    Ok(hayloft_garage_fixture::free_port()?)
}

/// Writes out what is dirty and empties the page cache, so that what follows is cold; false when that is not allowed.
pub fn drop_caches() -> bool {
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}
