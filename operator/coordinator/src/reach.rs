//! Whether hosts elsewhere still reach each other: their agents dial each other's ports every few minutes. That one reaches the
//! coordinator says nothing about what lies between two of them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use hayloft_api::HostName;
use hayloft_api::agent::GARAGE_UNIT;
use hayloft_api::question::{Answer, Question};
use hayloft_engine::Unreached;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::coordinator::Links;
use crate::{AgentLink, ask_agent};

/// The first look: hosts have come by then.
const FIRST: Duration = Duration::from_secs(20);
/// And then so often.
const EVERY: Duration = Duration::from_secs(300);
/// What was not reached is tried once more after this: a host may just be starting.
const AGAIN: Duration = Duration::from_secs(10);
/// Each host dials so many others in a round; in a larger cluster others in the next.
const NEIGHBOURS: usize = 6;
/// An agent gives up after five seconds.
const WITHIN: Duration = Duration::from_secs(8);

/// Looks until it is dropped.
#[derive(Debug)]
pub(crate) struct Reach {
    found: Arc<Mutex<Vec<Unreached>>>,
    task: JoinHandle<()>,
}

impl Drop for Reach {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A port, and who shall dial it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Trial {
    from: HostName,
    to: HostName,
    address: String,
}

impl Reach {
    pub(crate) fn start(links: watch::Receiver<Links>) -> Self {
        let found = Arc::new(Mutex::new(Vec::new()));
        let shared = found.clone();
        let task = tokio::spawn(async move {
            tokio::time::sleep(FIRST).await;
            let mut known = Vec::new();
            for turn in 0_usize.. {
                known = look(&links, turn, known).await;
                shared
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone_from(&known);
                tokio::time::sleep(EVERY).await;
            }
        });
        Self { found, task }
    }

    /// What was found last.
    pub(crate) fn found(&self) -> Vec<Unreached> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// This turn's dials, and those once more that failed before.
async fn look(links: &watch::Receiver<Links>, turn: usize, known: Vec<Unreached>) -> Vec<Unreached> {
    let now = links.borrow().clone();
    let mut tried = trials(&now, turn);
    tried.extend(known.iter().map(Trial::of).filter(|trial| trial.stands(&now)));
    let failed = dial(&now, tried).await;
    if failed.is_empty() {
        return failed;
    }
    tokio::time::sleep(AGAIN).await;
    let now = links.borrow().clone();
    let again = failed.iter().map(Trial::of);
    dial(&now, again.filter(|trial| trial.stands(&now)).collect()).await
}

impl Trial {
    fn of(unreached: &Unreached) -> Self {
        Self {
            from: unreached.from.clone(),
            to: unreached.to.clone(),
            address: unreached.address.clone(),
        }
    }

