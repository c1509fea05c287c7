//! A door to the bucket that can go wrong: between the gateway and Garage, on loopback.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What it does to requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Answers this status at once.
    Status(u16),
    /// Says of every pack that it is not there.
    NoSuchPack,
    /// Changes a byte of every pack that is read.
    WrongBytes,
    /// Ends every answer in the middle.
    Half,
    /// Takes its time for every answer.
    Slow,
    /// Closes every connection without a word.
    Closed,
    /// Passes requests on, but not the answers.
    Mute,
    /// Passes everything on, until the [`Trap`] goes off.
    Trapped,
}

/// Requests of a kind: the method, in small letters, and a part of the key.
pub(crate) type Like = (&'static str, &'static str);

/// Kills the gateway at one of its writes, or suspends it there.
#[derive(Debug, Default)]
pub(crate) struct Trap {
    /// It goes off at the write of this number, from 1; zero: never.
    left: AtomicU32,
    /// After the write instead of before.
    after: AtomicBool,
    /// The gateway; zero while it is not known.
    pid: AtomicU32,
    sprung: AtomicBool,
    /// A mark that an epoch is over was written in this life.
    marked: AtomicBool,
    /// It suspends the gateway instead, and only requests like this count.
    sleeps: Mutex<Option<Like>>,
}

impl Trap {
    pub(crate) fn set(&self, at: u32, after: bool) {
        self.pid.store(0, Ordering::SeqCst);
        self.sprung.store(false, Ordering::SeqCst);
        self.marked.store(false, Ordering::SeqCst);
        self.after.store(after, Ordering::SeqCst);
        self.left.store(at, Ordering::SeqCst);
    }

    /// Suspends the gateway at its write of this number to the log.
    pub(crate) fn put_to_sleep(&self, pid: u32, at: u32, after: bool) {
        self.put_to_sleep_at(pid, ("put", "/log/"), at, after);
    }

    /// Suspends the gateway at its request of this number among those like this.
    pub(crate) fn put_to_sleep_at(&self, pid: u32, like: Like, at: u32, after: bool) {
        *self.sleeps.lock().unwrap() = Some(like);
        self.set(at, after);
        self.aim(pid);
    }

    /// Whom it kills.
    pub(crate) fn aim(&self, pid: u32) {
        self.pid.store(pid, Ordering::SeqCst);
    }

    pub(crate) fn has_sprung(&self) -> bool {
        self.sprung.load(Ordering::SeqCst)
    }

    /// Whether this is the write that it waits for. Of the marks and removals of earlier lives' claims, of which there are
    /// more with each life, only the first counts.
    fn counts_to_now(&self, request: &[u8]) -> bool {
        let line = head(request);
        let line = line.lines().next().unwrap_or_default();
        let of_earlier =
            line.contains("/ended/") || (line.starts_with("delete ") && line.contains("/epoch/"));
        if of_earlier && self.marked.swap(true, Ordering::SeqCst) {
            return false;
        }
        if let Some((method, part)) = *self.sleeps.lock().unwrap()
            && !(line.starts_with(method) && line.contains(part))
        {
            return false;
        }
        let left = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        left == Ok(1)
    }

    async fn spring(&self) {
        loop {
            let pid = i32::try_from(self.pid.load(Ordering::SeqCst)).unwrap();
            if let Some(pid) = Pid::from_raw(pid) {
                self.sprung.store(true, Ordering::SeqCst);
                let sleeps = self.sleeps.lock().unwrap().is_some();
                kill_process(pid, if sleeps { Signal::STOP } else { Signal::KILL }).unwrap();
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// The door. Closed when dropped.
pub(crate) struct BadBucket {
    pub(crate) url: String,
    pub(crate) trap: Arc<Trap>,
    fault: watch::Sender<Fault>,
    task: tokio::task::JoinHandle<()>,
}

impl BadBucket {
    /// Opens a door to `endpoint`.
    pub(crate) async fn open(endpoint: &str) -> Self {
        let to: SocketAddr = endpoint.trim_start_matches("http://").parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (fault, seen) = watch::channel(Fault::None);
        let trap = Arc::new(Trap::default());
        let set = Arc::clone(&trap);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (mut seen, trap) = (seen.clone(), Arc::clone(&set));
                tokio::spawn(async move {
                    let now = *seen.borrow_and_update();
                    // A connection ends with the fault under which it began.
                    tokio::select! {
                        _ = serve(client, to, now, &trap) => {}
                        _ = seen.changed() => {}
                    }
                });
            }
        });
        Self {
            url,
            trap,
            fault,
            task,
        }
    }

    pub(crate) fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }
}

