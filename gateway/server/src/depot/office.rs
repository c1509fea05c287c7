//! The committer's task: the I/O around [`Term`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hayloft_index::Index;
use hayloft_store::cluster_key::LogSigner;
use hayloft_store::commit::{Admission, Input, Step, Term};
use hayloft_store::key::{EpochId, ObjectKey, Position};
use hayloft_store::log::record::Record;
use hayloft_store::object::{ObjectError, SharedStore, list_all};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::caches::Caches;
use super::committer::{CommitError, Committer, QUEUE, Request, State};
use super::error::sentence;
use super::random::Random;

/// How long a group waits for company.
const GATHER: Duration = Duration::from_millis(4);
/// The most bytes of manifests and the like in a group.
const GROUP_BYTES: usize = 4 * 1024 * 1024;
const GROUP_REQUESTS: usize = 512;

/// How often an idle gateway looks whether another one took over; half to one and a half of this.
const IDLE_LOOK: Duration = Duration::from_secs(15);
/// How long such a look may take.
const LOOK_PATIENCE: Duration = Duration::from_secs(8);

/// What the task works with.
pub(super) struct Office {
    pub(super) store: SharedStore,
    pub(super) index: Index,
    pub(super) signer: LogSigner,
    pub(super) caches: Arc<Caches>,
    pub(super) random: Arc<Random>,
}

impl Office {
    /// Starts the task for a term whose opening counts. It ends when `stop` is cancelled and the queue is empty.
    pub(super) fn start(
        self,
        term: Term,
        stop: CancellationToken,
    ) -> (Committer, tokio::task::JoinHandle<()>) {
        let (queue, requests) = mpsc::channel(QUEUE);
        let (state, watched) = watch::channel(State::Leading);
        let task = tokio::spawn(self.run(term, requests, state, stop));
        (Committer::new(queue, watched), task)
    }

    async fn run(
        self,
        mut term: Term,
        mut requests: mpsc::Receiver<Request>,
        state: watch::Sender<State>,
        stop: CancellationToken,
    ) {
        let mut next_look = self.next_look();
        loop {
            let first = tokio::select! {
                biased;
                first = requests.recv() => first,
                // A request comes first: it brings a look of its own.
                newer = self.idle_look(next_look, term.epoch()) => {
                    next_look = self.next_look();
                    if let Some(newer) = newer
                        && let Step::Stop { newer } = term.step(Input::Looked(newer))
                    {
                        return depose(newer, &state, Vec::new(), requests).await;
                    }
                    continue;
                }
                () = stop.cancelled() => {
                    // What is queued by now is still ordered.
                    requests.close();
                    requests.recv().await
                }
            };
            let Some(first) = first else { return };
            let group = gather(first, &mut requests).await;
            let admitted = self.admit(group).await;
            if admitted.is_empty() {
                continue;
            }
            let records: Vec<Record> = admitted
                .iter()
                .flat_map(|request| request.records.clone())
                .collect();
            let step = match term.propose(records, &self.signer) {
                Ok(step) => step,
                Err(error) => {
                    // Nothing was written: only these requests fail.
                    tracing::error!(error = %error, "a group of records could not be made into bytes");
                    answer(admitted, || CommitError::Stopped);
                    continue;
                }
            };
            match self.drive(&mut term, step, &state).await {
                Ok(()) => {
                    next_look = self.next_look();
                    for request in admitted {
                        let _ = request.answer.send(Ok(()));
                    }
                }
                Err(newer) => return depose(newer, &state, admitted, requests).await,
            }
        }
    }

    fn next_look(&self) -> Instant {
        Instant::now() + IDLE_LOOK.mul_f64(self.random.jitter())
    }

    /// Looks, at that time, for an epoch above this one. One that is found ends the term, whoever opened it and
    /// however far that one came.
    async fn idle_look(&self, at: Instant, epoch: EpochId) -> Option<EpochId> {
        tokio::time::sleep_until(at).await;
        match timeout(LOOK_PATIENCE, highest_epoch(&self.store, Some(epoch))).await {
            Ok(Ok(newer)) => newer,
            Ok(Err(error)) => {
                tracing::debug!(error = sentence(&error), "could not look for newer epochs");
                None
            }
            Err(_) => None,
        }
    }

