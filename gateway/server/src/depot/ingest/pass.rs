//! The body's way through the cutter, and the verdict on what came out of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use hayloft_nixcache::UploadInfo;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Span;

use super::body::Body;
use super::cutter::{Cutter, Part};
use crate::depot::error::{BoxError, UploadError};
use crate::metrics::{names, stage, stage_sync};

/// What is still read of a body that is refused, so that the client hears why.
const DRAIN: u64 = 64 * 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(20);

/// Reads on for a bounded while and forgets it.
pub(super) async fn drain<B>(body: &mut Body<B>)
where
    B: Stream<Item = Result<Bytes, BoxError>> + Send + Unpin + 'static,
{
    let _ = tokio::time::timeout(DRAIN_TIME, body.drain(DRAIN)).await;
}

/// The right to have a portion worked on. Whoever has it never waits for another one, and whoever waits is served in order:
/// uploads take turns, portion by portion. A client that is slow holds none while it is waited for.
pub(super) type Turn = OwnedSemaphorePermit;

/// Reads the body to its end through the cutter and checks what came out of it. While one portion is cut, the
/// next is read. Each portion's parts are given with the turn that `turns` granted for it, to be kept until they are packed.
pub(super) async fn read<B, F, R>(
    cutter: Cutter,
    info: &UploadInfo,
    turns: &Arc<Semaphore>,
    mut body: Body<B>,
    give: F,
) -> Result<(), UploadError>
where
    B: Stream<Item = Result<Bytes, BoxError>> + Send + Unpin + 'static,
    F: Fn(Vec<Part>, Turn) -> R,
    R: Future<Output = Result<(), UploadError>>,
{
    let mut cutter = cutter;
    let mut portion = stage("receive", body.portion()).await?;
    while !portion.is_empty() {
        let turn = next_turn(turns).await?;
        let mut worker = cutter;
        let span = Span::current();
        metrics::counter!(names::RECEIVED_BYTES).increment(portion.iter().map(|b| b.len() as u64).sum());
        let work = tokio::task::spawn_blocking(move || {
            let parts = stage_sync("cut", &span, || worker.feed(&portion));
            (worker, parts)
        });
        // What is cut goes on at once: its turn must not last for as long as the client takes for the next portion.
        let cutting = async {
            let (back, parts) = work.await.map_err(|_| broken())?;
            let verdict = match parts {
                Ok(parts) if parts.is_empty() => Ok(()),
                Ok(parts) => {
                    give(parts, turn).await?;
                    Ok(())
                }
                Err(error) => Err(error),
            };
            Ok::<_, UploadError>((back, verdict))
        };
        let (done, next) = tokio::join!(cutting, stage("receive", body.portion()));
        let (back, verdict) = done?;
        cutter = back;
        if let Err(error) = verdict {
            drain(&mut body).await;
            return Err(UploadError::Nar(error));
        }
        portion = next?;
    }
    let whole = tokio::task::spawn_blocking(move || (cutter.length(), cutter.finish())).await;
    let (length, whole) = whole.map_err(|_| broken())?;
    if length != info.nar_size {
        return Err(UploadError::SizeMismatch {
            expected: info.nar_size,
            actual: length,
            more: false,
        });
    }
    let whole = whole.map_err(UploadError::Nar)?;
    if whole.hash != info.nar_hash {
        return Err(UploadError::HashMismatch {
            expected: info.nar_hash,
            actual: whole.hash,
        });
    }
    if whole.rest.is_empty() {
        Ok(())
    } else {
        give(whole.rest, next_turn(turns).await?).await
    }
}

async fn next_turn(turns: &Arc<Semaphore>) -> Result<Turn, UploadError> {
    Arc::clone(turns).acquire_owned().await.map_err(|_| broken())
}

fn broken() -> UploadError {
    UploadError::Unavailable("the NAR could not be processed".to_owned())
}
