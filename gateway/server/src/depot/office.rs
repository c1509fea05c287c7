//! Being the committer: the I/O around [`Term`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hayloft_index::Index;
use hayloft_store::cluster_key::LogSigner;
use hayloft_store::commit::{Admission, Input, Step, Term};
use hayloft_store::key::{EpochId, ObjectKey, Position};
use hayloft_store::log::record::Record;
use hayloft_store::object::SharedStore;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::caches::Caches;
use super::claim::{forget_claims, highest_epoch, look};
use super::committer::{CommitError, Request, State};
use super::dying::may_die;
use super::error::{BoxError, sentence};
use super::fleet::{Fleet, Outbound, Seat};
use super::random::Random;
use crate::metrics::names;

/// How long a group waits for company.
const GATHER: Duration = Duration::from_millis(4);
/// The most bytes of manifests and the like in a group.
const GROUP_BYTES: usize = 4 * 1024 * 1024;
const GROUP_REQUESTS: usize = 512;

/// How often an idle gateway looks whether another one took over; half to one and a half of this.
const IDLE_LOOK: Duration = Duration::from_secs(15);
/// How long such a look may take.
const LOOK_PATIENCE: Duration = Duration::from_secs(8);
/// How long the last object of the log stays without another behind it, when a gateway may not have heard that it counts.
const SEAL: Duration = Duration::from_millis(250);

/// What the committer and followers work with.
pub(super) struct Office {
    pub(super) store: SharedStore,
    pub(super) index: Index,
    pub(super) signer: Arc<LogSigner>,
    pub(super) caches: Arc<Caches>,
    pub(super) random: Arc<Random>,
}

/// A group that counts.
pub(super) struct Counted {
    pub(super) records: Vec<Record>,
    pub(super) position: Position,
    /// The log object.
    pub(super) bytes: Bytes,
}

/// How a term ended.
pub(super) enum Ended {
    /// The gateway stops, and the queue is empty.
    Stopped,
    /// A newer epoch was claimed. What was in flight was not acknowledged here.
    Deposed { newer: EpochId, in_flight: Vec<Request> },
}

/// What wakes a committer.
enum Event {
    Carried,
    Request(Option<Request>),
    Newer(EpochId),
    Looked,
    Seal,
}

impl Office {
    /// Orders what comes until the term ends or `stop` is cancelled and the queue is empty.
    pub(super) async fn lead(
        &self,
        mut term: Term,
        requests: &mut mpsc::Receiver<Request>,
        mut carried: Vec<Request>,
        state: &watch::Sender<State>,
        stop: &CancellationToken,
        fleet: Option<&Fleet>,
    ) -> Ended {
        state.send_replace(State::Leading);
        let epoch = term.epoch();
        let outbound = fleet.map(|fleet| {
            fleet.sit(Seat::Leading { epoch });
            fleet.reach(term.position());
            Outbound::start(fleet, Arc::clone(&self.store), epoch)
        });
        let mut forgetting = std::pin::pin!(futures::FutureExt::fuse(forget_claims(&self.store, epoch)));
        let mut next_look = self.next_look();
        let mut seal_at = outbound.is_some().then(|| Instant::now() + SEAL);
        loop {
            let event = tokio::select! {
                biased;
                // What was on its way to another committer comes first.
                () = std::future::ready(()), if !carried.is_empty() => Event::Carried,
                first = requests.recv() => Event::Request(first),
                // A request comes first: it brings a look of its own.
                newer = self.idle_look(next_look, epoch, fleet) => newer.map_or(Event::Looked, Event::Newer),
                () = sleep_until(seal_at) => Event::Seal,
                () = stop.cancelled() => {
                    // What is queued by now is still ordered.
                    requests.close();
                    Event::Request(requests.recv().await)
                }
                () = &mut forgetting => continue,
            };
            let (step, admitted) = match event {
                Event::Request(None) => return Ended::Stopped,
                Event::Carried | Event::Request(Some(_)) => {
                    let group = match event {
                        Event::Request(Some(first)) => gather(first, requests).await,
                        _ => std::mem::take(&mut carried),
                    };
                    let admitted = self.admit(group, fleet).await;
                    if admitted.is_empty() {
                        continue;
                    }
                    let records = admitted
                        .iter()
                        .flat_map(|request| request.records.clone())
                        .collect();
                    (term.propose(records, &self.signer), admitted)
                }
                Event::Newer(newer) => {
                    next_look = self.next_look();
                    match term.step(Input::Looked(newer)) {
                        Step::Stop { newer } => {
                            return Ended::Deposed {
                                newer,
                                in_flight: Vec::new(),
                            };
                        }
                        _ => continue,
                    }
                }
                Event::Looked => {
                    next_look = self.next_look();
                    continue;
                }
                Event::Seal => {
                    seal_at = None;
                    match &outbound {
                        Some(outbound) if !outbound.all_know(term.position()) => {
                            (term.seal(&self.signer), Vec::new())
                        }
                        _ => continue,
                    }
                }
            };
            let step = match step {
                Ok(step) => step,
                Err(error) => {
                    // Nothing was written: only these requests fail.
                    tracing::error!(error = %error, "a group of records could not be made into bytes");
                    answer(admitted, || CommitError::Stopped);
                    continue;
                }
            };
            match self.drive(&mut term, step, state).await {
                Ok(counted) => {
                    next_look = self.next_look();
                    note_group(&admitted);
                    if let Some(counted) = counted {
                        self.count(counted, state, fleet, outbound.as_ref()).await;
                        may_die!("commit.shown");
                    }
                    if !admitted.is_empty() && outbound.is_some() {
                        seal_at = Some(Instant::now() + SEAL);
                    }
                    for request in admitted {
                        let _ = request.answer.send(Ok(()));
                    }
                }
                Err(newer) => {
                    return Ended::Deposed {
                        newer,
                        in_flight: admitted,
                    };
                }
            }
        }
    }

