//! Packs that are being filled. Uploads under way together share one; it is PUT when it is full, or when an upload
//! that has ended waits for it.
//!
//! Memory: one open pack and at most [`PUTS`] in flight, each of about [`pack::TARGET`] bytes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hayloft_index::KnownFrame;
use hayloft_store::Digest;
use hayloft_store::frame::Frame;
use hayloft_store::key::{ObjectKey, PackName};
use hayloft_store::log::record::{PackRecord, Record};
use hayloft_store::object::{ObjectError, SharedStore};
use hayloft_store::pack::{self, PackBuilder};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use super::backoff::Backoff;
use super::committer::{Committer, Pending};
use super::dying::may_die;
use super::random::Random;
use crate::metrics::{names, stage};

/// PUTs in flight; more were measured to change nothing.
const PUTS: usize = 3;
/// How long a pack that somebody waits for stays open while others are still writing.
const COMPANY: Duration = Duration::from_millis(4);
/// How often a pack's PUT is tried, each try going round all endpoints several times.
const TRIES: u32 = 4;

/// What became of a pack; none: it is open or in flight.
type Outcome = Option<Result<(), String>>;

/// A promise that a pack's frames will be stored, and registered before anything that is committed later.
#[derive(Clone)]
pub(super) struct Ticket {
    id: u64,
    outcome: watch::Receiver<Outcome>,
}

impl Ticket {
    /// Which pack it is for.
    pub(super) const fn id(&self) -> u64 {
        self.id
    }

    /// Waits until the pack is stored and its record lies in the committer's queue.
    pub(super) async fn stored(mut self) -> Result<(), String> {
        match self.outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Ok(())),
            Err(_) => Err("the gateway is stopping".to_owned()),
        }
    }
}

struct Open {
    id: u64,
    builder: PackBuilder,
    outcome: watch::Sender<Outcome>,
    /// An upload has ended and waits for it.
    wanted: bool,
}

struct Shared {
    open: Open,
    /// Pieces whose packs are not registered yet.
    on_the_way: HashMap<Digest, (KnownFrame, Ticket)>,
}

/// The packer.
pub(super) struct Packer {
    shared: Mutex<Shared>,
    puts: Arc<Semaphore>,
    wake: Notify,
    /// Uploads that may still bring frames.
    writers: AtomicUsize,
    store: SharedStore,
    committer: Committer,
    random: Arc<Random>,
}

/// An upload that may still bring frames, as long as it lives.
pub(super) struct Writer(Arc<Packer>);

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.writers.fetch_sub(1, Ordering::Relaxed);
    }
}

fn fresh(id: u64) -> Open {
    Open {
        id,
        builder: PackBuilder::default(),
        outcome: watch::channel(None).0,
        wanted: false,
    }
}

impl Packer {
    pub(super) fn new(store: SharedStore, committer: Committer, random: Arc<Random>) -> Arc<Self> {
        Arc::new(Self {
            shared: Mutex::new(Shared {
                open: fresh(0),
                on_the_way: HashMap::new(),
            }),
            puts: Arc::new(Semaphore::new(PUTS)),
            wake: Notify::new(),
            writers: AtomicUsize::new(0),
            store,
            committer,
            random,
        })
    }

    /// The task that closes packs which somebody waits for.
    pub(super) async fn run(self: Arc<Self>) {
        loop {
            self.wake.notified().await;
            if self.writers.load(Ordering::Relaxed) > 0 {
                tokio::time::sleep(COMPANY).await;
            }
            // While all PUTs are busy, the pack goes on filling.
            let Ok(permit) = Arc::clone(&self.puts).acquire_owned().await else {
                return;
            };
            let mut shared = self.lock();
            if shared.open.wanted {
                self.seal(&mut shared, permit);
            }
        }
    }

    pub(super) fn writer(self: &Arc<Self>) -> Writer {
        self.writers.fetch_add(1, Ordering::Relaxed);
        Writer(Arc::clone(self))
    }

    /// Which of `pieces` are on their way already.
    pub(super) fn on_the_way(&self, pieces: &[Digest]) -> HashMap<Digest, (KnownFrame, Ticket)> {
        let shared = self.lock();
        if shared.on_the_way.is_empty() {
            return HashMap::new();
        }
        pieces
            .iter()
            .filter_map(|piece| Some((*piece, shared.on_the_way.get(piece)?.clone())))
            .collect()
    }

