//! Starting a coordinator, and speaking to one that runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hayloft_api::agent::{HostDesired, HostReport};
use hayloft_api::question::{Answer, Question, Refusal as Refused};
use hayloft_api::status::{EventKind, Preview, Status};
use hayloft_api::{Document, HostName};
use hayloft_engine::{AskedFor, Invalid, Plan, Snapshot, plan, validate};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::act::Term;
use crate::leadership::{Candidacy, Leadership, Predecessor};
use crate::looper::{Kept, Loop};
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::pace::Pace;
use crate::reach::Reach;
use crate::snapshots::Snapshots;
use crate::store::{Store, StoreError};
use crate::tell::Teller;
use crate::words::{Reply, Word, WordError};

/// So many words may wait.
const WORDS: usize = 16;

/// The coordinator's end of the link to one agent. When the agent drops its end of `report`, it counts as gone.
#[derive(Debug, Clone)]
pub struct AgentLink {
    /// What the host shall run.
    pub desired: watch::Sender<Option<HostDesired>>,
    /// What it reports.
    pub report: watch::Receiver<HostReport>,
    /// What it is asked, and where the answer goes.
    pub questions: mpsc::Sender<(Question, oneshot::Sender<Result<Answer, Refused>>)>,
}

/// Links to all agents that can be talked to.
pub type Links = BTreeMap<HostName, AgentLink>;

/// All that a coordinator needs.
pub struct CoordinatorConfig {
    /// Its store.
    pub store: Store,
    /// The agents; may change while it runs.
    pub links: watch::Receiver<Links>,
    /// The document in force; may change while it runs. See [`Store::apply`].
    pub document: watch::Receiver<Document>,
    /// Tells the time.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// The zone that `rebalance.windows` are in.
    pub time_zone: TimeZone,
    /// 32 bytes of true randomness, other ones at each start.
    pub seed: [u8; 32],
}

/// Why a coordinator cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its store failed, or another coordinator has it.
    #[error("the coordinator cannot start")]
    Store(#[source] StoreError),
}

/// A running coordinator.
#[derive(Debug)]
pub struct Coordinator {
    status: watch::Receiver<Status>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    words: mpsc::Sender<Word>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Coordinator {
    /// Takes a new epoch and starts the loop as a task.
    ///
    /// # Errors
    /// When the store fails, or another coordinator uses it.
    pub async fn start(config: CoordinatorConfig) -> Result<Self, StartError> {
        let CoordinatorConfig {
            store,
            links,
            document,
            clock,
            time_zone,
            seed,
        } = config;
        let lock = store.lock().map_err(StartError::Store)?;
        let mut rng = StdRng::from_seed(seed);
        let mut fresh = || {
            let mut seed = [0; 32];
            rng.fill_bytes(&mut seed);
            seed
        };
        let (instance, pace_seed, promise_seed, secrets_seed) = (fresh(), fresh(), fresh(), fresh());
        let instance = hex::encode(instance.get(..16).unwrap_or_default());
        // Whoever wrote that down held the lock that is ours now, so it is gone. In a copy of a store stands somebody who may
        // well live.
        let written: Option<Predecessor> = store.json_fact("leader").await.map_err(StartError::Store)?;
        let place = lock.place();
        let predecessor = written.filter(|gone| !place.is_empty() && gone.lock == place);
        let epoch = store.take_epoch(0).await.map_err(StartError::Store)?;
        let now = clock();
        let mut memory = Memory::load(&store, now).await.map_err(StartError::Store)?;
        let short: String = instance.chars().take(8).collect();
        memory.events.tell(
            now,
            EventKind::Coordinator,
            format!("coordinator {short} starts, in term {epoch}"),
        );
        let teller = Teller::new(&document.borrow(), now);
        let (status_sender, status) = watch::channel(teller.first());
        let (snapshot_sender, snapshot) = watch::channel(Arc::new(Snapshot::empty(now)));
        let (words, heard) = mpsc::channel(WORDS);
        let stop = CancellationToken::new();
        let metrics = Arc::new(Metrics::new(memory.calls.clone()));
        let candidacy = Candidacy {
            epoch,
            instance: instance.clone(),
            voters: memory.voters(),
        };
        let leader = Predecessor {
            epoch,
            instance: instance.clone(),
            lock: place,
        };
        store
            .put_json_fact("leader", &leader)
            .await
            .map_err(StartError::Store)?;
        let looper = Loop {
            reach: Reach::start(links.clone()),
            leadership: Leadership::start(links.clone(), candidacy, predecessor, promise_seed),
            kept: Kept::new(&memory),
            store,
            lock,
            links,
            document,
            words: heard,
            clock,
            time_zone,
            memory,
            term: Term {
                epoch,
                instance,
                n: 0,
            },
            snapshots: Snapshots::default(),
            rng: StdRng::from_seed(secrets_seed),
            pace: Pace::new(pace_seed),
            teller,
            metrics: metrics.clone(),
            status: status_sender,
            snapshot: snapshot_sender,
            waited_for: None,
        };
        let task = tokio::spawn(looper.run(stop.clone()));
        Ok(Self {
            status,
            snapshot,
            words,
            metrics,
            stop,
            task,
        })
    }

    /// The cluster's status, renewed by every round.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// What would be done if `document` were in force, from what was last observed. Does nothing.
    ///
    /// # Errors
    /// When the facts contradict each other.
    pub fn plan(&self, document: &Document) -> Result<Plan, Invalid> {
        let snapshot = self.snapshot.borrow().clone();
        validate(document, &snapshot).map(|input| plan(&input))
    }

    /// What was last observed.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.borrow().clone()
    }

