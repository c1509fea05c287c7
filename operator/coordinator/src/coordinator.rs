//! The loop: observe, validate, plan, check, act, tell. Woken by news, never fed by them: every round looks at
//! everything anew.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{pending, select_all};
use hayloft_api::agent::{HostDesired, HostReport};
use hayloft_api::question::{Answer, Question, Refusal as Refused};
use hayloft_api::status::Status;
use hayloft_api::{Document, HostName};
use hayloft_engine::{Invalid, Objection, Plan, Snapshot, Step, check, plan, validate};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::act::{ActError, Actor, Term};
use crate::observe::{self, Memory, Observation};
use crate::pace::{Pace, Pause, Round};
use crate::store::{Store, StoreError};
use crate::tell::{Outcome, Teller};

/// News that come together are looked at together.
const GATHER: Duration = Duration::from_millis(30);

/// How long a round may go on when the coordinator shall stop.
const LAST_ROUND: Duration = Duration::from_secs(2);

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
    /// Its store failed.
    #[error("the coordinator cannot start")]
    Store(#[source] StoreError),
}

/// A running coordinator.
#[derive(Debug)]
pub struct Coordinator {
    status: watch::Receiver<Status>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Coordinator {
    /// Takes a new epoch and starts the loop as a task.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn start(config: CoordinatorConfig) -> Result<Self, StartError> {
        let CoordinatorConfig {
            store,
            links,
            document,
            clock,
            time_zone,
            seed,
        } = config;
        let mut rng = StdRng::from_seed(seed);
        let mut bytes = [0; 48];
        rng.fill_bytes(&mut bytes);
        let (instance, jitter) = bytes.split_at(16);
        let mut pace_seed = [0; 32];
        pace_seed.copy_from_slice(jitter);
        let epoch = store.take_epoch(0).await.map_err(StartError::Store)?;
        let now = clock();
        let memory = Memory::load(&store, now).await.map_err(StartError::Store)?;
        let teller = Teller::new(&document.borrow(), now);
        let (status_sender, status) = watch::channel(teller.first());
        let (snapshot_sender, snapshot) = watch::channel(Arc::new(Snapshot::empty(now)));
        let stop = CancellationToken::new();
        let looper = Loop {
            store,
            links,
            document,
            clock,
            time_zone,
            memory,
            term: Term {
                epoch,
                instance: hex::encode(instance),
                n: 0,
            },
            pace: Pace::new(pace_seed),
            teller,
            status: status_sender,
            snapshot: snapshot_sender,
            waited_for: None,
        };
        tracing::info!(epoch, "the coordinator starts");
        let task = tokio::spawn(looper.run(stop.clone()));
        Ok(Self {
            status,
            snapshot,
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

    /// Stops the loop, within about two seconds. What hosts run goes on, and the store stays open.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the coordinator's loop ended badly");
        }
    }
}

struct Loop {
    store: Store,
    links: watch::Receiver<Links>,
    document: watch::Receiver<Document>,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    time_zone: TimeZone,
    memory: Memory,
    term: Term,
    pace: Pace,
    teller: Teller,
    status: watch::Sender<Status>,
    snapshot: watch::Sender<Arc<Snapshot>>,
    waited_for: Option<Vec<hayloft_engine::Waiting>>,
}

impl Loop {
    async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let mut links = self.links.borrow_and_update().clone();
            let overdue = async {
                stop.cancelled().await;
                tokio::time::sleep(LAST_ROUND).await;
            };
            // A round that was begun may end; one that hangs is left, and what it staged is mended at the next start.
            let round = tokio::select! {
                round = self.round(&mut links) => round,
                () = overdue => break,
            };
            let pause = self.pace.after(round);
            tokio::select! {
                () = stop.cancelled() => {}
                woken = self.rest(pause, &mut links) => {
                    if woken {
                        self.pace.restart_patience();
                    }
                }
            }
        }
    }

    /// One round: everything is looked at, and what can be done is done.
    async fn round(&mut self, links: &mut Links) -> Round {
        let now = (self.clock)();
        let document = self.document.borrow_and_update().clone();
        let mut outcome = Outcome::default();
        if let Err(error) = self.listen(links, &document, now).await {
            outcome.fail("remember the hosts", &error);
        }
        let observation = self.look(&mut outcome, now).await;
        let minute = now.to_zoned(self.time_zone.clone()).time();
        let minute = u16::from(minute.hour().unsigned_abs()) * 60 + u16::from(minute.minute().unsigned_abs());
        let snapshot = observe::snapshot(&mut self.memory, observation.as_ref(), now, minute);
        let decided = decide(&document, &snapshot);
        let plan = match decided {
            Ok(plan) => plan,
            Err(refusal) => {
                outcome.refuse(refusal);
                Plan::default()
            }
        };
        for planned in &plan.steps {
            tracing::info!(step = %planned.step, reason = %planned.reason, "acting");
            let actor = Actor {
                document: &document,
                snapshot: &snapshot,
                links,
                store: &self.store,
                memory: &mut self.memory,
                term: &mut self.term,
                now,
            };
            match act(actor, &planned.step).await {
                Ok(()) => {}
                Err(error @ ActError::Unconnected { .. }) => outcome.unconnected(&error),
                Err(error) => outcome.fail(&planned.step.to_string(), &error),
            }
        }
        let status = self.teller.tell(
            &document,
            &snapshot,
            observation.as_ref(),
            &self.memory,
            &plan,
            &outcome,
        );
        self.status.send_replace(status);
        self.snapshot.send_replace(Arc::new(snapshot));
        self.verdict(&plan, &outcome)
    }

    fn verdict(&mut self, plan: &Plan, outcome: &Outcome) -> Round {
        if self.waited_for.as_ref() != Some(&plan.waiting) {
            self.pace.restart_patience();
            self.waited_for = Some(plan.waiting.clone());
        }
        if !outcome.is_good() {
            Round::Failed
        } else if plan
            .steps
            .iter()
            .any(|planned| !matches!(planned.step, Step::Connect { .. }))
        {
            Round::Busy
        } else if !plan.is_done() {
            Round::Waiting
        } else {
            Round::Idle
        }
    }

    /// Takes in reports. An agent that follows a later term, or another coordinator of this one, shows that this
    /// coordinator's store is behind: it begins a term above that, and tells every host anew.
    async fn listen(
        &mut self,
        links: &mut Links,
        document: &Document,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        observe::hear(&mut self.memory, links, document, &self.store, now).await?;
        let later = self
            .memory
            .heard
            .values()
            .filter_map(|heard| heard.report.generation.as_ref())
            .filter(|followed| {
                followed.epoch > self.term.epoch
                    || (followed.epoch == self.term.epoch && followed.instance != self.term.instance)
            })
            .map(|followed| followed.epoch)
            .max();
        if let Some(epoch) = later {
            self.term.epoch = self.store.take_epoch(epoch).await?;
            self.term.n = 0;
            self.memory.told.clear();
            tracing::warn!(
                epoch = self.term.epoch,
                "hosts follow a later term; a new one begins"
            );
        }
        Ok(())
    }

    async fn look(&mut self, outcome: &mut Outcome, now: Timestamp) -> Option<Observation> {
        let secrets = self.store.secrets();
        let looked = observe::look(
            &mut self.memory,
            &secrets.admin_token,
            &secrets.access_key_id,
            now,
        )
        .await;
        match looked {
            Ok(None) => None,
            Ok(Some(observation)) => {
                let kept = observe::remember(&mut self.memory, &observation, &self.store, now).await;
                if let Err(error) = kept {
                    outcome.fail("remember what was observed", &error);
                }
                Some(observation)
            }
            Err(error) => {
                outcome.unobserved(&error);
                None
            }
        }
    }

    /// Waits for the end of the pause or for news; whether it was news.
    async fn rest(&mut self, pause: Pause, links: &mut Links) -> bool {
        let news = async {
            if !pause.may_wake {
                pending::<()>().await;
            }
            let heard = &self.memory.heard;
            let reports = async {
                let waits: Vec<_> = links
                    .iter_mut()
                    .map(|(name, link)| {
                        let known = heard.get(name).map(|heard| essence(&heard.report));
                        Box::pin(async move {
                            if link
                                .report
                                .wait_for(|report| Some(essence(report)) != known)
                                .await
                                .is_err()
                            {
                                pending::<()>().await;
                            }
                        })
                    })
                    .collect();
                if waits.is_empty() {
                    pending::<()>().await;
                }
                select_all(waits).await;
            };
            tokio::select! {
                () = reports => {}
                () = changed(&mut self.links) => {}
                () = changed(&mut self.document) => {}
            }
            tokio::time::sleep(GATHER).await;
        };
        tokio::select! {
            () = tokio::time::sleep(pause.length) => false,
            () = news => true,
        }
    }
}

/// What of a report is worth a round at once: not its number, nor what a disk has left.
fn essence(report: &HostReport) -> HostReport {
    HostReport {
        seq: 0,
        disk: None,
        clock: Timestamp::UNIX_EPOCH,
        ..report.clone()
    }
}

/// Returns on a change; never when nobody can send one any more.
async fn changed<T>(receiver: &mut watch::Receiver<T>) {
    if receiver.changed().await.is_err() {
        pending::<()>().await;
    }
}

async fn act(mut actor: Actor<'_>, step: &Step) -> Result<(), ActError> {
    actor.act(step).await
}

/// Why a plan is not followed.
#[derive(Debug)]
pub(crate) enum Refusal {
    Invalid(Invalid),
    Objections(Vec<Objection>),
}

/// Validate, plan, check.
fn decide(document: &Document, snapshot: &Snapshot) -> Result<Plan, Refusal> {
    let input = validate(document, snapshot).map_err(Refusal::Invalid)?;
    let plan = plan(&input);
    let objections = check(document, snapshot, &plan);
    if objections.is_empty() {
        Ok(plan)
    } else {
        Err(Refusal::Objections(objections))
    }
}
