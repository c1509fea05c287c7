//! What this gateway is: committer or follower, one after the other, as long as it runs.

use std::time::Duration;

use hayloft_store::Digest;
use hayloft_store::commit::Term;
use hayloft_store::key::Position;
use hayloft_store::log::object::LogObject;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::backoff::Backoff;
use super::candidate::{Judgement, judge};
use super::checkpoint::{Writer, keep_writing};
use super::claim::{claim, sign_of_life};
use super::committer::{CommitError, Committer, QUEUE, Request, State};
use super::error::{OpenError, sentence};
use super::fleet::wire::Tell;
use super::fleet::{Fleet, Incoming, LIVELY, Rule, Seat};
use super::forward::forward;
use super::office::{Ended, Office, answer};
use super::succession::take_office;

/// How often a follower that hears nothing looks into the bucket: one listing.
const POLL: Duration = Duration::from_millis(1_000);
/// How often one looks that hears from the committer.
const RARELY: Duration = Duration::from_secs(30);
/// How long one look may take, when there is much to catch up with as well.
const LOOK_PATIENCE: Duration = Duration::from_secs(600);
/// How long a sign of life in the bucket is waited for: what the committer needs to notice that it is not heard, and its
/// pause between two signs.
const SIGN: Duration = Duration::from_secs(4);
/// How long the others may take to answer how they are.
const SURVEY: Duration = Duration::from_secs(1);

/// How a gateway begins.
pub(super) enum Start {
    /// As the committer.
    Lead(Term),
    /// As a follower.
    Follow {
        /// It was named the committer, and did not come to it yet.
        wants_office: bool,
    },
}

/// Why following ended.
enum Next {
    Stop,
    TakeOffice,
}

/// The task.
pub(super) struct Role {
    office: Office,
    checkpoints: Writer,
    fleet: Option<Fleet>,
    requests: mpsc::Receiver<Request>,
    state: watch::Sender<State>,
    stop: CancellationToken,
}

impl Role {
    /// Starts the task. It ends when `stop` is cancelled and the queue is empty; without a fleet, also when deposed.
    pub(super) fn start(
        office: Office,
        checkpoints: Writer,
        fleet: Option<Fleet>,
        start: Start,
        stop: CancellationToken,
    ) -> (Committer, tokio::task::JoinHandle<()>) {
        let (queue, requests) = mpsc::channel(QUEUE);
        let (state, watched) = watch::channel(match start {
            Start::Lead(_) => State::Leading,
            Start::Follow { .. } => State::Following,
        });
        let committer = Committer::new(queue, watched);
        if let Some(fleet) = &fleet {
            fleet.serve(committer.clone());
        }
        let role = Self {
            office,
            checkpoints,
            fleet,
            requests,
            state,
            stop,
        };
        (committer, tokio::spawn(role.run(start)))
    }

    async fn run(mut self, mut start: Start) {
        let mut carried = Vec::new();
        loop {
            start = match start {
                Start::Lead(term) => {
                    let Self {
                        office,
                        checkpoints,
                        fleet,
                        requests,
                        state,
                        stop,
                    } = &mut self;
                    let writing = keep_writing(checkpoints.clone());
                    let _writing = AbortOnDropHandle::new(tokio::spawn(writing));
                    let carried_in = std::mem::take(&mut carried);
                    let lead = office.lead(term, requests, carried_in, state, stop, fleet.as_ref());
                    match Box::pin(lead).await {
                        Ended::Stopped => return,
                        Ended::Deposed { newer, in_flight } if self.fleet.is_some() => {
                            tracing::warn!(%newer, "another gateway orders now, and this one follows");
                            carried = in_flight;
                            Start::Follow { wants_office: false }
                        }
                        Ended::Deposed { newer, in_flight } => {
                            tracing::error!(%newer, "deposed: another gateway has taken over writing to this bucket");
                            return self.depose(in_flight).await;
                        }
                    }
                }
                Start::Follow { wants_office } => {
                    let Some(fleet) = self.fleet.clone() else { return };
                    match Box::pin(self.follow(&fleet, &mut carried, wants_office)).await {
                        Next::Stop => return,
                        Next::TakeOffice => match Box::pin(self.take_office(&fleet)).await {
                            Ok(term) => Start::Lead(term),
                            Err(OpenError::Deposed) => Start::Follow { wants_office: false },
                            Err(error) => {
                                tracing::warn!(error = sentence(&error), "cannot become the committer");
                                Start::Follow { wants_office }
                            }
                        },
                    }
                }
            };
        }
    }

    /// Ends for good: what is in flight and whatever waits is refused. Whoever is refused sees the term ended.
    async fn depose(mut self, in_flight: Vec<Request>) {
        let _ = self.state.send(State::Deposed);
        answer(in_flight, || CommitError::Deposed);
        self.requests.close();
        while let Some(request) = self.requests.recv().await {
            let _ = request.answer.send(Err(CommitError::Deposed));
        }
    }

    async fn take_office(&self, fleet: &Fleet) -> Result<Term, OpenError> {
        let floor = fleet.naming().borrow().epoch_floor;
        tracing::info!("no committer is heard of, or this one is named: taking office");
        let Office { store, random, .. } = &self.office;
        let epoch = claim(store, random, floor).await?;
        let term = take_office(&self.office, epoch).await?;
        tracing::info!(%epoch, "this gateway orders now");
        Ok(term)
    }

    async fn follow(&mut self, fleet: &Fleet, carried: &mut Vec<Request>, wants_office: bool) -> Next {
        let Self {
            office,
            requests,
            state,
            stop,
            ..
        } = self;
        if let Ok(position) = office.index.position().await {
            fleet.reach(position);
        }
        fleet.sit(Seat::Following);
        state.send_replace(State::Following);
        tokio::select! {
            () = forward(fleet, &office.random, requests, carried, stop) => Next::Stop,
            () = decide(office, fleet, wants_office) => Next::TakeOffice,
            () = follow_log(office, fleet, state) => Next::Stop,
        }
    }
}