    /// Checks each request against the index and what comes before it in the group.
    async fn admit(&self, group: Vec<Request>) -> Vec<Request> {
        let mut admission = Admission::default();
        let mut admitted = Vec::with_capacity(group.len());
        for request in group {
            let verdict = match self.index.facts(&request.records).await {
                Ok(facts) => admission
                    .admit(&request.records, &facts)
                    .map_err(CommitError::Refused),
                Err(error) => Err(CommitError::Index(error)),
            };
            match verdict {
                Ok(()) => admitted.push(request),
                Err(error) => {
                    let _ = request.answer.send(Err(error));
                }
            }
        }
        admitted
    }

    /// Does what the term asks for until the group counts and is applied.
    ///
    /// # Errors
    /// With the newer epoch when this one is over.
    pub(super) async fn drive(
        &self,
        term: &mut Term,
        mut step: Step,
        state: &watch::Sender<State>,
    ) -> Result<(), EpochId> {
        let mut backoff = Backoff::default();
        loop {
            let failed: Result<(), String> = match step {
                Step::Write { place, bytes } => {
                    let key = ObjectKey::Log(place).to_string();
                    let put = self.store.put(&key, Bytes::from(bytes)).await;
                    let input = if put.is_ok() {
                        Input::Written
                    } else {
                        Input::WriteFailed
                    };
                    step = term.step(input);
                    put.map_err(|error| sentence(&error))
                }
                Step::Look => match highest_epoch(&self.store, Some(term.epoch())).await {
                    Ok(newer) => {
                        step = term.step(Input::Looked(newer.unwrap_or(term.epoch())));
                        Ok(())
                    }
                    Err(error) => {
                        step = term.step(Input::LookFailed);
                        Err(sentence(&error))
                    }
                },
                Step::Show { records, position } => match self.show(&records, position).await {
                    Ok(()) => {
                        state.send_replace(State::Leading);
                        return Ok(());
                    }
                    Err(error) => {
                        // It counts: it must be applied before anything else may happen.
                        step = Step::Show { records, position };
                        Err(sentence(&*error))
                    }
                },
                Step::Rest => return Ok(()),
                Step::Stop { newer } => return Err(newer),
            };
            if let Err(error) = failed {
                tracing::warn!(error, "the committer tries again");
                state.send_replace(State::Struggling);
                backoff.pause(&self.random).await;
            }
        }
    }

    async fn show(&self, records: &[Record], position: Position) -> Result<(), super::error::BoxError> {
        self.index.apply(records, position).await?;
        let touches_caches = records.iter().any(|record| {
            matches!(
                record,
                Record::CacheCreated(_) | Record::CacheConfigured(_) | Record::CacheDestroyed(_)
            )
        });
        if touches_caches {
            self.caches.refresh(&self.index).await?;
        }
        Ok(())
    }
}

/// Ends the term: what is in flight and whatever waits is refused. Whoever is refused sees the term ended.
async fn depose(
    newer: EpochId,
    state: &watch::Sender<State>,
    in_flight: Vec<Request>,
    mut requests: mpsc::Receiver<Request>,
) {
    tracing::error!(%newer, "deposed: another gateway has taken over writing to this bucket");
    let _ = state.send(State::Deposed);
    answer(in_flight, || CommitError::Deposed);
    requests.close();
    while let Some(request) = requests.recv().await {
        let _ = request.answer.send(Err(CommitError::Deposed));
    }
}

fn answer(requests: Vec<Request>, error: impl Fn() -> CommitError) {
    for request in requests {
        let _ = request.answer.send(Err(error()));
    }
}

/// Waits a little for others to join the first request.
async fn gather(first: Request, requests: &mut mpsc::Receiver<Request>) -> Vec<Request> {
    let deadline = Instant::now() + GATHER;
    let mut bytes = first.bytes;
    let mut group = vec![first];
    while bytes < GROUP_BYTES && group.len() < GROUP_REQUESTS {
        match timeout_at(deadline, requests.recv()).await {
            Ok(Some(request)) => {
                bytes += request.bytes;
                group.push(request);
            }
            Ok(None) | Err(_) => break,
        }
    }
    group
}

/// The highest epoch that anybody claims, of those above `above`.
pub(super) async fn highest_epoch(
    store: &SharedStore,
    above: Option<EpochId>,
) -> Result<Option<EpochId>, ObjectError> {
    // Keys sort as epochs do.
    let after = above.map(|epoch| ObjectKey::Epoch(epoch).to_string());
    let keys = list_all(store.as_ref(), ObjectKey::EPOCHS, after.as_deref()).await?;
    Ok(keys
        .iter()
        .filter_map(|key| match ObjectKey::parse(key) {
            Some(ObjectKey::Epoch(epoch)) => Some(epoch),
            _ => None,
        })
        .max())
}
