//! Looking: at what agents report and at what one member of Garage says. No judgement.

mod ask;
mod facts;

use std::collections::BTreeMap;

use hayloft_api::agent::{AdminAddress, GARAGE_UNIT, HostReport};
use hayloft_api::{Document, Generation, HostName, NodeId, Secret};
use hayloft_engine::{Access, ClusterFacts, HostPlan};
use hayloft_garage::admin::{AdminError, BucketInfo, Client, Health, Layout};
use jiff::{SignedDuration, Timestamp};

pub(crate) use ask::staged;
pub(crate) use facts::snapshot;

use crate::store::{Attempt, Remembered};
use crate::{Links, Store, StoreError};

/// How long nobody but the member that was told to apply a layout is asked, when its answer was not heard: its
/// version must not be met by another one of the same number.
const LOYALTY: SignedDuration = SignedDuration::from_secs(60);

/// What one member said, in full.
#[derive(Debug, Clone)]
pub(crate) struct Observation {
    /// What plans are made from.
    pub(crate) facts: ClusterFacts,
    /// For status.
    pub(crate) layout: Layout,
    /// For status.
    pub(crate) health: Health,
    /// For status.
    pub(crate) bucket: Option<BucketInfo>,
}

/// The last report of a host.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) report: HostReport,
    pub(crate) at: Timestamp,
    pub(crate) agent: bool,
}

/// What the coordinator keeps between rounds. All of it but the store's part can be lost.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) started: Timestamp,
    pub(crate) heard: BTreeMap<HostName, Heard>,
    pub(crate) remembered: BTreeMap<HostName, Remembered>,
    pub(crate) former: BTreeMap<NodeId, HostName>,
    pub(crate) ready_since: BTreeMap<HostName, Timestamp>,
    pub(crate) told: BTreeMap<HostName, (Generation, HostPlan)>,
    pub(crate) attempt: Option<Attempt>,
    pub(crate) bucket_made: bool,
    clients: BTreeMap<HostName, (AdminAddress, Client)>,
    through: Option<HostName>,
    access: Option<(Timestamp, Access, Option<BucketInfo>)>,
    settled: Option<u64>,
}

impl Memory {
    pub(crate) async fn load(store: &Store, started: Timestamp) -> Result<Self, StoreError> {
        Ok(Self {
            started,
            heard: BTreeMap::new(),
            remembered: store.hosts().await?,
            former: store.former().await?,
            ready_since: BTreeMap::new(),
            told: BTreeMap::new(),
            attempt: store.attempt().await?,
            bucket_made: store.bucket_made().await?,
            clients: BTreeMap::new(),
            through: None,
            access: None,
            settled: None,
        })
    }

    /// What is known of the bucket must be asked again.
    pub(crate) fn forget_access(&mut self) {
        self.access = None;
    }

    /// The client of a host's Garage.
    pub(crate) fn client(&mut self, host: &HostName, token: &Secret) -> Option<Result<Client, AdminError>> {
        let admin = &self.heard.get(host)?.report.admin;
        if let Some((address, client)) = self.clients.get(host)
            && address == admin
        {
            return Some(Ok(client.clone()));
        }
        match Client::new(admin, token.clone()) {
            Ok(client) => {
                self.clients.insert(host.clone(), (admin.clone(), client.clone()));
                Some(Ok(client))
            }
            Err(error) => Some(Err(error)),
        }
    }
}