    /// Whether both hosts are there, and the one still says that it listens there.
    fn stands(&self, links: &Links) -> bool {
        let to = links.get(&self.to);
        links.contains_key(&self.from) && to.is_some_and(|to| listens(to).contains(&self.address))
    }
}

/// Where a host listens for others: its door, and its Garage while that runs. Nowhere, if it is on loopback.
fn listens(link: &AgentLink) -> Vec<String> {
    let report = link.report.borrow();
    let Some((_, door)) = report.s3_addr.split_once('@') else {
        return Vec::new();
    };
    let garage = report.runs(GARAGE_UNIT).then(|| report.rpc_addr.clone());
    [door.to_owned()].into_iter().chain(garage).collect()
}

/// Who dials what: all ports of the next hosts by name. Hosts on loopback are not asked.
fn trials(links: &Links, turn: usize) -> Vec<Trial> {
    let ports: Vec<(&HostName, Vec<String>)> = links
        .iter()
        .map(|(name, link)| (name, listens(link)))
        .filter(|(_, ports)| !ports.is_empty())
        .collect();
    let count = ports.len();
    let mut trials = Vec::new();
    for (at, (from, _)) in ports.iter().enumerate() {
        for step in 0..NEIGHBOURS.min(count.saturating_sub(1)) {
            let next = 1 + (turn.wrapping_mul(NEIGHBOURS).wrapping_add(step)) % (count - 1);
            let Some((to, addresses)) = ports.get((at + next) % count) else {
                continue;
            };
            trials.extend(addresses.iter().map(|address| Trial {
                from: (*from).clone(),
                to: (*to).clone(),
                address: address.clone(),
            }));
        }
    }
    trials
}

async fn dial(links: &Links, mut trials: Vec<Trial>) -> Vec<Unreached> {
    trials.sort();
    trials.dedup();
    let one = |trial: Trial| async move {
        let link = links.get(&trial.from)?;
        let question = Question::Dial {
            address: trial.address.clone(),
        };
        match ask_agent::ask(&trial.from, link, question, WITHIN).await {
            Ok(Answer::Tried { failed: Some(why) }) => Some(Unreached {
                from: trial.from,
                to: trial.to,
                address: trial.address,
                why,
            }),
            // An agent that is gone, or hangs, is told of elsewhere.
            _ => None,
        }
    };
    let mut found: Vec<Unreached> = join_all(trials.into_iter().map(one))
        .await
        .into_iter()
        .flatten()
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use hayloft_api::agent::{AdminAddress, DataState, HostReport, UnitReport, UnitState};
    use tokio::sync::{mpsc, oneshot};

    use super::*;

    type Asked = mpsc::Receiver<(
        Question,
        oneshot::Sender<Result<Answer, hayloft_api::question::Refusal>>,
    )>;

    fn host(n: u8, network: bool) -> (HostName, AgentLink, Asked) {
        let name: HostName = format!("h{n}").parse().unwrap();
        let door = if network {
            format!("{name}@h{n}:7441")
        } else {
            "127.0.0.1:1".to_owned()
        };
        let report = HostReport {
            host: name.clone(),
            seq: 0,
            generation: None,
            garage_id: hayloft_api::NodeId::from_public_key([n; 32]),
            garage_version: None,
            garage_waiting: None,
            rpc_addr: format!("h{n}:3901"),
            s3_addr: door,
            admin: AdminAddress::Url("http://nowhere".into()),
            gateway_addr: None,
            link_addr: None,
            units: vec![UnitReport {
                name: GARAGE_UNIT.to_owned(),
                state: UnitState::Running { pid: 7 },
                restarts: 0,
                last_error: None,
            }],
            disk: None,
            layout: None,
            data: DataState::Fresh,
            blocks: None,
            promise: None,
            rolled_back: None,
            clock: jiff::Timestamp::UNIX_EPOCH,
        };
        let (questions, asked) = mpsc::channel(64);
        let link = AgentLink {
            desired: watch::Sender::new(None),
            report: watch::channel(report).1,
            questions,
        };
        (name, link, asked)
    }

    #[test]
    fn every_host_dials_the_doors_and_garages_of_all_others_in_a_small_cluster() {
        let hosts: Vec<_> = (1..=4).map(|n| host(n, true)).collect();
        let links: Links = hosts
            .iter()
            .map(|(name, link, _)| (name.clone(), link.clone()))
            .collect();
        let trials = trials(&links, 0);
        let distinct: BTreeSet<_> = trials.iter().collect();
        assert_eq!((trials.len(), distinct.len()), (4 * 3 * 2, 4 * 3 * 2));
        assert!(trials.iter().all(|trial| trial.from != trial.to));
    }

    #[test]
    fn in_a_large_cluster_all_pairs_have_their_turn() {
        let hosts: Vec<_> = (1..=20).map(|n| host(n, true)).collect();
        let links: Links = hosts
            .iter()
            .map(|(name, link, _)| (name.clone(), link.clone()))
            .collect();
        let mut pairs = BTreeSet::new();
        for turn in 0..4 {
            let now = trials(&links, turn);
            assert_eq!(now.len(), 20 * NEIGHBOURS * 2);
            pairs.extend(now.into_iter().map(|trial| (trial.from, trial.to)));
        }
        assert_eq!(pairs.len(), 20 * 19);
    }

    #[test]
    fn hosts_on_loopback_are_not_asked() {
        let links: Links = [host(1, false), host(2, true)]
            .into_iter()
            .map(|(name, link, _)| (name, link))
            .collect();
        assert_eq!(trials(&links, 0), []);
        assert_eq!(trials(&BTreeMap::new(), 0), []);
    }
}
