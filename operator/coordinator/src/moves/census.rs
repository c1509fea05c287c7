//! Counts of blocks, asked for again and again while data moves, in the background.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hayloft_api::HostName;
use hayloft_api::question::{Answer, Census, Question};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::ask_agent::{WITHIN, ask};
use crate::{AgentLink, Links};

/// A count is not begun more often than this.
const EVERY: SignedDuration = SignedDuration::from_secs(3);
/// Of a host's time, counting takes one part in so many at the most.
const SHARE: i32 = 10;
/// How long a count may take before it is asked for anew.
const LONGEST: Duration = Duration::from_secs(1800);
/// How soon it is asked again whether a count has ended.
const AGAIN: Duration = Duration::from_millis(500);

/// A host, when it was asked, and what it counted.
type Counted = (HostName, Timestamp, Option<Census>);

/// The last counts, and those under way.
#[derive(Debug)]
pub(crate) struct Censuses {
    last: BTreeMap<HostName, (Timestamp, Census)>,
    /// When a host was last asked to count.
    asked: BTreeMap<HostName, Timestamp>,
    running: BTreeSet<HostName>,
    tasks: JoinSet<()>,
    /// Grows with each count that found nothing, which may be the proof that is waited for.
    nothing: watch::Sender<u64>,
    /// How many of them the last round knew of.
    known: u64,
    sender: mpsc::Sender<Counted>,
    receiver: mpsc::Receiver<Counted>,
}

impl Default for Censuses {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(256);
        Self {
            last: BTreeMap::new(),
            asked: BTreeMap::new(),
            running: BTreeSet::new(),
            tasks: JoinSet::new(),
            nothing: watch::Sender::new(0),
            known: 0,
            sender,
            receiver,
        }
    }
}

impl Censuses {
    /// The last finished count of a host.
    pub(crate) fn last(&self, host: &HostName) -> Option<&Census> {
        self.last.get(host).map(|(_, census)| census)
    }

    /// The same with the time, by this coordinator's clock, before which it did not begin.
    pub(crate) fn last_asked(&self, host: &HostName) -> Option<(Timestamp, &Census)> {
        self.last.get(host).map(|(asked, census)| (*asked, census))
    }

    /// For waking the loop when a host was counted that holds nothing: what it shows need not wait for the next round.
    pub(crate) fn nothing(&self) -> impl Future<Output = ()> + use<> {
        let (mut nothing, known) = (self.nothing.subscribe(), self.known);
        async move {
            if nothing.wait_for(|number| *number != known).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn put(&mut self, host: &HostName, asked: Timestamp, census: Census) {
        self.last.insert(host.clone(), (asked, census));
    }

    /// Takes in counts that have ended, and begins those that are due.
    ///
    /// `skews` tells how far hosts' clocks are ahead: they judge by their own when a count began.
    pub(crate) fn turn(
        &mut self,
        wanted: &BTreeSet<HostName>,
        links: &Links,
        skews: &BTreeMap<HostName, SignedDuration>,
        now: Timestamp,
    ) {
        while self.tasks.try_join_next().is_some() {}
        // Read before what ended is taken in: one look too many harms nothing.
        self.known = *self.nothing.borrow();
        while let Ok((host, asked, census)) = self.receiver.try_recv() {
            self.running.remove(&host);
            if let Some(census) = census {
                self.last.insert(host, (asked, census));
            }
        }
        for host in wanted {
            let Some(link) = links.get(host) else { continue };
            let due = match (self.asked.get(host), self.last.get(host)) {
                (None, _) => true,
                (Some(asked), last) => {
                    let took = last.map_or(SignedDuration::ZERO, |(_, census)| {
                        census.ended.duration_since(census.began)
                    });
                    let pause = EVERY.max(took.saturating_mul(SHARE));
                    // A clock that went back begins anew.
                    let passed = now.duration_since(*asked);
                    passed >= pause || passed.is_negative()
                }
            };
            if due && self.running.insert(host.clone()) {
                self.asked.insert(host.clone(), now);
                let skew = skews.get(host).copied().unwrap_or(SignedDuration::ZERO);
                let there = now.checked_add(skew).unwrap_or(now);
                let (host, link, ended) = (host.clone(), link.clone(), self.sender.clone());
                let nothing = self.nothing.clone();
                self.tasks.spawn(async move {
                    let census = tokio::time::timeout(LONGEST, count(&host, &link, there)).await;
                    let census = census.ok().flatten();
                    let news = census.as_ref().is_some_and(|census| census.blocks() == 0);
                    // Nobody is left to tell when the coordinator stops.
                    let _ = ended.send((host, now, census)).await;
                    if news {
                        nothing.send_modify(|n| *n += 1);
                    }
                });
            }
        }
    }
}

async fn count(host: &HostName, link: &AgentLink, after: Timestamp) -> Option<Census> {
    loop {
        let question = Question::Census {
            fresh_after: Some(after),
        };
        match ask(host, link, question, WITHIN).await {
            Ok(Answer::Census(census)) => return Some(*census),
            Ok(_) => tokio::time::sleep(AGAIN).await,
            Err(error) => {
                tracing::debug!(%host, %error, "blocks are not counted");
                return None;
            }
        }
    }
}