    /// What `document` would do to the layout, from Garage's own preview; `None`: nothing.
    ///
    /// # Errors
    /// When there can be no preview now, e.g. because something is staged or in flight.
    pub async fn preview(&self, document: &Document) -> Result<Option<Box<Preview>>, WordError> {
        self.say(|reply| Word::Preview(Box::new(document.clone()), reply))
            .await
    }

    /// Asks something of a host, beside the document. Kept until it is done or withdrawn.
    ///
    /// # Errors
    /// When the host is not known, or the store fails.
    pub async fn ask(&self, host: &HostName, what: AskedFor) -> Result<(), WordError> {
        self.say(|reply| Word::Ask(host.clone(), what, reply)).await
    }

    /// Takes back what was asked of a host.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn withdraw(&self, host: &HostName) -> Result<(), WordError> {
        self.say(|reply| Word::Withdraw(host.clone(), reply)).await
    }

    /// Says that the metadata of a host was put back from a snapshot: it is repaired when it is there again.
    ///
    /// # Errors
    /// When the host is not known, or the store fails.
    pub async fn restored(&self, host: &HostName) -> Result<(), WordError> {
        self.say(|reply| Word::Restored(host.clone(), reply)).await
    }

    /// Lets what only these hosts held be given up, where a layout version cannot settle without.
    ///
    /// # Errors
    /// When one of them is not known or is up, or the store fails.
    pub async fn allow_missing(&self, hosts: BTreeSet<HostName>) -> Result<(), WordError> {
        self.say(|reply| Word::MayLack(hosts, reply)).await
    }

    /// Renders all metrics as text for Prometheus. Can be called after it stopped.
    pub fn metrics(&self) -> Arc<dyn Fn() -> String + Send + Sync> {
        let (metrics, status) = (self.metrics.clone(), self.status.clone());
        Arc::new(move || metrics.render(&status.borrow()))
    }

    async fn say<T>(&self, word: impl FnOnce(Reply<T>) -> Word) -> Result<T, WordError> {
        let (reply, answer) = oneshot::channel();
        self.words
            .send(word(reply))
            .await
            .map_err(|_| WordError::Stopping)?;
        answer.await.map_err(|_| WordError::Stopping)?
    }

    /// Stops the loop, within about two seconds. What hosts run goes on, and the store stays open.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the coordinator's loop ended badly");
        }
    }

    /// Ends it as a crash would: at once, without a word to anybody. For tests.
    pub fn kill(self) {
        self.task.abort();
    }
}
