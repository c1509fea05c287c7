//! The queue in front of the committer. Everything that becomes true goes through it, and nobody who fills it need know
//! whether the committer is this gateway or another.

use std::time::Duration;

use hayloft_index::IndexError;
use hayloft_store::commit::Refusal;
use hayloft_store::log::record::Record;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

/// How long the committer may struggle with one step before nobody waits for it any more.
const PATIENCE: Duration = Duration::from_secs(15);
/// Requests that may wait.
pub(super) const QUEUE: usize = 1024;

/// Why something was not ordered.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommitError {
    /// It breaks a rule.
    #[error(transparent)]
    Refused(Refusal),
    /// Another gateway orders now.
    #[error("another gateway has taken over writing to this bucket, and this one stops")]
    Deposed,
    /// No gateway orders now, or it cannot be reached.
    #[error("no gateway that orders changes can be reached now; try again")]
    Vacant,
    /// The bucket or the index has refused the same step for [`PATIENCE`].
    #[error(
        "changes cannot be written down now, for the bucket does not answer or the gateway's disk is full (its log says which); try again"
    )]
    Struggling,
    /// The committer ended.
    #[error("the gateway is stopping")]
    Stopped,
    /// Not all gateways of the bucket are known to read such a record.
    #[error("a gateway of this bucket may be too old to read such a change; try again when all are renewed")]
    NotReadable,
    /// The committer, which is another gateway, said so.
    #[error("{0}")]
    Said(String),
    /// The index failed before anything was ordered.
    #[error("the index does not answer")]
    Index(#[source] IndexError),
}

/// What the committer is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It orders what comes.
    Leading,
    /// The bucket or the index has refused the same step for some time.
    Struggling,
    /// Another gateway orders; this one follows.
    Following,
    /// This one cannot follow the log, and says why in its own log.
    Stuck,
    /// Another gateway took over, and this one does not follow.
    Deposed,
}

/// Records that are ordered together or not at all.
pub(super) struct Request {
    pub(super) records: Vec<Record>,
    pub(super) bytes: usize,
    pub(super) answer: oneshot::Sender<Result<(), CommitError>>,
}

/// The queue's near end.
#[derive(Clone)]
pub(super) struct Committer {
    queue: mpsc::Sender<Request>,
    state: watch::Receiver<State>,
}

/// A request that is in the queue.
pub(super) struct Pending(oneshot::Receiver<Result<(), CommitError>>);

impl Pending {
    /// Waits until it is acknowledged or refused.
    pub(super) async fn done(self) -> Result<(), CommitError> {
        self.0.await.unwrap_or(Err(CommitError::Stopped))
    }
}

impl Committer {
    pub(super) const fn new(queue: mpsc::Sender<Request>, state: watch::Receiver<State>) -> Self {
        Self { queue, state }
    }

    /// Puts records into the queue; what was put in first is ordered first.
    pub(super) async fn submit(&self, records: Vec<Record>) -> Result<Pending, CommitError> {
        let (answer, pending) = oneshot::channel();
        let bytes = records.iter().map(weight).sum();
        let request = Request {
            records,
            bytes,
            answer,
        };
        match self.queue.send(request).await {
            Ok(()) => Ok(Pending(pending)),
            Err(_) if self.state() == State::Deposed => Err(CommitError::Deposed),
            Err(_) => Err(CommitError::Stopped),
        }
    }

    /// Puts records into the queue and waits until they are acknowledged or refused. When it is not waited for any longer
    /// they may still come true.
    pub(super) async fn commit(&self, records: Vec<Record>) -> Result<(), CommitError> {
        let done = async { self.submit(records).await?.done().await };
        tokio::select! {
            biased;
            done = done => done,
            () = self.struggles_for_long() => Err(CommitError::Struggling),
        }
    }

    /// Waits until this gateway's committer struggles, and has for some time.
    async fn struggles_for_long(&self) {
        let mut state = self.state.clone();
        loop {
            if state.wait_for(|state| *state == State::Struggling).await.is_err() {
                return std::future::pending().await;
            }
            let well = state.wait_for(|state| *state != State::Struggling);
            if timeout(PATIENCE, well).await.is_err() {
                return;
            }
        }
    }

    pub(super) fn state(&self) -> State {
        *self.state.borrow()
    }

    /// Waits until another gateway takes over; for ever, when this one stops before.
    pub(super) async fn deposed(&self) {
        let mut state = self.state.clone();
        let deposed = state.wait_for(|state| *state == State::Deposed).await.is_ok();
        if !deposed {
            std::future::pending::<()>().await;
        }
    }

    /// Whether it orders what comes.
    pub(super) fn is_leading(&self) -> bool {
        self.state() == State::Leading && !self.queue.is_closed()
    }

    /// Whether what comes is ordered, here or by another gateway, or will be as soon as one is found.
    pub(super) fn is_well(&self) -> bool {
        matches!(self.state(), State::Leading | State::Following) && !self.queue.is_closed()
    }
}

fn weight(record: &Record) -> usize {
    match record {
        Record::PathAdded(path) => path.manifest.len() + 512,
        Record::PackAdded(pack) => pack.frames.len() * 80,
        _ => 512,
    }
}
