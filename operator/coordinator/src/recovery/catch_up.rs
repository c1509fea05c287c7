//! A coordinator that comes from a kit is older than its cluster. Before it does anything it asks the hosts what happened since:
//! who was put out, and which secrets are in use.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use hayloft_api::HostName;
use hayloft_api::agent::HostDesired;
use hayloft_api::join::{Member, TrustList};
use hayloft_api::question::{Answer, Question};
use jiff::Timestamp;
use tokio::sync::watch;

use crate::ClusterSecrets;
use crate::admission::{AdmissionError, Admissions};
use crate::ask_agent;
use crate::coordinator::{AgentLink, Links};
use crate::store::{Store, StoreError};

/// A ledger and a list are two small files.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Once enough hosts are there, the others get so long to come too.
const OTHERS_WITHIN: Duration = Duration::from_secs(5);

/// It could not catch up.
#[derive(Debug, thiserror::Error)]
pub enum CatchUpError {
    /// The store.
    #[error("the coordinator's store failed")]
    Store(#[from] StoreError),
    /// Who belongs.
    #[error("who was put out since cannot be kept")]
    Admission(#[from] AdmissionError),
    /// The door is closed.
    #[error("the coordinator is stopping")]
    Stopping,
}

/// What had happened since the kit was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaughtUp {
    /// The hosts that told.
    pub heard: Vec<HostName>,
    /// Hosts that were put out.
    pub put_out: Vec<HostName>,
    /// Whether secrets had been renewed.
    pub renewed: bool,
}

struct Told {
    desired: Option<Box<HostDesired>>,
    list: Option<TrustList>,
}

/// Waits until more than half of the hosts that belong are there, asks them, and takes over what they say. `None`: this store comes
/// from no kit, or has caught up before. `waits` is told how many are there and how many are needed.
///
/// # Errors
/// When the store fails, or the door is closed.
pub async fn catch_up(
    store: &Store,
    admissions: &Admissions,
    links: &mut watch::Receiver<Links>,
    now: Timestamp,
    mut waits: impl FnMut(usize, usize),
) -> Result<Option<CaughtUp>, CatchUpError> {
    if store.restored().await?.is_none() {
        return Ok(None);
    }
    let belong: Vec<HostName> = admissions
        .hosts()
        .await?
        .into_iter()
        .filter(|host| host.standing.belongs())
        .map(|host| host.facts.name)
        .collect();
    let needed = if belong.is_empty() {
        0
    } else {
        belong.len() / 2 + 1
    };
    let there = |links: &Links| belong.iter().filter(|name| links.contains_key(*name)).count();
    loop {
        let count = there(&links.borrow_and_update());
        waits(count, needed);
        if count >= needed {
            break;
        }
        links.changed().await.map_err(|_| CatchUpError::Stopping)?;
    }
    let all = async {
        // Its end shows in what is asked next.
        let _ = links.wait_for(|links| there(links) == belong.len()).await;
    };
    let _ = tokio::time::timeout(OTHERS_WITHIN, all).await;
    let now_there: Vec<(HostName, AgentLink)> = {
        let links = links.borrow();
        let known = belong.iter().filter_map(|name| links.get_key_value(name));
        known.map(|(name, link)| (name.clone(), link.clone())).collect()
    };
    let told: BTreeMap<HostName, Told> = join_all(now_there.iter().map(|(name, link)| hear(name, link)))
        .await
        .into_iter()
        .flatten()
        .collect();
    let put_out: Vec<HostName> = belong.into_iter().filter(|host| is_out(host, &told)).collect();
    for host in &put_out {
        admissions.put_out(host, now).await?;
    }
    let good: Vec<&HostDesired> = told
        .iter()
        .filter(|(name, _)| !put_out.contains(name))
        .filter_map(|(_, told)| told.desired.as_deref())
        .collect();
    let before = store.secrets();
    let secrets = newest_secrets(&before, &good);
    let renewed = secrets != before;
    if renewed {
        store.put_secrets(secrets).await?;
    }
    let epoch = good
        .iter()
        .map(|desired| desired.generation.epoch)
        .max()
        .unwrap_or(0);
    store.caught_up(epoch).await?;
    Ok(Some(CaughtUp {
        heard: told.into_keys().collect(),
        put_out,
        renewed,
    }))
}

async fn hear(name: &HostName, link: &AgentLink) -> Option<(HostName, Told)> {
    let ask = |question| ask_agent::ask(name, link, question, ANSWER_WITHIN);
    let (ledger, trusted) = tokio::join!(ask(Question::Ledger), ask(Question::Trusted));
    let desired = match ledger {
        Ok(Answer::Ledger { desired }) => desired,
        Ok(_) => None,
        Err(error) => {
            tracing::warn!(host = %name, %error, "a host did not tell what it runs");
            return None;
        }
    };
    let list = match trusted {
        Ok(Answer::Trusted { list }) => Some(list),
        _ => None,
    };
    Some((name.clone(), Told { desired, list }))
}

/// Whether most of the others have it on their lists no more. What a host says of itself does not count.
fn is_out(host: &HostName, told: &BTreeMap<HostName, Told>) -> bool {
    let member = Member::Host(host.clone());
    let others = told.iter().filter(|(name, _)| *name != host);
    let lists: Vec<&TrustList> = others.filter_map(|(_, told)| told.list.as_ref()).collect();
    let without = lists.iter().filter(|list| list.key_of(&member).is_none()).count();
    without * 2 > lists.len()
}

/// The secrets that the newest ledgers hold; what none of them holds stays as it was.
fn newest_secrets(before: &ClusterSecrets, told: &[&HostDesired]) -> ClusterSecrets {
    let age = |desired: &&&HostDesired| (desired.generation.epoch, desired.generation.n);
    let mut secrets = before.clone();
    if let Some(garage) = told
        .iter()
        .filter(|desired| desired.garage.is_some())
        .max_by_key(age)
        .and_then(|desired| desired.garage.as_ref())
    {
        secrets.rpc_secret = garage.rpc_secret.clone();
        secrets.admin_token = garage.admin_token.clone();
    }
    if let Some(gateway) = told
        .iter()
        .filter(|desired| desired.gateway.is_some())
        .max_by_key(age)
        .and_then(|desired| desired.gateway.as_ref())
    {
        secrets.access_key_id = gateway.s3.access_key_id.clone();
        secrets.secret_access_key = gateway.s3.secret_access_key.clone();
        secrets.token_secret = gateway.token_secret.clone();
        secrets.cluster_key = gateway.cluster_key.clone();
    }
    secrets
}

#[cfg(test)]
mod tests {
    use hayloft_api::Secret;
    use hayloft_api::agent::GarageDesired;
    use hayloft_api::join::{HostKey, ListedMember};

