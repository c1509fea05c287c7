//! Small requests, many of them: how many a second, and how long the slowest take.

use std::io::{BufRead as _, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

/// One connection that asks and waits for the answer.
pub struct Probe {
    stream: TcpStream,
    address: String,
    buffer: Vec<u8>,
}

impl Probe {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self {
            stream,
            address: address.to_owned(),
            buffer: vec![0; 64 * 1024],
        })
    }

    /// Asks for `path`; the status.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn get(&mut self, path: &str) -> Result<u16> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        self.stream.write_all(request.as_bytes())?;
        let mut have = 0;
        loop {
            let free = self.buffer.get_mut(have..).unwrap_or_default();
            let read = self.stream.read(free)?;
            ensure!(read > 0, "the connection was closed");
            have += read;
            let answer = self.buffer.get(..have).unwrap_or_default();
            let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
                continue;
            };
            let head = std::str::from_utf8(&answer[..end])?;
            let length: usize = head
                .lines()
                .find_map(|line| {
                    let (name, value) = line.split_once(':')?;
                    name.eq_ignore_ascii_case("content-length").then(|| value.trim())
                })
                .context("an answer without a length")?
                .parse()?;
            if have >= end + 4 + length {
                return Ok(head.get(9..12).unwrap_or_default().parse()?);
            }
        }
    }
}

/// Asks for `paths` in turn over `connections`, for `time`; answers a second. All must have this status.
///
/// # Errors
/// When an answer is another one.
pub fn rate(address: &str, paths: &[String], status: u16, connections: usize, time: Duration) -> Result<f64> {
    let begin = Instant::now();
    let counts: Result<Vec<u32>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|first| {
                scope.spawn(move || -> Result<u32> {
                    let mut probe = Probe::connect(address)?;
                    let mut count = 0;
                    for path in paths.iter().cycle().skip(first * 7) {
                        if begin.elapsed() > time {
                            break;
                        }
                        let answer = probe.get(path)?;
                        ensure!(answer == status, "{path} was answered with {answer}");
                        count += 1;
                    }
                    Ok(count)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow::anyhow!("a probe failed"))?)
            .collect()
    });
    let total: u32 = counts?.iter().sum();
    Ok(f64::from(total) / begin.elapsed().as_secs_f64())
}

/// Asks for `paths` in turn, a hundred a second, until told to stop; how long each answer took.
///
/// # Errors
/// When the connection breaks.
pub fn latencies(address: &str, paths: &[String], stop: &Arc<AtomicBool>) -> Result<Vec<Duration>> {
    let mut probe = Probe::connect(address)?;
    let mut times = Vec::new();
    for path in paths.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let begin = Instant::now();
        probe.get(path)?;
        let took = begin.elapsed();
        times.push(took);
        std::thread::sleep(Duration::from_millis(10).saturating_sub(took));
    }
    Ok(times)
}

/// The bench's first argument when it is to be a probe: [`apart`].
pub const APART: &str = "probe";

/// A process that does nothing but ask: what the bench's own clients do in the meantime must not be counted as the server's.
#[derive(Debug)]
pub struct Apart(Child);

impl Apart {
    /// Begins to ask the server at `address` for `paths`, as [`latencies`] does.
    ///
    /// # Errors
    /// When no process can be started.
    pub fn start(address: &str, paths: &[String]) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([APART, address])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("the probe cannot be started")?;
        let input = child.stdin.as_mut().context("the probe has no input")?;
        writeln!(input, "{}", serde_json::to_string(paths)?)?;
        input.flush()?;
        Ok(Self(child))
    }

    /// Ends it; how long each answer took.
    ///
    /// # Errors
    /// When the probe failed.
    pub fn stop(self) -> Result<Vec<Duration>> {
        // The end of its input tells it to stop, also when this process dies.
        let output = self.0.wait_with_output()?;
        ensure!(output.status.success(), "the probe failed: {}", output.status);
        let micros: Vec<u64> = serde_json::from_slice(&output.stdout).context("the probe told nothing")?;
        Ok(micros.into_iter().map(Duration::from_micros).collect())
    }
}

/// The other side of [`Apart`]: paths come as a line of JSON, times in microseconds go out as one when the input ends.
///
/// # Errors
/// When the connection breaks.
pub fn apart(address: &str) -> Result<()> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let paths: Vec<String> = serde_json::from_str(&line)?;
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        told.store(true, Ordering::Relaxed);
    });
    let micros: Vec<u64> = latencies(address, &paths, &stop)?
        .into_iter()
        .map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
        .collect();
    writeln!(std::io::stdout().lock(), "{}", serde_json::to_string(&micros)?)?;
    Ok(())
}

/// The time that 99 of a hundred do not exceed, in milliseconds.
#[must_use]
pub fn p99(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    let index = times.len().saturating_sub(1) * 99 / 100;
    times
        .get(index)
        .map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
}
