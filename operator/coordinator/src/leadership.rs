//! Who leads. A coordinator acts only while a majority of the layout's agents promise to follow it alone; it asks them
//! again long before a promise ends. Agents may be reached by several coordinators, and at most one finds a majority.

mod standing;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use hayloft_api::HostName;
use hayloft_api::question::{Question, Refusal};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use standing::{Reply, Standing};

use crate::Links;
use crate::ask_agent::{AskError, ask};

/// How long a promise runs.
const LEASE: Duration = Duration::from_secs(15);
/// How often it is renewed: several times before it ends.
const RENEW: Duration = Duration::from_secs(3);
/// How long the answer to one request may take.
const WITHIN: Duration = Duration::from_secs(2);
/// How soon it is tried again while no majority follows; longer each time, up to [`RENEW`], with jitter.
const RETRY: Duration = Duration::from_millis(150);

/// What the coordinator asks promises for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidacy {
    /// Its term.
    pub(crate) epoch: u64,
    /// Itself.
    pub(crate) instance: String,
    /// Hosts of which a majority must follow; empty: of all that can be talked to, for there is no layout yet.
    pub(crate) voters: BTreeSet<HostName>,
}

/// The task that asks for promises, and what came of it.
#[derive(Debug)]
pub(crate) struct Leadership {
    candidacy: watch::Sender<Candidacy>,
    standing: watch::Receiver<Arc<Standing>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Drop for Leadership {
    fn drop(&mut self) {
        // Of no effect after it resigned. Else promises end by themselves, as after a crash.
        self.task.abort();
    }
}

/// A coordinator that is certainly gone, because its store is ours now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Predecessor {
    /// Its term.
    pub(crate) epoch: u64,
    /// Itself.
    pub(crate) instance: String,
    /// The lock that it held, as [`StoreLock::place`] tells it.
    ///
    /// [`StoreLock::place`]: crate::store::StoreLock::place
    #[serde(default)]
    pub(crate) lock: String,
}

impl Leadership {
    /// Begins to ask. What agents promised to a predecessor holds up nobody.
    pub(crate) fn start(
        links: watch::Receiver<Links>,
        candidacy: Candidacy,
        predecessor: Option<Predecessor>,
        seed: [u8; 32],
    ) -> Self {
        let (candidacy, asked_for) = watch::channel(candidacy);
        let (told, standing) = watch::channel(Arc::new(Standing::default()));
        let stop = CancellationToken::new();
        let campaign = Campaign {
            links,
            candidacy: asked_for,
            standing: told,
            predecessor,
            rng: StdRng::from_seed(seed),
            failures: 0,
        };
        let task = tokio::spawn(campaign.run(stop.clone()));
        Self {
            candidacy,
            standing,
            stop,
            task,
        }
    }

    /// Asks for something else from now on.
    pub(crate) fn stand(&self, candidacy: &Candidacy) {
        self.candidacy.send_if_modified(|current| {
            let news = current != candidacy;
            if news {
                current.clone_from(candidacy);
            }
            news
        });
    }

    /// What agents last said.
    pub(crate) fn standing(&self) -> Arc<Standing> {
        self.standing.borrow().clone()
    }

    /// For waiting until what agents say changes.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Standing>> {
        self.standing.clone()
    }

    /// Whether this coordinator may write now, in the term that it stands for.
    pub(crate) fn leads(&self) -> bool {
        self.standing
            .borrow()
            .leads(&self.candidacy.borrow(), Instant::now())
    }

    /// Stops asking, and frees everyone from what they promised.
    pub(crate) async fn resign(mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the task that asks for promises ended badly");
        }
    }
}

struct Campaign {
    links: watch::Receiver<Links>,
    candidacy: watch::Receiver<Candidacy>,
    standing: watch::Sender<Arc<Standing>>,
    predecessor: Option<Predecessor>,
    rng: StdRng,
    failures: u32,
}

impl Campaign {
    async fn run(mut self, stop: CancellationToken) {
        loop {
            let candidacy = self.candidacy.borrow_and_update().clone();
            let links = self.links.borrow_and_update().clone();
            let asked = tokio::select! {
                asked = self.ask_all(&links, &candidacy) => asked,
                () = stop.cancelled() => break,
            };
            let leads = asked.leads(&candidacy, Instant::now());
            let contested = !leads && asked.others(&candidacy) > 0;
            self.standing.send_replace(Arc::new(asked));
            let pause = if leads {
                self.failures = 0;
                RENEW
            } else {
                self.failures = self.failures.saturating_add(1);
                let length = RETRY.saturating_mul(1 << self.failures.min(5)).min(RENEW);
                length.mul_f64(self.rng.random_range(0.5..1.0))
            };
            if contested {
                // Whoever has more promises shall get the rest: two that both hold a few would hold each other up.
                self.release(&links, &candidacy).await;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => break,
                Ok(()) = self.candidacy.changed() => {}
                // Before there is a majority, a new link may make it.
                Ok(()) = self.links.changed() => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        let (links, candidacy) = (self.links.borrow().clone(), self.candidacy.borrow().clone());
        self.standing.send_replace(Arc::new(Standing::default()));
        self.release(&links, &candidacy).await;
    }

    async fn ask_all(&self, links: &Links, candidacy: &Candidacy) -> Standing {
        let Candidacy { epoch, instance, .. } = candidacy;
        let seconds = u32::try_from(LEASE.as_secs()).unwrap_or(u32::MAX);
        let asked = links.iter().map(|(host, link)| async move {
            let question = Question::Promise {
                epoch: *epoch,
                instance: instance.clone(),
                seconds,
            };
            // The promise runs from when the agent hears the question, which is not before this moment.
            let mut sent = Instant::now();
            let mut answer = ask(host, link, question.clone(), WITHIN).await;
            if let (Some(gone), Err(AskError::Refused { source, .. })) = (&self.predecessor, &answer)
                && matches!(source, Refusal::Held { instance, .. } if *instance == gone.instance)
            {
                let release = Question::Release {
                    epoch: gone.epoch,
                    instance: gone.instance.clone(),
                };
                if ask(host, link, release, WITHIN).await.is_ok() {
                    sent = Instant::now();
                    answer = ask(host, link, question, WITHIN).await;
                }
            }
            let reply = match answer {
                Ok(_) => Reply::Promised { until: sent + LEASE },
                Err(AskError::Refused { source, .. }) => match source {
                    Refusal::Held { epoch, instance, .. } => Reply::Held { epoch, instance },
                    Refusal::OldTerm {
                        promised, instance, ..
                    } => Reply::OldTerm { promised, instance },
                    other => Reply::Silent {
                        why: other.to_string(),
                    },
                },
                Err(error) => Reply::Silent {
                    why: error.to_string(),
                },
            };
            (host.clone(), reply)
        });
        Standing::new(candidacy.epoch, join_all(asked).await.into_iter().collect())
    }

    async fn release(&self, links: &Links, candidacy: &Candidacy) {
        let Candidacy { epoch, instance, .. } = candidacy;
        let asked = links.iter().map(|(host, link)| async move {
            let question = Question::Release {
                epoch: *epoch,
                instance: instance.clone(),
            };
            // Whoever does not hear it is free when the promise ends.
            let _ = ask(host, link, question, Duration::from_millis(500)).await;
        });
        join_all(asked).await;
    }
}
