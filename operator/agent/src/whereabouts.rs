//! Where the coordinator is: as the host was told when it joined, as the coordinator itself announces at the host's door, and as
//! other hosts say who have a link to it. Whoever answers there must still show the coordinator's key.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hayloft_api::ClusterName;
use hayloft_api::join::{Member, TrustList};
use hayloft_api::link::{FIND, Find, Found, MOST_ADDRESSES};
use hayloft_pki::{LiveIdentity, LiveTrust, client_config, server_name};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use tokio::sync::Notify;

use crate::local::Doorway;
use crate::streams::line;

/// How long a host's door may take to say where the coordinator is.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// So many others are asked at a time.
const ASKED_AT_ONCE: usize = 3;

/// What is known of it.
#[derive(Debug)]
pub struct Whereabouts {
    own: Vec<String>,
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The newest first.
    heard: Vec<String>,
    up: Option<String>,
}

impl Whereabouts {
    /// As the host was told, the likeliest first.
    #[must_use]
    pub fn new(own: Vec<String>) -> Arc<Self> {
        Arc::new(Self {
            own,
            state: Mutex::default(),
            news: Notify::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in addresses that somebody told, the likeliest first.
    pub(crate) fn hear(&self, addresses: &[String]) {
        let mut state = self.state();
        let mut heard: Vec<String> = addresses.iter().take(MOST_ADDRESSES).cloned().collect();
        if heard.is_empty() || state.heard.starts_with(&heard) {
            return;
        }
        let before = std::mem::take(&mut state.heard);
        heard.extend(before.into_iter().filter(|known| !addresses.contains(known)));
        heard.truncate(MOST_ADDRESSES);
        state.heard = heard;
        drop(state);
        self.news.notify_one();
    }

    /// Gives back when there is something new.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }

    /// Where to try in turn: what was heard last comes first.
    pub(crate) fn candidates(&self) -> Vec<String> {
        let mut all = self.state().heard.clone();
        let own = self.own.iter().filter(|own| !all.contains(own));
        let own: Vec<String> = own.cloned().collect();
        all.extend(own);
        all
    }

    /// The link is up there, or is not.
    pub(crate) fn is_up(&self, address: Option<&str>) {
        self.state().up = address.map(str::to_owned);
    }

    /// The answer to somebody at the door. Only the coordinator itself is believed where it is.
    pub(crate) fn answer(&self, from: &Member, asked: &Find) -> Found {
        if *from == Member::Coordinator {
            self.hear(&asked.announced);
        }
        Found {
            coordinator: self.state().up.clone(),
        }
    }
}

/// Says something to a host's door, and gives what it answers.
///
/// # Errors
/// When the door is not reached, or is not that host's.
pub async fn say(
    identity: Arc<LiveIdentity>,
    trust: Arc<LiveTrust>,
    cluster: &ClusterName,
    door: &Doorway,
    find: &Find,
) -> io::Result<Found> {
    let mut tls = client_config(identity, trust).map_err(io::Error::other)?;
    tls.alpn_protocols = vec![FIND.to_vec()];
    let name = server_name(&Member::Host(door.host.clone()), cluster).map_err(io::Error::other)?;
    line::ask_line(tls, name, &door.address, find, ANSWER_WITHIN).await
}

/// The doors of all hosts on a list but one.
#[must_use]
pub fn doors(list: &TrustList, but: Option<&Member>) -> Vec<Doorway> {
    let door = |listed: &hayloft_api::join::ListedMember| match &listed.member {
        Member::Host(host) => Some(Doorway {
            host: host.clone(),
            address: listed.door.clone()?,
        }),
        Member::Coordinator => None,
    };
    let others = list.members.iter().filter(|listed| but != Some(&listed.member));
    others.filter_map(door).collect()
}

/// Asks a few of these doors, and gives what they say.
pub(crate) async fn ask_some(
    doors: &[Doorway],
    identity: &Arc<LiveIdentity>,
    trust: &Arc<LiveTrust>,
    cluster: &ClusterName,
    rng: &mut StdRng,
) -> Vec<String> {
    let some: Vec<Doorway> = doors.sample(rng, ASKED_AT_ONCE).cloned().collect();
    let mut asked = tokio::task::JoinSet::new();
    for door in some {
        let (identity, trust, cluster) = (identity.clone(), trust.clone(), cluster.clone());
        asked.spawn(async move { say(identity, trust, &cluster, &door, &Find::default()).await });
    }
    let mut found = Vec::new();
    while let Some(answered) = asked.join_next().await {
        if let Ok(Ok(Found {
            coordinator: Some(address),
        })) = answered
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(of: &[&str]) -> Vec<String> {
        of.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn only_the_coordinator_itself_is_believed_at_the_door() {
        let known = Whereabouts::new(texts(&["name:7440"]));
        let host = Member::Host("h2".parse().unwrap());
        let announced = Find {
            announced: texts(&["10.0.0.9:7440"]),
        };
        assert_eq!(known.answer(&host, &announced), Found::default());
        assert_eq!(known.candidates(), texts(&["name:7440"]));
        known.answer(&Member::Coordinator, &announced);
        assert_eq!(known.candidates(), texts(&["10.0.0.9:7440", "name:7440"]));
    }

    #[test]
    fn others_are_told_only_of_a_coordinator_that_is_reached_now() {
        let known = Whereabouts::new(texts(&["name:7440"]));
        let host = Member::Host("h2".parse().unwrap());
        known.is_up(Some("10.0.0.9:7440"));
        let found = known.answer(&host, &Find::default());
        assert_eq!(found.coordinator.as_deref(), Some("10.0.0.9:7440"));
        known.is_up(None);
        assert_eq!(known.answer(&host, &Find::default()), Found::default());
    }

    #[test]
    fn what_was_heard_is_bounded_and_the_newest_comes_first() {
        let known = Whereabouts::new(Vec::new());
        for n in 0..20 {
            known.hear(&[format!("10.0.0.{n}:7440")]);
        }
        let heard = known.candidates();
        assert_eq!(heard.len(), MOST_ADDRESSES);
        assert_eq!(heard[0], "10.0.0.19:7440");
        known.hear(&texts(&["10.0.0.15:7440"]));
        assert_eq!(known.candidates()[0], "10.0.0.15:7440");
        assert_eq!(known.candidates().len(), MOST_ADDRESSES);
    }

    #[tokio::test]
    async fn the_same_announcement_again_is_no_news() {
        let known = Whereabouts::new(Vec::new());
        known.hear(&texts(&["a:1", "b:1"]));
        known.news().await;
        known.hear(&texts(&["a:1", "b:1"]));
        let again = tokio::time::timeout(Duration::from_millis(20), known.news()).await;
        assert!(again.is_err());
    }
}