impl Drop for BadBucket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers one request.
async fn serve(mut client: TcpStream, to: SocketAddr, fault: Fault, trap: &Trap) -> io::Result<()> {
    if fault == Fault::None {
        let mut garage = TcpStream::connect(to).await?;
        tokio::io::copy_bidirectional(&mut client, &mut garage).await?;
        return Ok(());
    }
    if fault == Fault::Closed {
        return Ok(());
    }
    let request = read_request(&mut client).await?;
    let reads_pack = head(&request).starts_with("get ") && head(&request).contains("/pack/");
    match fault {
        Fault::Status(status) => return refuse(&mut client, status, "ServiceUnavailable").await,
        Fault::NoSuchPack if reads_pack => return refuse(&mut client, 404, "NoSuchKey").await,
        _ => {}
    }
    let writes = [&b"PUT "[..], b"POST ", b"DELETE "]
        .iter()
        .any(|method| request.starts_with(method));
    let now = fault == Fault::Trapped && writes && trap.counts_to_now(&request);
    if now && !trap.after.load(Ordering::SeqCst) {
        trap.spring().await;
        return Ok(());
    }
    let mut answer = ask(&request, to).await?;
    if now {
        trap.spring().await;
        return Ok(());
    }
    let body = answer
        .windows(4)
        .position(|end| end == b"\r\n\r\n")
        .map_or(0, |at| at + 4);
    match fault {
        Fault::WrongBytes if reads_pack => {
            let middle = usize::midpoint(body, answer.len());
            if let Some(byte) = answer.get_mut(middle) {
                *byte ^= 1;
            }
        }
        Fault::Half => {
            answer.truncate(usize::midpoint(body, answer.len()).min(answer.len().saturating_sub(1)));
        }
        Fault::Slow => {
            // Longer than any answer takes, shorter than what is waited for.
            for part in answer.chunks(answer.len().div_ceil(4).max(1)) {
                tokio::time::sleep(Duration::from_millis(150)).await;
                client.write_all(part).await?;
            }
            return Ok(());
        }
        Fault::Mute => return Ok(()),
        _ => {}
    }
    client.write_all(&answer).await?;
    client.shutdown().await
}

async fn read_request(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut request = Vec::new();
    loop {
        if let Some(end) = request.windows(4).position(|end| end == b"\r\n\r\n") {
            let length = head(&request)
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ").and_then(|n| n.parse().ok()))
                .unwrap_or(0);
            if request.len() >= end + 4 + length {
                return Ok(request);
            }
        }
        if client.read_buf(&mut request).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The first lines, in small letters.
fn head(request: &[u8]) -> String {
    let end = request
        .windows(4)
        .position(|end| end == b"\r\n\r\n")
        .unwrap_or(request.len());
    String::from_utf8_lossy(&request[..end]).to_lowercase()
}

/// Passes a request on, and reads the whole answer.
async fn ask(request: &[u8], to: SocketAddr) -> io::Result<Vec<u8>> {
    let mut garage = TcpStream::connect(to).await?;
    let line = request.windows(2).position(|end| end == b"\r\n").unwrap_or(0) + 2;
    garage.write_all(&request[..line]).await?;
    garage.write_all(b"connection: close\r\n").await?;
    garage.write_all(&request[line..]).await?;
    let mut answer = Vec::new();
    garage.read_to_end(&mut answer).await?;
    Ok(answer)
}

async fn refuse(client: &mut TcpStream, status: u16, code: &str) -> io::Result<()> {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>no</Message></Error>");
    let text = format!(
        "HTTP/1.1 {status} No\r\ncontent-type: application/xml\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    client.write_all(text.as_bytes()).await?;
    client.shutdown().await
}