/// Applies what the committer tells and what the bucket shows, for ever.
async fn follow_log(office: &Office, fleet: &Fleet, state: &watch::Sender<State>) {
    let mut inbox = fleet.inbox().await;
    let mut poll_at = Instant::now();
    let mut told = None;
    let mut backoff = Backoff::default();
    loop {
        tokio::select! {
            incoming = inbox.recv() => {
                let Some(Incoming { tell, applied }) = incoming else { return };
                told = Some(tell.acknowledged);
                match hear(office, &tell).await {
                    Ok(position) => {
                        fleet.reach(position);
                        if position.is_none_or(|position| position.place < tell.acknowledged.place) {
                            poll_at = Instant::now();
                        }
                    }
                    Err(error) => {
                        tracing::warn!(error = sentence(&error), "what the committer told cannot be applied");
                        poll_at = Instant::now();
                    }
                }
                let _ = applied.send(());
            }
            () = tokio::time::sleep_until(poll_at) => {
                match look(office, fleet, told).await {
                    Ok(()) => {
                        backoff = Backoff::default();
                        state.send_if_modified(|state| {
                            let stuck = *state == State::Stuck;
                            *state = State::Following;
                            stuck
                        });
                    }
                    Err(error @ OpenError::Bucket(_)) => {
                        tracing::warn!(error = sentence(&error), "cannot look for news in the bucket");
                        backoff.pause(&office.random).await;
                    }
                    Err(error) => {
                        tracing::error!(error = sentence(&error), "the log cannot be followed");
                        state.send_replace(State::Stuck);
                        backoff.pause(&office.random).await;
                    }
                }
                let pause = if fleet.is_lively() { RARELY } else { POLL };
                poll_at = Instant::now() + pause;
            }
            // Silence ends the long pause.
            () = silence(fleet), if poll_at > Instant::now() + POLL => poll_at = Instant::now(),
        }
    }
}

async fn silence(fleet: &Fleet) {
    let end = fleet.heard_at().map_or_else(Instant::now, |at| at + LIVELY);
    tokio::time::sleep_until(end.max(Instant::now() + Duration::from_millis(100))).await;
}

async fn look(office: &Office, fleet: &Fleet, told: Option<Position>) -> Result<(), OpenError> {
    // Cut short it goes on from where it came to.
    if let Ok(synced) = tokio::time::timeout(LOOK_PATIENCE, office.sync(told)).await {
        synced?;
    }
    fleet.reach(office.index.position().await.map_err(OpenError::Index)?);
    Ok(())
}

/// Applies the objects that the committer told, as far as they follow what is here.
async fn hear(office: &Office, tell: &Tell) -> Result<Option<Position>, OpenError> {
    let mut at = office.index.position().await.map_err(OpenError::Index)?;
    for (place, bytes) in &tell.objects {
        if at.is_some_and(|at| at.place >= *place) {
            continue;
        }
        let (object, position) = LogObject::decode(*place, bytes, &office.signer).map_err(OpenError::Log)?;
        let follows = object.before == at.map_or(Digest::ZERO, |at| at.digest);
        if !follows || *place > tell.acknowledged.place {
            break;
        }
        office
            .try_show(&object.records, position)
            .await
            .map_err(OpenError::Show)?;
        at = Some(position);
    }
    Ok(at)
}

/// Whether the committer gives signs of life by the bucket, while nobody hears any from it by a link.
async fn seems_alive(office: &Office, fleet: &Fleet) -> bool {
    let shown = office.index.position().await.ok().flatten();
    let Some(epoch) = shown
        .map(|position| position.place.epoch)
        .max(fleet.heard_epoch())
    else {
        return false;
    };
    let before = sign_of_life(&office.store, epoch).await;
    tokio::time::sleep(SIGN).await;
    let now = sign_of_life(&office.store, epoch).await;
    now.is_some() && now != before
}

/// Returns when it is time to take office.
async fn decide(office: &Office, fleet: &Fleet, wants_office: bool) {
    let mut naming = fleet.naming();
    let _ = naming.borrow_and_update();
    let begin = Instant::now();
    let mut wants_office = wants_office;
    let chance = || f64::from(u32::from_le_bytes(office.random.bytes())) / f64::from(u32::MAX);
    loop {
        let rule = naming.borrow().committer;
        let decided = async {
            match rule {
                Rule::No => std::future::pending().await,
                Rule::Yes if wants_office => {
                    tokio::time::sleep(POLL.mul_f64(chance())).await;
                }
                Rule::Yes | Rule::Auto => loop {
                    let heard = fleet.heard_at().map_or(begin, |at| at.max(begin));
                    tokio::time::sleep_until(heard + LIVELY).await;
                    if fleet.is_lively() {
                        continue;
                    }
                    match judge(fleet.name(), &fleet.survey(SURVEY).await, chance()) {
                        Judgement::Led => tokio::time::sleep(SURVEY).await,
                        Judgement::Wait(time) => {
                            if seems_alive(office, fleet).await {
                                continue;
                            }
                            tokio::time::sleep(time).await;
                            let again = judge(fleet.name(), &fleet.survey(SURVEY).await, chance());
                            if !fleet.is_lively() && again != Judgement::Led {
                                return;
                            }
                        }
                    }
                },
            }
        };
        tokio::select! {
            () = decided => return,
            changed = naming.changed() => {
                if changed.is_err() {
                    // Nobody renames any more.
                    return std::future::pending().await;
                }
                wants_office = true;
            }
        }
    }
}
