//! Small requests, many of them: how many a second, and how long the slowest take.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
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

/// The time that 99 of a hundred do not exceed, in milliseconds.
#[must_use]
pub fn p99(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    let index = times.len().saturating_sub(1) * 99 / 100;
    times
        .get(index)
        .map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
}
