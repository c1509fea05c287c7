//! Handing a verified window on to a client, in portions, as fast as it takes them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::AbortOnDropHandle;
use tracing::Span;

use crate::depot::error::ReadError;
use crate::metrics::{names, stage_of};

/// How long a client may take nothing.
const STALLED: Duration = Duration::from_secs(120);
/// How much of a body is handed on at a time.
const PORTION: usize = 256 * 1024;

/// A window's bytes and its share of the budget.
pub(super) struct Held {
    pieces: VecDeque<Bytes>,
    _share: OwnedSemaphorePermit,
    /// Ends when the last of it was handed on.
    sending: Span,
}

impl Held {
    /// Is sent within the request that runs now.
    pub(super) fn new(pieces: VecDeque<Bytes>, share: OwnedSemaphorePermit) -> Self {
        Self {
            pieces,
            _share: share,
            sending: stage_of(&Span::current(), "send"),
        }
    }

    fn portion(&mut self) -> Option<Bytes> {
        let first = self.pieces.front_mut()?;
        if first.len() > PORTION {
            return Some(first.split_to(PORTION));
        }
        self.pieces.pop_front()
    }
}

/// A window that is being handed on. A client that takes nothing for a while loses it: what it holds is taken
/// from others.
struct Handing {
    begin: Instant,
    _sending: Span,
    held: Mutex<Option<Held>>,
    /// How many portions were taken.
    taken: AtomicU64,
}

impl Drop for Handing {
    fn drop(&mut self) {
        // A connection that has the announced length asks for no more: this is the one end that always comes.
        metrics::histogram!(names::STAGE_SECONDS, "stage" => "send").record(self.begin.elapsed());
    }
}

impl Handing {
    fn portion(&self) -> Option<Result<Bytes, ReadError>> {
        self.taken.fetch_add(1, Ordering::Relaxed);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(held) = held.as_mut() else {
            return Some(Err(ReadError::Unavailable(format!(
                "nothing was taken for {STALLED:?}"
            ))));
        };
        let portion = held.portion()?;
        metrics::counter!(names::SENT_BYTES).increment(portion.len() as u64);
        Some(Ok(portion))
    }

    async fn watch(self: Arc<Self>) {
        let mut before = 0;
        loop {
            tokio::time::sleep(STALLED).await;
            let taken = self.taken.load(Ordering::Relaxed);
            if taken == before {
                self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
                return;
            }
            before = taken;
        }
    }
}

/// Hands a window on in portions; its share of the budget is given back with the last.
pub(super) fn portions(held: Result<Held, ReadError>) -> BoxStream<'static, Result<Bytes, ReadError>> {
    let held = match held {
        Err(error) => return stream::iter([Err(error)]).boxed(),
        Ok(held) => held,
    };
    let handing = Arc::new(Handing {
        begin: Instant::now(),
        _sending: held.sending.clone(),
        held: Mutex::new(Some(held)),
        taken: AtomicU64::new(0),
    });
    let watch = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&handing).watch()));
    stream::unfold(Some((handing, watch)), |state| async move {
        let (handing, watch) = state?;
        let portion = handing.portion()?;
        let next = portion.is_ok().then_some((handing, watch));
        Some((portion, next))
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    fn held(length: usize, budget: &Arc<Semaphore>) -> Held {
        let share = Arc::clone(budget).try_acquire_owned().unwrap();
        Held::new(VecDeque::from([vec![7; length].into()]), share)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_gives_its_share_back() {
        let budget = Arc::new(Semaphore::new(1));
        let mut stream = portions(Ok(held(2 * PORTION, &budget)));
        assert!(stream.next().await.unwrap().is_ok());
        tokio::time::sleep(STALLED * 3).await;
        assert_eq!(budget.available_permits(), 1);
        assert!(matches!(
            stream.next().await,
            Some(Err(ReadError::Unavailable(_)))
        ));
        assert!(stream.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_gets_everything() {
        let budget = Arc::new(Semaphore::new(1));
        let mut stream = portions(Ok(held(10 * PORTION + 1, &budget)));
        let mut length = 0;
        while let Some(part) = stream.next().await {
            length += part.unwrap().len();
            tokio::time::sleep(STALLED / 2).await;
        }
        assert_eq!(length, 10 * PORTION + 1);
        drop(stream);
        tokio::task::yield_now().await;
        assert_eq!(budget.available_permits(), 1);
    }
}
