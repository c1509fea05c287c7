//! The loop: observe, validate, plan, check, act, tell. Woken by news, never fed by them: every round looks at
//! everything anew.

mod follow;
mod hear_words;
mod keep;
mod leftovers;
mod preview;
mod rest;

use std::sync::Arc;
use std::time::Duration;

use hayloft_api::Document;
use hayloft_api::status::{EventKind, Status};
use hayloft_engine::{Invalid, Leadership as Leads, Objection, Plan, Snapshot, Step, check, plan, validate};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rand::rngs::StdRng;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use self::keep::Kept;
use crate::act::{ActError, Actor, Term};
use crate::leadership::{Candidacy, Leadership, Predecessor};
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::observe::{self, Observation};
use crate::pace::{Pace, Round};
use crate::reach::Reach;
use crate::snapshots::Snapshots;
use crate::store::StoreLock;
use crate::tell::{Outcome, Teller};
use crate::words::Word;
use crate::{Links, Store, StoreError};

/// How long a round may go on when the coordinator shall stop.
const LAST_ROUND: Duration = Duration::from_secs(2);

/// Everything that a round works with.
pub(crate) struct Loop {
    pub(crate) store: Store,
    pub(crate) lock: StoreLock,
    pub(crate) links: watch::Receiver<Links>,
    pub(crate) document: watch::Receiver<Document>,
    pub(crate) words: mpsc::Receiver<Word>,
    pub(crate) clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    pub(crate) time_zone: TimeZone,
    pub(crate) memory: Memory,
    pub(crate) kept: Kept,
    pub(crate) term: Term,
    pub(crate) leadership: Leadership,
    pub(crate) snapshots: Snapshots,
    pub(crate) reach: Reach,
    pub(crate) rng: StdRng,
    pub(crate) pace: Pace,
    pub(crate) teller: Teller,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) snapshot: watch::Sender<Arc<Snapshot>>,
    pub(crate) waited_for: Option<Vec<hayloft_engine::Waiting>>,
}

