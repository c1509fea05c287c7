//! A store path as the stream of its NAR, read at the pace at which it is taken.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use bytes::{Bytes, BytesMut};
use futures::Stream;
use hayloft_nixcache::{NarHash, nar};
use tokio::sync::mpsc;

/// Bytes in one piece of the stream.
const PIECE: usize = 256 * 1024;
/// Pieces that are read ahead.
const AHEAD: usize = 4;

/// Why a path cannot be sent; the fault lies on this machine.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DumpError {
    /// A file cannot be read.
    #[error("it cannot be read from the store")]
    Read {
        /// What the system says.
        source: io::Error,
    },
    /// What lies there is not what the store's database says.
    #[error("it is damaged on this machine: its contents are not those that Nix recorded")]
    Damaged,
}

/// A NAR that is being read. The stream ends early, with an error, when the path turns out to be unreadable or damaged.
pub(crate) struct Dump {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    fault: Fault,
}

/// Where the reader leaves what went wrong, for whoever sees the stream break.
#[derive(Clone, Default)]
pub(crate) struct Fault(Arc<Mutex<Option<DumpError>>>);

impl Fault {
    fn set(&self, error: DumpError) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// What went wrong, once.
    pub(crate) fn take(&self) -> Option<DumpError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Dump {
    /// Starts to read `path` on a thread of its own; at most a megabyte is read ahead. The reader ends when the stream is
    /// dropped.
    pub(crate) fn start(path: PathBuf, nar_hash: NarHash, nar_size: u64) -> Dump {
        let (send, pieces) = mpsc::channel(AHEAD);
        let fault = Fault::default();
        let told = fault.clone();
        tokio::task::spawn_blocking(move || {
            let mut out = Pieces {
                buffer: BytesMut::with_capacity(PIECE),
                hash: digest::Context::new(&digest::SHA256),
                left: nar_size,
                send,
            };
            let error = match nar::dump(&path, &mut out).and_then(|()| out.flush()) {
                Ok(()) if out.left == 0 && out.hash.clone().finish().as_ref() == nar_hash.as_bytes() => {
                    return;
                }
                Ok(()) => DumpError::Damaged,
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return,
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => DumpError::Damaged,
                Err(source) => DumpError::Read { source },
            };
            told.set(error);
            // Without this the body would end as if it were whole.
            let _ = out
                .send
                .blocking_send(Err(io::Error::other("the NAR cannot be read to its end")));
        });
        Dump { pieces, fault }
    }

    /// Where to look when the stream broke.
    pub(crate) fn fault(&self) -> Fault {
        self.fault.clone()
    }
}

impl Stream for Dump {
    type Item = io::Result<Bytes>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.pieces.poll_recv(context)
    }
}

/// Cuts what is written into pieces and hashes it on the way.
struct Pieces {
    buffer: BytesMut,
    hash: digest::Context,
    /// Bytes that may still come.
    left: u64,
    send: mpsc::Sender<io::Result<Bytes>>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = u64::try_from(bytes.len()).map_err(io::Error::other)?;
        self.left = self
            .left
            .checked_sub(len)
            .ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))?;
        self.hash.update(bytes);
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = self.buffer.split().freeze();
        self.buffer.reserve(PIECE);
        self.send
            .blocking_send(Ok(piece))
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    async fn read(mut dump: Dump) -> Result<Vec<u8>, DumpError> {
        let fault = dump.fault();
        let mut whole = Vec::new();
        while let Some(piece) = dump.next().await {
            match piece {
                Ok(bytes) => whole.extend_from_slice(&bytes),
                Err(_) => return Err(fault.take().expect("the fault is told before the stream breaks")),
            }
        }
        Ok(whole)
    }

    fn tree() -> (tempfile::TempDir, Vec<u8>) {
        let dir = tempfile::tempdir().expect("makes a folder");
        let path = dir.path().join("path");
        std::fs::create_dir(&path).expect("makes a path");
        std::fs::write(path.join("big"), vec![7; 3 * PIECE + 5]).expect("writes");
        std::os::unix::fs::symlink("big", path.join("link")).expect("links");
        let mut nar = Vec::new();
        nar::dump(&path, &mut nar).expect("dumps");
        (dir, nar)
    }

    #[tokio::test]
    async fn a_path_comes_whole_and_in_pieces() {
        let (dir, nar) = tree();
        let size = u64::try_from(nar.len()).expect("fits");
        let read = read(Dump::start(dir.path().join("path"), NarHash::of(&nar), size))
            .await
            .expect("reads");
        assert_eq!(read, nar);
    }

    #[tokio::test]
    async fn a_damaged_path_breaks_the_stream_before_it_ends() {
        let (dir, nar) = tree();
        let size = u64::try_from(nar.len()).expect("fits");
        let path = dir.path().join("path");
        for (hash, size) in [
            (NarHash::of(b"other"), size),
            (NarHash::of(&nar), size + 8),
            (NarHash::of(&nar), size - 8),
        ] {
            let told = read(Dump::start(path.clone(), hash, size)).await;
            assert!(matches!(told, Err(DumpError::Damaged)), "{told:?}");
        }
        let told = read(Dump::start(dir.path().join("gone"), NarHash::of(&nar), size)).await;
        assert!(matches!(told, Err(DumpError::Read { .. })), "{told:?}");
    }
}
