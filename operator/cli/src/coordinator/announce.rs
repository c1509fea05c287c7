//! A coordinator that hosts do not find any more, because it was restored elsewhere: it says at their doors where it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hayloft_agent::local::Doorway;
use hayloft_agent::whereabouts::{doors, say};
use hayloft_api::join::TrustList;
use hayloft_api::link::Find;
use hayloft_api::{ClusterName, HostName};
use hayloft_coordinator::Links;
use hayloft_pki::{LiveIdentity, LiveTrust};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How often it is looked who is missing. Also how long hosts have to come by themselves at first.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The wait before a host is told again; it doubles each time.
const FIRST_WAIT: Duration = Duration::from_secs(15);
/// The longest.
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// So many are told at a time.
const AT_ONCE: usize = 16;

/// What it needs.
pub(super) struct Announce {
    pub(super) cluster: ClusterName,
    /// What hosts are told: `host:port`, the likeliest first.
    pub(super) addresses: Vec<String>,
    pub(super) identity: Arc<LiveIdentity>,
    pub(super) trust: Arc<LiveTrust>,
    pub(super) list: watch::Receiver<TrustList>,
    pub(super) links: watch::Receiver<Links>,
}

/// Goes on until it is dropped.
#[derive(Debug)]
pub(super) struct Announcer(JoinHandle<()>);

impl Drop for Announcer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Announce {
    pub(super) fn start(self) -> Announcer {
        Announcer(tokio::spawn(self.run()))
    }

    async fn run(self) {
        let mut turns = Turns::default();
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        look.tick().await;
        loop {
            look.tick().await;
            let missing = {
                let links = self.links.borrow();
                let mut doors = doors(&self.list.borrow(), None);
                doors.retain(|door| !links.contains_key(&door.host));
                doors
            };
            let due = turns.due(&missing, Instant::now());
            for some in due.chunks(AT_ONCE) {
                self.tell(some).await;
            }
        }
    }

    async fn tell(&self, doors: &[Doorway]) {
        let mut telling = JoinSet::new();
        for door in doors.iter().cloned() {
            let (identity, trust) = (self.identity.clone(), self.trust.clone());
            let (cluster, announced) = (self.cluster.clone(), self.addresses.clone());
            telling.spawn(async move {
                let find = Find { announced };
                let said = say(identity, trust, &cluster, &door, &find).await;
                (door, said)
            });
        }
        while let Some(told) = telling.join_next().await {
            match told {
                Ok((door, Ok(_))) => {
                    tracing::info!(host = %door.host, "a host that has no link was told where the coordinator is");
                }
                Ok((door, Err(error))) => {
                    tracing::debug!(host = %door.host, %error, "a host that has no link is not reached either");
                }
                Err(_) => {}
            }
        }
    }
}

/// When who is told again.
#[derive(Debug, Default)]
struct Turns(BTreeMap<HostName, (Instant, Duration)>);

impl Turns {
    /// Those whose turn it is now. One that is not missing any more is forgotten.
    fn due(&mut self, missing: &[Doorway], now: Instant) -> Vec<Doorway> {
        self.0
            .retain(|host, _| missing.iter().any(|door| door.host == *host));
        let mut due = Vec::new();
        for door in missing {
            let wait = match self.0.get(&door.host) {
                Some((next, _)) if now < *next => continue,
                Some((_, wait)) => (*wait * 2).min(LONGEST_WAIT),
                None => FIRST_WAIT,
            };
            self.0.insert(door.host.clone(), (now + wait, wait));
            due.push(door.clone());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(n: u8) -> Doorway {
        Doorway {
            host: format!("h{n}").parse().unwrap(),
            address: format!("h{n}:7441"),
        }
    }

    #[test]
    fn who_stays_away_is_told_ever_more_seldom_and_who_comes_back_begins_anew() {
        let mut turns = Turns::default();
        let now = Instant::now();
        assert_eq!(turns.due(&[door(1), door(2)], now), [door(1), door(2)]);
        assert_eq!(turns.due(&[door(1), door(2)], now + FIRST_WAIT / 2), []);
        assert_eq!(turns.due(&[door(1)], now + FIRST_WAIT), [door(1)]);
        assert_eq!(
            turns.due(&[door(1)], now + FIRST_WAIT * 2),
            [],
            "it waits longer now"
        );
        assert_eq!(
            turns.due(&[door(1), door(2)], now + FIRST_WAIT * 2),
            [door(2)],
            "it was there meanwhile"
        );
        let mut late = now + FIRST_WAIT * 3;
        for _ in 0..20 {
            assert_eq!(turns.due(&[door(1)], late), [door(1)]);
            late += LONGEST_WAIT;
        }
    }
}
