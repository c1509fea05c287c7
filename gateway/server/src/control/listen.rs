//! The running gateway's end.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{Line, Request, perform, socket};
use crate::depot::Depot;

/// The longest request: a pin with many paths.
const REQUEST: u64 = 16 * 1024 * 1024;
/// How long a request may take to come.
const PATIENCE: Duration = Duration::from_secs(10);
/// After a connection could not be accepted.
const AGAIN: Duration = Duration::from_millis(500);

/// Listens in the state folder until what it gives is dropped. A gateway that cannot listen serves all the same.
pub(crate) fn listen(state_dir: &Path, depot: Depot) -> Option<AbortOnDropHandle<()>> {
    let (listener, folder) = match bind(state_dir) {
        Ok(bound) => bound,
        Err(error) => {
            tracing::warn!(%error, "commands on this machine cannot reach the gateway");
            return None;
        }
    };
    Some(AbortOnDropHandle::new(tokio::spawn(async move {
        let _folder = folder;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let depot = depot.clone();
                    tokio::spawn(async move {
                        if let Err(error) = answer(stream, depot).await {
                            tracing::debug!(%error, "a command hung up");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a command could not be accepted");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    })))
}

fn bind(state_dir: &Path) -> std::io::Result<(UnixListener, Option<std::fs::File>)> {
    let (path, folder) = socket(state_dir)?;
    match std::fs::remove_file(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // The folder is its owner's alone; the mode is a second bolt.
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    Ok((listener, folder))
}

async fn answer(stream: UnixStream, depot: Depot) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read.take(REQUEST));
    let mut text = String::new();
    tokio::time::timeout(PATIENCE, read.read_line(&mut text))
        .await
        .map_err(|_| std::io::ErrorKind::TimedOut)??;
    let request: Request = match serde_json::from_str(&text) {
        Ok(request) => request,
        Err(error) => {
            let line = Line::Failed(format!("the gateway does not know this request: {error}"));
            return send(&mut write, &line).await;
        }
    };
    let stop = CancellationToken::new();
    let (tell, mut told) = mpsc::channel(16);
    let mut work = std::pin::pin!(perform(&depot, request, &stop, tell));
    let mut rest = String::new();
    let mut gone = false;
    loop {
        tokio::select! {
            line = &mut work => return send(&mut write, &line).await,
            Some(line) = told.recv() => {
                if send(&mut write, &line).await.is_err() {
                    stop.cancel();
                }
            }
            // Nothing more is said: whoever closes wants it to stop.
            _ = read.read_line(&mut rest), if !gone => {
                gone = true;
                stop.cancel();
            }
        }
    }
}

async fn send(write: &mut (impl tokio::io::AsyncWrite + Unpin), line: &Line) -> std::io::Result<()> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    write.write_all(&bytes).await
}
