//! The command's end.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use super::{Line, Outcome, Request, socket};

/// Why the running gateway did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// None runs with this state folder.
    #[error("no gateway runs with the folder {}", path.display())]
    NotRunning { path: PathBuf },
    /// It cannot be reached.
    #[error("the gateway that runs with the folder {} cannot be reached", path.display())]
    Reach {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// It ended before it had answered.
    #[error("the gateway ended before it had answered; what was done stays done, ask again")]
    Ended,
    /// It says so.
    #[error("{0}")]
    Said(String),
}

/// Asks the gateway that runs with this state folder, and waits until it is done. Dropped, it stops the work.
///
/// # Errors
/// When none runs, or it did not do it.
pub(crate) async fn ask(
    state_dir: &Path,
    request: &Request,
    mut progress: impl FnMut(&str),
) -> Result<Outcome, AskError> {
    let reach = |source: std::io::Error| match source.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => AskError::NotRunning {
            path: state_dir.to_owned(),
        },
        _ => AskError::Reach {
            path: state_dir.to_owned(),
            source,
        },
    };
    let (path, _folder) = socket(state_dir).map_err(reach)?;
    let stream = UnixStream::connect(&path).await.map_err(reach)?;
    // The writing half stays open: closing it tells the gateway to stop.
    let (read, mut write) = stream.into_split();
    let mut bytes = serde_json::to_vec(request).map_err(|error| reach(error.into()))?;
    bytes.push(b'\n');
    write.write_all(&bytes).await.map_err(reach)?;
    let mut lines = BufReader::new(read).lines();
    while let Ok(Some(text)) = lines.next_line().await {
        match serde_json::from_str(&text) {
            Ok(Line::Progress(text)) => progress(&text),
            Ok(Line::Done(outcome)) => return Ok(outcome),
            Ok(Line::Failed(reason)) => return Err(AskError::Said(reason)),
            Err(_) => {
                let reason = "the gateway that runs is of another version: use its own commands";
                return Err(AskError::Said(reason.to_owned()));
            }
        }
    }
    Err(AskError::Ended)
}