    /// Appends a run of frames to the open pack; they lie together. Waits while too much is in flight.
    pub(super) async fn append(self: &Arc<Self>, run: &[Frame]) -> Result<Ticket, String> {
        loop {
            {
                let mut shared = self.lock();
                if shared.open.builder.size() >= pack::TARGET
                    && let Ok(permit) = Arc::clone(&self.puts).try_acquire_owned()
                {
                    self.seal(&mut shared, permit);
                }
                if shared.open.builder.size() < pack::TARGET {
                    return Ok(self.add(&mut shared, run));
                }
            }
            let permit = Arc::clone(&self.puts).acquire_owned().await;
            let permit = permit.map_err(|_| "the gateway is stopping".to_owned())?;
            let mut shared = self.lock();
            if shared.open.builder.size() >= pack::TARGET {
                self.seal(&mut shared, permit);
            }
        }
    }

    /// An upload has ended and waits for the pack of `ticket`.
    pub(super) fn want(&self, ticket: &Ticket) {
        let mut shared = self.lock();
        if shared.open.id == ticket.id {
            shared.open.wanted = true;
            self.wake.notify_one();
        }
    }

    fn add(self: &Arc<Self>, shared: &mut Shared, run: &[Frame]) -> Ticket {
        let open = &mut shared.open;
        open.builder.append(run);
        let ticket = Ticket {
            id: open.id,
            outcome: open.outcome.subscribe(),
        };
        for frame in run {
            let stored = u32::try_from(frame.stored.len()).unwrap_or(u32::MAX);
            let known = KnownFrame {
                frame: frame.frame,
                stored,
                raw: frame.raw,
            };
            shared.on_the_way.insert(frame.piece, (known, ticket.clone()));
        }
        if open.builder.size() >= pack::TARGET
            && let Ok(permit) = Arc::clone(&self.puts).try_acquire_owned()
        {
            self.seal(shared, permit);
        }
        ticket
    }

    fn seal(self: &Arc<Self>, shared: &mut Shared, permit: OwnedSemaphorePermit) {
        let next = fresh(shared.open.id + 1);
        let full = std::mem::replace(&mut shared.open, next);
        let packer = Arc::clone(self);
        tokio::spawn(async move { packer.store(full, permit).await });
    }

    async fn store(&self, open: Open, permit: OwnedSemaphorePermit) {
        let Open {
            id, builder, outcome, ..
        } = open;
        let (bytes, frames) = builder.finish();
        let pieces: Vec<Digest> = frames.iter().map(|frame| frame.piece).collect();
        let name = PackName(self.random.bytes());
        let stored = match tokio::task::spawn_blocking(move || (Digest::of(&bytes), Bytes::from(bytes))).await
        {
            Ok((digest, bytes)) => {
                let record = PackRecord {
                    name,
                    digest,
                    size: bytes.len() as u64,
                    frames,
                };
                self.put(name, bytes, record).await
            }
            Err(_) => Err("a pack could not be hashed".to_owned()),
        };
        // The pack's memory is free again; its record is not what is scarce.
        drop(permit);
        let registered = match stored {
            Ok(pending) => {
                outcome.send_replace(Some(Ok(())));
                pending.done().await.map_err(|error| error.to_string())
            }
            Err(error) => {
                outcome.send_replace(Some(Err(error.clone())));
                Err(error)
            }
        };
        if let Err(error) = registered {
            tracing::warn!(pack = %name, error, "a pack was not registered");
        }
        // From here on the index knows them, or nobody does.
        let mut shared = self.lock();
        for piece in pieces {
            if shared
                .on_the_way
                .get(&piece)
                .is_some_and(|(_, ticket)| ticket.id() == id)
            {
                shared.on_the_way.remove(&piece);
            }
        }
    }

    async fn put(&self, name: PackName, bytes: Bytes, record: PackRecord) -> Result<Pending, String> {
        may_die!("push.pack-ready");
        let key = ObjectKey::Pack(name).to_string();
        let mut backoff = Backoff::default();
        let mut tries = 1;
        while let Err(error) = stage("put", self.store.put(&key, bytes.clone())).await {
            let hopeless = matches!(error, ObjectError::Refused { .. });
            if tries == TRIES || hopeless {
                return Err(format!(
                    "the bucket takes no data: {}",
                    super::error::sentence(&error)
                ));
            }
            tries += 1;
            backoff.pause(&self.random).await;
        }
        may_die!("push.pack-stored");
        metrics::counter!(names::STORED_BYTES).increment(bytes.len() as u64);
        self.committer
            .submit(vec![Record::PackAdded(record)])
            .await
            .map_err(|error| error.to_string())
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