impl Loop {
    /// Goes on until it shall stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
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
        let now = (self.clock)();
        self.memory
            .events
            .tell(now, EventKind::Coordinator, "the coordinator stops");
        self.keep(now, true).await;
        self.leadership.resign().await;
    }

    fn candidacy(&self) -> Candidacy {
        Candidacy {
            epoch: self.term.epoch,
            instance: self.term.instance.clone(),
            voters: self.memory.voters(),
        }
    }

    /// One round: everything is looked at, and what can be done is done.
    async fn round(&mut self, links: &mut Links) -> Round {
        let began = Instant::now();
        let now = (self.clock)();
        let document = self.document.borrow_and_update().clone();
        let mut outcome = Outcome::default();
        if let Err(error) = self.listen(links, &document, now).await {
            outcome.fail("remember the hosts", &error);
        }
        let observation = self.look(&mut outcome, now).await;
        if let Some(observation) = &observation {
            self.follow(observation, links, now).await;
        }
        self.take_snapshots(now).await;
        let leads = self.stand();
        let minute = now.to_zoned(self.time_zone.clone()).time();
        let minute = u16::from(minute.hour().unsigned_abs()) * 60 + u16::from(minute.minute().unsigned_abs());
        let mut snapshot = observe::snapshot(&mut self.memory, observation.as_ref(), leads, now, minute);
        snapshot.unreached = self.reach.found();
        if self.leadership.leads() {
            self.drop_leftovers(links, now).await;
        }
        let plan = match decide(&document, &snapshot) {
            Ok(plan) => plan,
            Err(refusal) => {
                outcome.refuse(refusal);
                Plan::default()
            }
        };
        self.act(&document, &snapshot, &plan, &mut outcome, now).await;
        self.keep(now, false).await;
        let status = self.teller.tell(
            &document,
            &snapshot,
            observation.as_ref(),
            &mut self.memory,
            &plan,
            &outcome,
        );
        self.memory.accounts.look(&status, now);
        self.metrics.round(began.elapsed(), &status, &plan);
        self.status.send_replace(status);
        self.snapshot.send_replace(Arc::new(snapshot));
        self.verdict(&plan, &outcome)
    }

    /// Asks for promises with what is known now, and says how that stands.
    fn stand(&mut self) -> Leads {
        let candidacy = self.candidacy();
        self.leadership.stand(&candidacy);
        if self.leadership.leads() {
            return Leads::Leading;
        }
        let standing = self.leadership.standing();
        if let Some(holder) = standing.holder(&candidacy) {
            return Leads::Other { holder };
        }
        if let Some(why) = standing.silence() {
            tracing::debug!(why, "an agent does not promise");
        }
        Leads::Unpromised {
            promised: standing.promised(&candidacy, Instant::now()),
            need: standing.need(&candidacy),
        }
    }

    async fn act(
        &mut self,
        document: &Document,
        snapshot: &Snapshot,
        plan: &Plan,
        outcome: &mut Outcome,
        now: Timestamp,
    ) {
        for planned in &plan.steps {
            tracing::info!(step = %planned.step.named(&plan.names), reason = %planned.reason, "acting");
            let mut actor = Actor {
                document,
                snapshot,
                links: &self.links,
                store: &self.store,
                memory: &mut self.memory,
                term: &mut self.term,
                leadership: &self.leadership,
                snapshots: &mut self.snapshots,
                clock: &self.clock,
                rng: &mut self.rng,
                now,
            };
            let done = actor.act(&planned.step).await;
            self.metrics.step(&planned.step, done.is_ok());
            match done {
                Ok(()) => {}
                Err(
                    error @ (ActError::Unconnected { .. } | ActError::NotLeading | ActError::NoComparison(_)),
                ) => {
                    outcome.unconnected(&error);
                }
                Err(error) => {
                    outcome.fail(&planned.step.named(&plan.names).to_string(), &error);
                    if let Some(failure) = outcome.last_failure() {
                        self.memory.events.tell(now, EventKind::Failed, failure);
                    }
                }
            }
        }
    }

    fn verdict(&mut self, plan: &Plan, outcome: &Outcome) -> Round {
        if self.waited_for.as_ref() != Some(&plan.waiting) {
            self.pace.restart_patience();
            self.waited_for = Some(plan.waiting.clone());
        }
        // What goes on in the background is looked at again and again; it is no reason to hurry.
        let lasting = |step: &Step| {
            matches!(
                step,
                Step::Connect { .. }
                    | Step::Compare { .. }
                    | Step::KeepSnapshot { .. }
                    | Step::RotateSecrets { .. }
                    | Step::SwitchSecrets { .. }
                    | Step::StageSecrets { .. }
            )
        };
        if !outcome.is_good() {
            Round::Failed
        } else if plan.steps.iter().any(|planned| !lasting(&planned.step)) {
            Round::Busy
        } else if !plan.is_done() {
            Round::Waiting
        } else {
            Round::Idle
        }
    }

    /// Takes in reports. Agents that follow a later term, or another coordinator of this one, show that this
    /// coordinator's store is behind: it begins a term above that, and tells every host anew.
    async fn listen(
        &mut self,
        links: &mut Links,
        document: &Document,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        observe::hear(&mut self.memory, links, document, &self.store, now).await?;
        let held_back = self.store.held_back().await?;
        if let Some(replaced) = held_back.filter(|_| self.memory.held_back != held_back) {
            let replaced = replaced.strftime("%Y-%m-%d %H:%M:%SZ");
            let text =
                format!("a document came back that was replaced at {replaced}; it waits for a person's word");
            self.memory.events.tell(now, EventKind::Coordinator, text);
        }
        self.memory.held_back = held_back;
        let candidacy = self.candidacy();
        let standing = self.leadership.standing();
        if standing.others(&candidacy) > 0 {
            // Who leads now decides; there is no use in raising the number.
            return Ok(());
        }
        let followed = self
            .memory
            .heard
            .values()
            .filter_map(|heard| heard.report.generation.as_ref())
            .filter(|followed| {
                followed.epoch > self.term.epoch
                    || (followed.epoch == self.term.epoch && followed.instance != self.term.instance)
            })
            .map(|followed| followed.epoch);
        let later = followed.chain(standing.later_term(&candidacy)).max();
        if let Some(epoch) = later {
            self.term.epoch = self.store.take_epoch(epoch).await?;
            self.term.n = 0;
            self.memory.told.clear();
            let epoch = self.term.epoch;
            let leader = Predecessor {
                epoch,
                instance: self.term.instance.clone(),
                lock: self.lock.place(),
            };
            self.store.put_json_fact("leader", &leader).await?;
            tracing::warn!(epoch, "hosts follow a later term; a new one begins");
            let candidacy = self.candidacy();
            self.leadership.stand(&candidacy);
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
            Err(why) => {
                outcome.unobserved(why);
                None
            }
        }
    }
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
