//! Looking: at what agents report and at what one member of Garage says. No judgement.

use std::collections::BTreeMap;

use hayloft_api::agent::{AdminAddress, GARAGE_UNIT, GATEWAY_UNIT, HostReport};
use hayloft_api::{Bytes, Document, Generation, HostName, NodeId, Secret};
use hayloft_engine::{
    Access, BucketFacts, ClusterFacts, HostFacts, HostPlan, LayoutFacts, NodeFacts, NodeRole, ReportFacts,
    RoleChange, Snapshot, Staged,
};
use hayloft_garage::GarageVersion;
use hayloft_garage::admin::{self, AdminError, BucketInfo, Client, Health, Layout, ZoneRedundancy};
use jiff::{SignedDuration, Timestamp};

use crate::store::{Attempt, Remembered};
use crate::{BUCKET, Links, Store, StoreError};

/// How old what is known of the bucket may be. Counting is cheap for Garage; the question's cost is its token.
const BUCKET_AGE: SignedDuration = SignedDuration::from_secs(20);
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
        match ask(memory, &client, &name, key_id, now).await {
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

async fn ask(
    memory: &mut Memory,
    client: &Client,
    name: &HostName,
    key_id: &str,
    now: Timestamp,
) -> Result<Observation, AdminError> {
    let status = client.status().await?;
    let layout = client.layout().await?;
    let health = client.health().await?;
    let settled = match memory.settled {
        _ if layout.version == 0 => true,
        // A version that settled once stays so until the next.
        Some(version) if version == layout.version => true,
        _ => {
            let history = client.history().await?;
            let settled = history.settled() && history.current_version == layout.version;
            memory.settled = settled.then_some(layout.version);
            settled
        }
    };
    let (access, bucket) = if layout.version == 0 {
        (None, None)
    } else {
        access(memory, client, key_id, now).await?
    };
    let facts = ClusterFacts {
        through: name.clone(),
        observed: now,
        nodes: status
            .nodes
            .iter()
            .map(|node| (node.id, NodeFacts { up: node.is_up }))
            .collect(),
        layout: layout_facts(&layout, settled),
        access,
    };
    Ok(Observation {
        facts,
        layout,
        health,
        bucket,
    })
}

/// Looks for the key and the bucket, or remembers them. Without a quorum for their tables that is not known, which
/// must not hide the rest.
async fn access(
    memory: &mut Memory,
    client: &Client,
    key_id: &str,
    now: Timestamp,
) -> Result<(Option<Access>, Option<BucketInfo>), AdminError> {
    if let Some((at, access, bucket)) = &memory.access
        && access.ready()
        && now.duration_since(*at) < BUCKET_AGE
    {
        return Ok((Some(access.clone()), bucket.clone()));
    }
    let asked = async {
        let bucket = client.bucket(BUCKET).await?;
        let rights = bucket
            .as_ref()
            .and_then(|bucket| bucket.keys.iter().find(|key| key.access_key_id == key_id))
            .map(|key| key.permissions);
        let key = match rights {
            Some(_) => true,
            None => client.key(key_id).await?.is_some(),
        };
        let allowed = rights.is_some_and(|rights| rights.read && rights.write);
        let facts = bucket.as_ref().map(|bucket| BucketFacts {
            allowed,
            bytes: Bytes(bucket.bytes),
        });
        Ok::<_, AdminError>((Access { key, bucket: facts }, bucket))
    };
    match asked.await {
        Ok((access, bucket)) => {
            memory.access = Some((now, access.clone(), bucket.clone()));
            Ok((Some(access), bucket))
        }
        Err(AdminError::LayoutNotReady { .. } | AdminError::Refused { status: 500.., .. }) => {
            Ok((None, None))
        }
        Err(error) => Err(error),
    }
}

fn layout_facts(layout: &Layout, settled: bool) -> LayoutFacts {
    let redundancy = |parameters: &admin::Parameters| match parameters.zone_redundancy {
        ZoneRedundancy::AtLeast(zones) => Some(zones),
        ZoneRedundancy::Maximum => None,
    };
    LayoutFacts {
        version: layout.version,
        roles: layout
            .roles
            .iter()
            .map(|role| {
                let admin::LayoutRole {
                    id,
                    zone,
                    tags,
                    capacity,
                    ..
                } = role;
                (
                    *id,
                    NodeRole {
                        zone: zone.clone(),
                        capacity: *capacity,
                        tags: tags.clone(),
                    },
                )
            })
            .collect(),
        zone_redundancy: redundancy(&layout.parameters),
        staged: staged(layout),
        settled,
    }
}

/// What lies in the staging area.
pub(crate) fn staged(layout: &Layout) -> Staged {
    let change = |change: &admin::RoleChange| match change {
        admin::RoleChange::Remove { .. } => RoleChange::Remove,
        admin::RoleChange::Assign { zone, tags, capacity } => RoleChange::Assign(NodeRole {
            zone: zone.clone(),
            capacity: *capacity,
            tags: tags.clone(),
        }),
    };
    Staged {
        roles: layout
            .staged_role_changes
            .iter()
            .map(|staged| (staged.id, change(&staged.change)))
            .collect(),
        zone_redundancy: layout
            .staged_parameters
            .map(|parameters| match parameters.zone_redundancy {
                ZoneRedundancy::AtLeast(zones) => Some(zones),
                ZoneRedundancy::Maximum => None,
            }),
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

/// All facts together.
pub(crate) fn snapshot(
    memory: &mut Memory,
    observation: Option<&Observation>,
    now: Timestamp,
    minute_of_day: u16,
) -> Snapshot {
    let cluster = observation.map(|observation| observation.facts.clone());
    let names: Vec<HostName> = memory
        .remembered
        .keys()
        .chain(memory.heard.keys())
        .cloned()
        .collect();
    let mut hosts = BTreeMap::new();
    for name in names {
        let remembered = memory.remembered.get(&name);
        let heard = memory.heard.get(&name);
        let id = heard
            .map(|heard| heard.report.garage_id)
            .or(remembered.map(|host| host.id));
        let ready = ready(cluster.as_ref(), id);
        if ready {
            memory.ready_since.entry(name.clone()).or_insert(now);
        } else {
            memory.ready_since.remove(&name);
        }
        let facts = HostFacts {
            id,
            zone: remembered.and_then(|host| host.zone.clone()),
            ready_since: memory.ready_since.get(&name).copied(),
            left: remembered.and_then(|host| host.left),
            agent: heard.is_some_and(|heard| heard.agent),
            report: heard.map(report_facts),
            told: memory.told.get(&name).map(|(_, plan)| plan.clone()),
        };
        hosts.insert(name, facts);
    }
    Snapshot {
        now,
        minute_of_day,
        started: memory.started,
        hosts,
        cluster,
        staged_by_us: memory.attempt.as_ref().map(|attempt| attempt.staged.clone()),
        bucket_made: memory.bucket_made,
    }
}

/// Whether a node is connected and has no role.
fn ready(cluster: Option<&ClusterFacts>, id: Option<NodeId>) -> bool {
    cluster.zip(id).is_some_and(|(cluster, id)| {
        cluster.nodes.get(&id).is_some_and(|node| node.up) && !cluster.layout.roles.contains_key(&id)
    })
}

fn report_facts(heard: &Heard) -> ReportFacts {
    let Heard { report, at, agent } = heard;
    let unfit = report
        .garage_version
        .as_deref()
        .and_then(|version| match version.parse::<GarageVersion>() {
            Ok(version) => version.fit().err().map(|unfit| unfit.to_string()),
            Err(error) => Some(error.to_string()),
        });
    ReportFacts {
        heard: *at,
        follows: report.generation.is_some(),
        rpc_addr: report.rpc_addr.clone(),
        s3_addr: report.s3_addr.clone(),
        gateway_addr: report.gateway_addr.clone(),
        unfit,
        garage_runs: *agent && report.runs(GARAGE_UNIT),
        gateway_runs: *agent && report.runs(GATEWAY_UNIT),
        disk: report.disk,
    }
}
