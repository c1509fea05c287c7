//! The other gateways of the bucket: what they are asked and told, and what this one knows of them.
//!
//! Nothing here is needed for safety. The bucket decides who may order; links only make it quick, and carry requests.

mod answered;
mod doors;
mod outbound;
mod peer;
mod relay;
mod tls;
pub(super) mod wire;

pub(super) use outbound::Outbound;
pub(super) use wire::Seat;

pub use tls::{LinkFiles, LinkTls, TlsError};

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hayloft_store::key::{EpochId, Position};
use hayloft_store::log::object::VERSION;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use url::Url;

use self::answered::Answered;
use self::peer::{LinkError, Peer};
use self::relay::Ready;
use self::wire::{Answer, Status, Tell};
use super::committer::{Committer, State};

/// Tells that may wait to be applied.
const INBOX: usize = 64;
/// How old a sign of life of the committer may be.
pub(super) const LIVELY: Duration = Duration::from_secs(3);

/// Who takes office.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Rule {
    /// Whoever is there first when no committer is heard of.
    #[default]
    Auto,
    /// This one.
    Yes,
    /// Another one.
    No,
}

/// Who is named the committer, as far as this gateway is told; may change while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Naming {
    /// Whether this one takes office.
    pub committer: Rule,
    /// An epoch that it claims has at least this number.
    pub epoch_floor: u64,
}

/// Another gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerConfig {
    /// What people call it.
    pub name: String,
    /// Where its link listens.
    pub url: Url,
}

/// The other gateways of a bucket. Cheap to clone.
#[derive(Clone)]
pub struct Fleet {
    inner: Arc<Inner>,
}

/// The committer, as this gateway heard of it.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    epoch: Option<EpochId>,
    from: u64,
    at: Option<Instant>,
}

/// What this gateway shows of itself.
#[derive(Clone, Copy, Debug)]
struct Own {
    seat: Seat,
    position: Option<Position>,
}

struct Inner {
    name: Option<String>,
    instance: u64,
    peers: Vec<Arc<Peer>>,
    naming: watch::Receiver<Naming>,
    /// The latest format of log objects that this gateway reads and says that it reads.
    reads: u32,
    own: watch::Sender<Own>,
    heard: watch::Sender<Heard>,
    /// The epoch's number of the last hearsay that was looked into.
    looked_into: AtomicU64,
    inbox: mpsc::Sender<Incoming>,
    reading: tokio::sync::Mutex<mpsc::Receiver<Incoming>>,
    committer: Mutex<Option<Committer>>,
    answered: Answered,
    ready: Ready,
}

/// What the committer told, and whoever waits until it is applied.
pub(super) struct Incoming {
    pub(super) tell: Tell,
    pub(super) applied: oneshot::Sender<()>,
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet")
            .field("peers", &self.inner.peers.len())
            .finish_non_exhaustive()
    }
}

impl Fleet {
    /// The gateway `name` among `peers`. `instance` is random for each start.
    #[must_use]
    pub fn new(
        name: Option<String>,
        instance: u64,
        peers: Vec<PeerConfig>,
        tls: &LinkTls,
        naming: watch::Receiver<Naming>,
    ) -> Self {
        let (inbox, reading) = mpsc::channel(INBOX);
        let peers = peers
            .into_iter()
            .map(|peer| Arc::new(Peer::new(peer, tls.clone())))
            .collect();
        let own = Own {
            seat: Seat::Opening,
            position: None,
        };
        Self {
            inner: Arc::new(Inner {
                name,
                instance,
                peers,
                naming,
                reads: VERSION,
                own: watch::channel(own).0,
                heard: watch::channel(Heard::default()).0,
                looked_into: AtomicU64::new(0),
                inbox,
                reading: tokio::sync::Mutex::new(reading),
                committer: Mutex::new(None),
                answered: Answered::default(),
                ready: Ready::default(),
            }),
        }
    }

    /// Who is named the committer.
    pub(super) fn naming(&self) -> watch::Receiver<Naming> {
        self.inner.naming.clone()
    }

    /// Gives those who ask a way to the committer of this gateway.
    pub(super) fn serve(&self, committer: Committer) {
        *self.committer() = Some(committer);
    }

    /// Says what this gateway is now.
    pub(super) fn sit(&self, seat: Seat) {
        self.inner.own.send_modify(|own| own.seat = seat);
    }

    /// Says up to where this gateway shows the log.
    pub(super) fn reach(&self, position: Option<Position>) {
        self.inner.own.send_modify(|own| own.position = position);
    }

    /// Waits until this gateway shows the log up to there.
    pub(super) async fn reached(&self, position: Position) {
        let mut own = self.inner.own.subscribe();
        let there = own.wait_for(|own| own.position.is_some_and(|own| own.place >= position.place));
        // The sender lives as long as `self`.
        let _ = there.await;
    }