    /// Shows what counts, here and to the other gateways that can be reached.
    async fn count(
        &self,
        counted: Counted,
        state: &watch::Sender<State>,
        fleet: Option<&Fleet>,
        outbound: Option<&Outbound>,
    ) {
        let Counted {
            records,
            position,
            bytes,
        } = counted;
        let here = self.show(&records, position, state);
        let there = async {
            if let Some(outbound) = outbound {
                outbound.spread(position, bytes).await;
            }
        };
        tokio::join!(here, there);
        if let Some(fleet) = fleet {
            fleet.reach(Some(position));
        }
    }

    fn next_look(&self) -> Instant {
        Instant::now() + IDLE_LOOK.mul_f64(self.random.jitter())
    }

    /// Looks, at that time or when another gateway speaks of one, for an epoch above this one. One that is found ends the
    /// term, whoever claimed it and however far that one came.
    async fn idle_look(&self, at: Instant, epoch: EpochId, fleet: Option<&Fleet>) -> Option<EpochId> {
        let hearsay = async {
            match fleet {
                Some(fleet) => fleet.hears_of_newer(epoch).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tokio::time::sleep_until(at) => {}
            () = hearsay => {}
        }
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
    async fn admit(&self, group: Vec<Request>, fleet: Option<&Fleet>) -> Vec<Request> {
        let mut admission = Admission::default();
        let mut admitted = Vec::with_capacity(group.len());
        for request in group {
            let readable = fleet.is_none_or(|fleet| {
                let format = request.records.iter().map(Record::since).max();
                format.is_none_or(|format| format <= fleet.log_format())
            });
            let verdict = if !readable {
                Err(CommitError::NotReadable)
            } else {
                match self.index.facts(&request.records).await {
                    Ok(facts) => admission
                        .admit(&request.records, &facts)
                        .map_err(CommitError::Refused),
                    Err(error) => Err(CommitError::Index(error)),
                }
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

    /// Does what the term asks for until the group counts; none: nothing was in flight.
    ///
    /// # Errors
    /// With the newer epoch when this one is over.
    pub(super) async fn drive(
        &self,
        term: &mut Term,
        mut step: Step,
        state: &watch::Sender<State>,
    ) -> Result<Option<Counted>, EpochId> {
        let mut backoff = Backoff::default();
        let mut written = Bytes::new();
        loop {
            let failed: Result<(), String> = match step {
                Step::Write { place, bytes } => {
                    let key = ObjectKey::Log(place).to_string();
                    written = Bytes::from(bytes);
                    may_die!("commit.before-write");
                    let put = self.store.put(&key, written.clone()).await;
                    let input = if put.is_ok() {
                        Input::Written
                    } else {
                        Input::WriteFailed
                    };
                    step = term.step(input);
                    put.map_err(|error| sentence(&error))
                }
                Step::Look => {
                    may_die!("commit.written");
                    match look(&self.store, term.epoch()).await {
                        Ok(highest) => {
                            step = term.step(Input::Looked(highest));
                            Ok(())
                        }
                        Err(error) => {
                            step = term.step(Input::LookFailed);
                            Err(sentence(&error))
                        }
                    }
                }
                Step::Show { records, position } => {
                    may_die!("commit.counts");
                    state.send_replace(State::Leading);
                    return Ok(Some(Counted {
                        records,
                        position,
                        bytes: written,
                    }));
                }
                Step::Rest => return Ok(None),
                Step::Stop { newer } => return Err(newer),
            };
            if let Err(error) = failed {
                tracing::warn!(error, "the committer tries again");
                state.send_replace(State::Struggling);
                backoff.pause(&self.random).await;
            }
        }
    }

    /// Applies a group that counts. It must be applied before anything else may happen, so it is tried until it is.
    pub(super) async fn show(&self, records: &[Record], position: Position, state: &watch::Sender<State>) {
        let mut backoff = Backoff::default();
        let mut was = None;
        while let Err(error) = self.try_show(records, position).await {
            tracing::warn!(error = sentence(&*error), "what counts cannot be shown yet");
            let before = state.send_replace(State::Struggling);
            was.get_or_insert(before);
            backoff.pause(&self.random).await;
        }
        if let Some(was) = was {
            state.send_replace(was);
        }
    }

    /// Applies a group that counts.
    pub(super) async fn try_show(&self, records: &[Record], position: Position) -> Result<(), BoxError> {
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

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Counts a group of records that was written.
fn note_group(admitted: &[Request]) {
    let records: usize = admitted.iter().map(|request| request.records.len()).sum();
    metrics::counter!(names::LOG_OBJECTS).increment(1);
    metrics::histogram!(names::LOG_RECORDS).record(u32::try_from(records).unwrap_or(u32::MAX));
}

/// Refuses requests.
pub(super) fn answer(requests: Vec<Request>, error: impl Fn() -> CommitError) {
    for request in requests {
        let _ = request.answer.send(Err(error()));
    }
}

/// Waits a little for others to join the first request.
pub(super) async fn gather(first: Request, requests: &mut mpsc::Receiver<Request>) -> Vec<Request> {
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
