//! The agents that are there, each as an [`AgentLink`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hayloft_api::HostName;
use hayloft_api::agent::{AdminAddress, HostDesired, HostReport};
use hayloft_api::join::{HostKey, Member, TrustList};
use hayloft_api::link::{LinkRefusal, Numbered, Outcome, Reported, SILENT_AFTER};
use hayloft_api::question::{Answer, Question, Refusal};
use hayloft_pki::LiveTrust;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::admin;
use crate::{AgentLink, Links};

/// So many questions wait at most until they are told.
const QUESTIONS: usize = 16;
/// So many are told and not answered at most; more wait to be told.
const OPEN: usize = 64;

type Waiting = oneshot::Sender<Result<Answer, Refusal>>;

/// One life of an agent.
#[derive(Debug)]
pub(super) struct Session {
    name: String,
    key: HostKey,
    /// Where its Garage's admin API is reached from here.
    admin: Option<PathBuf>,
    report: watch::Sender<HostReport>,
    /// Held by the poll that listens.
    pub(super) asked: tokio::sync::Mutex<mpsc::Receiver<(Question, Waiting)>>,
    told: Mutex<Told>,
    heard: Mutex<Instant>,
    /// Another session took its place, or it is gone.
    pub(super) over: CancellationToken,
    pub(super) desired: watch::Sender<Option<HostDesired>>,
}

#[derive(Debug, Default)]
struct Told {
    number: u64,
    waiting: BTreeMap<u64, Waiting>,
}

impl Session {
    fn hear(&self) {
        *lock(&self.heard) = Instant::now();
    }

    /// Whether another question may be told: what nobody waits for any more is forgotten first.
    pub(super) fn has_room(&self) -> bool {
        let mut told = lock(&self.told);
        told.waiting.retain(|_, waiting| !waiting.is_closed());
        told.waiting.len() < OPEN
    }

    /// Gives a question its number.
    pub(super) fn number(&self, question: Question, waiting: Waiting) -> Numbered {
        let mut told = lock(&self.told);
        told.number += 1;
        let number = told.number;
        told.waiting.insert(number, waiting);
        Numbered { number, question }
    }

    /// Hands an answer to whoever waits for it.
    pub(super) fn answer(&self, number: u64, outcome: Outcome) {
        if let Some(waiting) = lock(&self.told).waiting.remove(&number) {
            // Whoever asked may have given up.
            let _ = waiting.send(outcome.into());
        }
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Sessions {
    trust: Arc<LiveTrust>,
    /// Whom agents are told to trust.
    pub(super) list: watch::Receiver<Option<TrustList>>,
    sockets: Option<PathBuf>,
    hosts: Mutex<BTreeMap<HostName, Arc<Session>>>,
    links: watch::Sender<Links>,
}

impl Sessions {
    pub(super) fn new(
        trust: Arc<LiveTrust>,
        list: watch::Receiver<Option<TrustList>>,
        sockets: Option<PathBuf>,
    ) -> Self {
        Self {
            trust,
            list,
            sockets,
            hosts: Mutex::default(),
            links: watch::Sender::new(Links::new()),
        }
    }

    pub(super) fn links(&self) -> watch::Receiver<Links> {
        self.links.subscribe()
    }

    /// Which host a key is of, by the list as it is now.
    pub(super) fn host(&self, key: Option<HostKey>) -> Result<(HostName, HostKey), LinkRefusal> {
        let key = key.ok_or(LinkRefusal::NotAMember)?;
        match self.trust.peer(&key) {
            Some(Member::Host(host)) => Ok((host, key)),
            Some(Member::Coordinator) | None => Err(LinkRefusal::NotAMember),
        }
    }

    /// Takes in a report. The first one of a session opens it, and ends the host's session before.
    pub(super) fn report(&self, host: &HostName, key: HostKey, said: Reported) -> Result<(), LinkRefusal> {
        let Reported { session, mut report } = said;
        if report.host != *host {
            return Err(LinkRefusal::OtherHost);
        }
        let mut hosts = lock(&self.hosts);
        let before = hosts.get(host);
        if let Some(known) = before.filter(|known| known.name == session && known.key == key) {
            known.hear();
            if let Some(socket) = &known.admin {
                report.admin = AdminAddress::Unix(socket.clone());
            }
            known.report.send_replace(report);
            return Ok(());
        }
        if let Some(before) = before {
            before.over.cancel();
        }
        let (questions, asked) = mpsc::channel(QUESTIONS);
        let over = CancellationToken::new();
        // Another name for each session: the one before removes its own when it ends.
        let admin = self.sockets.as_ref().and_then(|folder| {
            let short = session.get(..12).unwrap_or(&session);
            let socket = folder.join(format!("{short}.sock"));
            match admin::serve(&socket, questions.clone(), over.clone()) {
                Ok(()) => Some(socket),
                Err(error) => {
                    tracing::error!(%host, %error, "there is no way to the host's admin API");
                    None
                }
            }
        });
        if let Some(socket) = &admin {
            report.admin = AdminAddress::Unix(socket.clone());
        }
        let (report, reports) = watch::channel(report);
        // An agent's new life is told anew by the coordinator, as in one process.
        let desired = watch::Sender::new(None);
        let link = AgentLink {
            desired: desired.clone(),
            report: reports,
            questions,
        };
        let opened = Session {
            name: session,
            key,
            admin,
            report,
            asked: tokio::sync::Mutex::new(asked),
            told: Mutex::default(),
            heard: Mutex::new(Instant::now()),
            over,
            desired,
        };
        tracing::info!(%host, "the host's agent is there");
        hosts.insert(host.clone(), Arc::new(opened));
        self.links
            .send_modify(|links| drop(links.insert(host.clone(), link)));
        Ok(())
    }

    /// The session that an agent says it is in.
    pub(super) fn find(
        &self,
        host: &HostName,
        key: HostKey,
        session: &str,
    ) -> Result<Arc<Session>, LinkRefusal> {
        let hosts = lock(&self.hosts);
        let known = hosts.get(host).ok_or(LinkRefusal::ReportFirst)?;
        if known.name != session || known.key != key {
            return Err(LinkRefusal::Replaced);
        }
        known.hear();
        Ok(Arc::clone(known))
    }

    /// Ends the sessions of agents that were not heard for long, and of keys that are not on the list any more. Their last
    /// words still count.
    pub(super) fn end_silent(&self) {
        self.end(|host, session| {
            let listed = self.trust.peer(&session.key) == Some(Member::Host(host.clone()));
            if !listed {
                tracing::info!(%host, "the host's key is not on the list any more");
            }
            !listed || lock(&session.heard).elapsed() > SILENT_AFTER
        });
    }

    /// Ends all.
    pub(super) fn end_all(&self) {
        self.end(|_, _| true);
    }

    fn end(&self, ends: impl Fn(&HostName, &Session) -> bool) {
        lock(&self.hosts).retain(|host, session| {
            let ends = ends(host, session);
            if ends {
                tracing::warn!(%host, "the host's agent is gone");
                session.over.cancel();
            }
            !ends
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