/// Takes in what agents report, and remembers whom it heard of.
pub(crate) async fn hear(
    memory: &mut Memory,
    links: &mut Links,
    document: &Document,
    store: &Store,
    now: Timestamp,
) -> Result<(), StoreError> {
    for heard in memory.heard.values_mut() {
        heard.agent = false;
    }
    for (name, link) in links {
        let report = link.report.borrow_and_update().clone();
        // A closed channel is an agent that is gone; its last words still count.
        let agent = link.report.has_changed().is_ok();
        if report.host != *name {
            tracing::warn!(host = %name, reports = %report.host, "an agent reports under another name; ignored");
            continue;
        }
        let id = report.garage_id;
        // An agent that started anew has another link, on which nothing was said yet.
        let said = link
            .desired
            .borrow()
            .as_ref()
            .map(|desired| desired.generation.clone());
        if memory
            .told
            .get(name)
            .is_some_and(|(generation, _)| Some(generation) != said.as_ref())
        {
            memory.told.remove(name);
        }
        memory.heard.insert(
            name.clone(),
            Heard {
                report,
                at: now,
                agent,
            },
        );
        let spec = document.host(name);
        let known = memory.remembered.get(name);
        if known.is_none() && spec.is_none() {
            continue;
        }
        if let Some(known) = known.filter(|known| known.id != id) {
            tracing::warn!(host = %name, was = %known.id.short(), is = %id.short(), "the host is another node now");
            store.put_former(known.id, name).await?;
            memory.former.insert(known.id, name.clone());
        }
        let mut host = match known {
            // Another node key is another node: what the old one had and did is not its own.
            Some(known) if known.id == id => known.clone(),
            _ => Remembered {
                id,
                zone: None,
                had_role: false,
                left: None,
            },
        };
        if let Some(spec) = spec {
            host.zone = Some(spec.zone.clone());
        }
        if known != Some(&host) {
            store.put_host(name, &host).await?;
            memory.remembered.insert(name.clone(), host);
        }
    }
    Ok(())
}

/// Asks one member. The one asked last is asked again as long as it answers, for all writes go to one.
///
/// # Errors
/// What the last member asked said, when none answered; `Ok(None)` when there is none to ask.
pub(crate) async fn look(
    memory: &mut Memory,
    token: &Secret,
    key_id: &str,
    now: Timestamp,
) -> Result<Option<Observation>, AdminError> {
    let mut candidates: Vec<HostName> = memory
        .heard
        .iter()
        .filter(|(_, heard)| heard.agent && heard.report.runs(GARAGE_UNIT))
        .map(|(name, _)| name.clone())
        .collect();
    let recent = |at: i64| Timestamp::from_second(at).is_ok_and(|at| now.duration_since(at).abs() < LOYALTY);
    if let Some(attempt) = memory.attempt.as_ref().filter(|attempt| recent(attempt.at)) {
        candidates.retain(|name| *name == attempt.through);
    }
    let had_role = |name: &HostName| memory.remembered.get(name).is_some_and(|host| host.had_role);
    candidates.sort_by_key(|name| (memory.through.as_ref() != Some(name), !had_role(name)));
    let mut last = None;
    for name in candidates {
        let client = match memory.client(&name, token) {
            None => continue,
            Some(Ok(client)) => client,
            Some(Err(error)) => {
                last = Some(error);
                continue;
            }
        };
        match ask::ask(memory, &client, &name, key_id, now).await {
            Ok(observation) => {
                memory.through = Some(name);
                return Ok(Some(observation));
            }
            Err(error) => {
                tracing::debug!(host = %name, %error, "a member could not be asked");
                last = Some(error);
            }
        }
    }
    match last {
        Some(error) => Err(error),
        None => Ok(None),
    }
}

/// Draws from an observation what must be remembered: who had a role, who lost it, that the bucket was made, and that
/// what was staged is applied.
pub(crate) async fn remember(
    memory: &mut Memory,
    observation: &Observation,
    store: &Store,
    now: Timestamp,
) -> Result<(), StoreError> {
    let facts = &observation.facts;
    for (name, host) in &mut memory.remembered {
        let has_role = facts.layout.roles.contains_key(&host.id);
        let before = host.clone();
        if has_role {
            host.had_role = true;
            host.left = None;
        } else if host.had_role && host.left.is_none() {
            host.left = Some(now);
        }
        if *host != before {
            store.put_host(name, host).await?;
        }
    }
    if !memory.bucket_made && facts.access.as_ref().is_some_and(Access::ready) {
        store.put_bucket_made().await?;
        memory.bucket_made = true;
    }
    let applied =
        |attempt: &Attempt| facts.layout.version >= attempt.version && facts.layout.staged.is_empty();
    if memory.attempt.as_ref().is_some_and(applied) {
        store.put_attempt(None).await?;
        memory.attempt = None;
    }
    Ok(())
}
