//! The committer's way to the others: each object that counts is told at once to all that can be reached, and those
//! that answer are waited for, but not for long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hayloft_store::key::{EpochId, LogPlace, ObjectKey, Position};
use hayloft_store::object::SharedStore;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::Fleet;
use super::peer::Peer;
use super::wire::Tell;
use crate::depot::error::sentence;

/// Objects that may wait for a gateway; who falls further behind reads the bucket.
const QUEUE: usize = 64;
/// Bytes of objects that are told at once.
const BATCH: usize = 4 * 1024 * 1024;
/// The pause between signs of life.
const BEAT: Duration = Duration::from_secs(1);
/// The pause between signs of life in the bucket.
const BEACON: Duration = Duration::from_millis(1_500);
/// The longest that an acknowledgement waits for another gateway. Whoever is late is not waited for again until it has
/// caught up, so one that hangs costs this once.
const COURTESY: Duration = Duration::from_secs(1);

type Object = (Position, Bytes);

/// Tasks that tell the others. They end when this is dropped.
pub(in crate::depot) struct Outbound {
    links: Vec<Link>,
    _beacon: AbortOnDropHandle<()>,
}

struct Link {
    queue: mpsc::Sender<Object>,
    /// Up to where the gateway shows the log, and whether it keeps up.
    state: watch::Receiver<Reach>,
    /// It was waited for in vain, and did not answer since.
    late: Arc<AtomicBool>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Reach {
    keeps_up: bool,
    place: Option<LogPlace>,
}

impl Reach {
    fn is_at(self, place: LogPlace) -> bool {
        self.place.is_some_and(|own| own >= place)
    }
}

impl Outbound {
    /// Begins to tell all other gateways, for a committer whose opening counts.
    pub(in crate::depot) fn start(fleet: &Fleet, store: SharedStore, epoch: EpochId) -> Self {
        let links: Vec<Link> = fleet
            .inner
            .peers
            .iter()
            .map(|peer| {
                let (queue, objects) = mpsc::channel(QUEUE);
                let (reach, state) = watch::channel(Reach::default());
                let late = Arc::new(AtomicBool::new(false));
                let task = run(
                    fleet.clone(),
                    Arc::clone(peer),
                    epoch,
                    objects,
                    reach,
                    Arc::clone(&late),
                );
                Link {
                    queue,
                    state,
                    late,
                    _task: AbortOnDropHandle::new(tokio::spawn(task)),
                }
            })
            .collect();
        let states = links.iter().map(|link| link.state.clone()).collect();
        let beacon = tokio::spawn(beacon(fleet.clone(), store, epoch, states));
        Self {
            links,
            _beacon: AbortOnDropHandle::new(beacon),
        }
    }

    /// Tells an object that counts, and waits a little until those that keep up show it.
    pub(in crate::depot) async fn spread(&self, position: Position, bytes: Bytes) {
        let deadline = Instant::now() + COURTESY;
        let mut waiting = Vec::new();
        for link in &self.links {
            let sent = link.queue.try_send((position, bytes.clone())).is_ok();
            if sent && link.state.borrow().keeps_up && !link.late.load(Ordering::Relaxed) {
                waiting.push((link.state.clone(), &link.late));
            }
        }
        for (mut state, late) in waiting {
            let shows = state.wait_for(|reach| !reach.keeps_up || reach.is_at(position.place));
            if timeout_at(deadline, shows).await.is_err() {
                late.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Whether all other gateways said that they show the log up to there.
    pub(in crate::depot) fn all_know(&self, position: Option<Position>) -> bool {
        position.is_none_or(|position| {
            self.links
                .iter()
                .all(|link| link.state.borrow().is_at(position.place))
        })
    }
}

/// Gives signs of life by the bucket as long as a gateway cannot be told anything.
async fn beacon(fleet: Fleet, store: SharedStore, epoch: EpochId, states: Vec<watch::Receiver<Reach>>) {
    let key = ObjectKey::Alive(epoch).to_string();
    for beat in 0_u64.. {
        tokio::time::sleep(BEACON).await;
        let unreached = states.iter().any(|state| state.borrow().place.is_none());
        if unreached && fleet.is_able() {
            // Who gives none is taken for dead, which does no harm.
            let _ = store.put(&key, Bytes::from(beat.to_string())).await;
        }
    }
}

async fn run(
    fleet: Fleet,
    peer: Arc<Peer>,
    epoch: EpochId,
    mut objects: mpsc::Receiver<Object>,
    reach: watch::Sender<Reach>,
    late: Arc<AtomicBool>,
) {
    let mut told: Option<Position> = None;
    loop {
        // The first sign of life is given at once.
        let first = match told {
            None => None,
            Some(_) => match timeout(BEAT, objects.recv()).await {
                Ok(None) => return,
                Ok(object) => object,
                Err(_) => None,
            },
        };
        let mut size = 0;
        let mut batch = Vec::new();
        let mut newest = later(fleet.inner.own.borrow().position, told);
        let mut next = first;
        while let Some((position, bytes)) = next {
            size += bytes.len();
            newest = Some(position);
            batch.push((position.place, bytes.to_vec()));
            next = if size < BATCH {
                objects.try_recv().ok()
            } else {
                None
            };
        }
        // A committer that cannot order is silent, so that another takes over.
        let Some(acknowledged) = newest.filter(|_| fleet.is_able()) else {
            tokio::time::sleep(BEAT).await;
            continue;
        };
        told = Some(acknowledged);
        let tell = Tell {
            from: fleet.inner.instance,
            epoch,
            acknowledged,
            objects: batch,
        };
        match peer.tell(&tell).await {
            Ok(answer) => {
                if let Some(newer) = answer.newer {
                    fleet.hears(newer);
                }
                let place = answer.position.map(|position| position.place);
                let keeps_up = answer.newer.is_none() && place >= Some(acknowledged.place);
                let was = reach.send_replace(Reach { keeps_up, place });
                if keeps_up {
                    late.store(false, Ordering::Relaxed);
                }
                if keeps_up != was.keeps_up {
                    tracing::debug!(gateway = peer.name(), keeps_up, "told");
                }
            }
            Err(error) => {
                let was = reach.send_replace(Reach::default());
                if was.keeps_up {
                    tracing::warn!(error = sentence(&error), "a gateway cannot be told what counts");
                }
                tokio::time::sleep(BEAT / 2).await;
            }
        }
    }
}

/// The later of two positions of one log.
fn later(one: Option<Position>, other: Option<Position>) -> Option<Position> {
    match (one, other) {
        (Some(a), Some(b)) if b.place > a.place => Some(b),
        (None, b) => b,
        (a, _) => a,
    }
}