    /// What the committer tells.
    pub(super) async fn inbox(&self) -> tokio::sync::MutexGuard<'_, mpsc::Receiver<Incoming>> {
        self.inner.reading.lock().await
    }

    /// The latest format of log objects that every gateway is known to read.
    pub(super) fn log_format(&self) -> u32 {
        let known = self.inner.peers.iter().map(|peer| peer.log_format().unwrap_or(1));
        known.min().unwrap_or(self.inner.reads).min(self.inner.reads)
    }

    /// Makes it one that reads only this format of log objects, as earlier versions do.
    #[cfg(test)]
    pub(super) fn that_reads(self, format: u32) -> Self {
        let Some(mut inner) = Arc::into_inner(self.inner) else {
            unreachable!("it is in use");
        };
        inner.reads = format;
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The other gateways that cannot be reached by a link.
    pub(super) async fn lost(&self) -> Vec<String> {
        let looked = self.inner.peers.iter().map(async |peer| {
            let lost = peer.is_lost().await;
            lost.then(|| peer.name().to_owned())
        });
        futures::future::join_all(looked)
            .await
            .into_iter()
            .flatten()
            .collect()
    }

    /// When the committer was heard of last.
    pub(super) fn heard_at(&self) -> Option<Instant> {
        self.inner.heard.borrow().at
    }

    /// Whether the committer gave a sign of life within the last seconds.
    pub(super) fn is_lively(&self) -> bool {
        self.heard_at().is_some_and(|at| at.elapsed() < LIVELY)
    }

    /// Waits for hearsay of an epoch above `epoch` that was not looked into before.
    pub(super) async fn hears_of_newer(&self, epoch: EpochId) {
        let mut heard = self.inner.heard.subscribe();
        let looked_into = &self.inner.looked_into;
        let newer = heard.wait_for(|heard| {
            heard
                .epoch
                .is_some_and(|heard| heard > epoch && heard.number > looked_into.load(Ordering::Relaxed))
        });
        if let Ok(heard) = newer.await
            && let Some(epoch) = heard.epoch
        {
            looked_into.store(epoch.number, Ordering::Relaxed);
        }
    }

    /// Notes an epoch that somebody speaks of, without a sign of life.
    fn hears(&self, epoch: EpochId) {
        self.inner.heard.send_if_modified(|heard| {
            let newer = heard.epoch < Some(epoch);
            if newer {
                *heard = Heard {
                    epoch: Some(epoch),
                    from: 0,
                    at: heard.at,
                };
            }
            newer
        });
    }

    /// Notes a sign of life of a committer. False when a newer one is known.
    fn hears_from(&self, epoch: EpochId, from: u64) -> bool {
        let mut newest = true;
        self.inner.heard.send_modify(|heard| {
            newest = heard.epoch <= Some(epoch);
            if newest {
                *heard = Heard {
                    epoch: Some(epoch),
                    from,
                    at: Some(Instant::now()),
                };
            }
        });
        newest
    }

    fn status(&self) -> Status {
        let own = *self.inner.own.borrow();
        let heard = *self.inner.heard.borrow();
        let seat = match own.seat {
            // Others may take office then.
            Seat::Leading { .. } if !self.is_able() => Seat::Following,
            seat => seat,
        };
        Status {
            instance: self.inner.instance,
            name: self.inner.name.clone(),
            seat,
            position: own.position,
            log_format: self.inner.reads,
            hears: heard.epoch.filter(|_| self.is_lively()),
            may_lead: self.inner.naming.borrow().committer != Rule::No && own.seat != Seat::Opening,
        }
    }

    /// Whether this gateway can do what it is to do; a committer that struggles with the bucket cannot.
    fn is_able(&self) -> bool {
        self.committer()
            .as_ref()
            .is_none_or(|committer| committer.state() != State::Struggling)
    }

    /// The newest epoch that this gateway heard of.
    pub(super) fn heard_epoch(&self) -> Option<EpochId> {
        self.inner.heard.borrow().epoch
    }

    /// Asks all other gateways how they are; those that answer within `patience`.
    pub(super) async fn survey(&self, patience: Duration) -> Vec<Status> {
        let asked = self.inner.peers.iter().map(|peer| peer.status(patience));
        let statuses: Vec<Status> = futures::future::join_all(asked)
            .await
            .into_iter()
            .flatten()
            .collect();
        for status in &statuses {
            if let Seat::Leading { epoch } = status.seat {
                self.hears_from(epoch, status.instance);
            }
        }
        statuses
    }

    /// Has requests ordered by the committer; by way of another gateway when this one cannot reach it.
    ///
    /// # Errors
    /// When nobody is known to be it, or it gives no answer; then nobody knows what became of them.
    pub(super) async fn ask(&self, requests: Bytes) -> Result<Answer, LinkError> {
        let answer = self.ask_leader(requests.clone()).await;
        if matches!(answer, Ok(Answer::Done { .. })) {
            return answer;
        }
        // Each request has an id, so one that did reach the committer is not ordered twice.
        for peer in &self.inner.peers {
            let status = peer.status(peer::SOON).await;
            if status.is_none_or(|status| status.hears.is_none()) {
                continue;
            }
            if let Ok(done @ Answer::Done { .. }) = peer.ask_through(requests.clone()).await {
                return Ok(done);
            }
        }
        answer
    }

    /// Asks the committer itself.
    async fn ask_leader(&self, requests: Bytes) -> Result<Answer, LinkError> {
        let leader = self.leader().await.ok_or(LinkError::Nobody)?;
        let answer = leader.ask(requests).await;
        if !matches!(answer, Ok(Answer::Done { .. })) {
            // It may be gone: look around before the next try.
            self.inner.heard.send_modify(|heard| heard.from = 0);
        }
        answer
    }

    /// What this gateway calls itself.
    pub(super) fn name(&self) -> Option<&str> {
        self.inner.name.as_deref()
    }

    /// The gateway that is the committer, as far as is known.
    async fn leader(&self) -> Option<Arc<Peer>> {
        let find = || {
            let from = self.inner.heard.borrow().from;
            self.inner.peers.iter().find(|peer| peer.is(from)).cloned()
        };
        if let Some(peer) = find().filter(|_| self.is_lively()) {
            return Some(peer);
        }
        self.survey(peer::SOON).await;
        find().filter(|_| self.is_lively())
    }

    fn committer(&self) -> std::sync::MutexGuard<'_, Option<Committer>> {
        self.inner
            .committer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