    use super::*;

    fn name(n: u8) -> HostName {
        format!("h{n}").parse().unwrap()
    }

    fn told(by: u8, of: &[u8]) -> (HostName, Told) {
        let members = of.iter().map(|n| ListedMember {
            key: HostKey::from_bytes([*n; 32]),
            member: Member::Host(name(*n)),
            door: None,
        });
        let list = TrustList {
            cluster: "commons".parse().unwrap(),
            roots: vec![],
            members: members.collect(),
        };
        let told = Told {
            desired: None,
            list: Some(list),
        };
        (name(by), told)
    }

    #[test]
    fn a_host_that_most_others_have_no_more_was_put_out_whatever_it_says_itself() {
        let told: BTreeMap<_, _> = [
            told(1, &[1, 2, 3]),
            told(2, &[1, 2, 3]),
            told(3, &[1, 2, 3, 4]),
            told(4, &[1, 2, 3, 4]),
        ]
        .into();
        assert!(is_out(&name(4), &told));
        assert!(!is_out(&name(1), &told));
        assert!(!is_out(&name(1), &BTreeMap::new()), "nobody says so");
    }

    #[test]
    fn the_newest_ledger_says_which_secrets_are_in_use() {
        let garage = |epoch, n, secret: &str| HostDesired {
            garage: Some(GarageDesired {
                replication_factor: 3,
                fsync: true,
                rpc_secret: Secret::new(secret),
                admin_token: Secret::new("admin"),
                s3_region: "garage".into(),
                zone: "z".parse().unwrap(),
                rpc_public: None,
                program: None,
                bootstrap_peers: vec![],
            }),
            ..HostDesired::nothing(
                hayloft_api::Generation {
                    epoch,
                    instance: "i".into(),
                    n,
                },
                name(1),
            )
        };
        let before = ClusterSecrets::make([1; 32]);
        let (old, new) = (garage(2, 9, "old"), garage(3, 1, "new"));
        let secrets = newest_secrets(&before, &[&old, &new]);
        assert_eq!(secrets.rpc_secret, Secret::new("new"));
        assert_eq!(secrets.cluster_key, before.cluster_key);
        assert_eq!(newest_secrets(&before, &[]), before);
    }
}
