//! What the coordinator keeps between rounds. All of it but the store's part can be lost.

use std::collections::{BTreeMap, BTreeSet};

use hayloft_api::agent::{AdminAddress, HostReport, RolledBack};
use hayloft_api::{Generation, HostName, NodeId, Rate, Secret};
use hayloft_engine::{Access, Asked, HostPlan, MoveKey, OlderMetadataFacts, Presence, Upkeep};
use hayloft_garage::admin::{AdminError, BucketInfo, Calls, Client};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::accounts::Accounts;
use crate::detail::Details;
use crate::events::Events;
use crate::flows::Flows;
use crate::moves::{Followed, MoveRecord, Moves};
use crate::outage::{Measured, Outage};
use crate::rotation::Rotation;
use crate::store::{Attempt, Kind, Remembered};
use crate::token::OwnToken;
use crate::{Store, StoreError};

/// The last report of a host.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) report: HostReport,
    pub(crate) at: Timestamp,
    pub(crate) agent: bool,
}

/// Metadata that is older than what its host had before: what was heard, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OlderMetadata {
    pub(crate) node: NodeId,
    /// `None`: a person put it back.
    pub(crate) versions: Option<RolledBack>,
    pub(crate) heard: Timestamp,
    /// Whether the repair is written down as begun.
    pub(crate) begun: bool,
}

/// What the coordinator keeps between rounds.
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
    /// The bucket's id, once it was made: it is found by that when its name is lost.
    pub(crate) bucket_id: Option<String>,
    pub(crate) presence: BTreeMap<HostName, Presence>,
    /// Hosts that were there since this coordinator started.
    pub(crate) met: BTreeSet<HostName>,
    pub(crate) asked: BTreeMap<HostName, Asked>,
    pub(crate) upkeep: BTreeMap<HostName, Upkeep>,
    /// Evicted hosts of whose metadata a snapshot lies on another host still.
    pub(crate) leftovers: BTreeMap<HostName, HostName>,
    pub(crate) barred: BTreeMap<NodeId, HostName>,
    pub(crate) rates: BTreeMap<HostName, Rate>,
    pub(crate) may_lack: BTreeSet<HostName>,
    /// Hosts whose metadata went back, and what their repair was begun for.
    pub(crate) rolled_back: BTreeMap<HostName, OlderMetadata>,
    /// When the document that is held back was replaced, if one is.
    pub(crate) held_back: Option<Timestamp>,
    pub(crate) moves: Moves,
    pub(crate) details: Details,
    pub(crate) accounts: Accounts,
    pub(crate) flows: Flows,
    pub(crate) events: Events,
    pub(crate) rotation: Option<Rotation>,
    /// Who looks how long nobody reaches a quorum while secrets are switched.
    pub(crate) outage: Option<Outage>,
    /// What that found at the last switch.
    pub(crate) last_outage: Option<Measured>,
    /// Hosts that were evicted and know secrets that are in use.
    pub(crate) known: BTreeSet<HostName>,
    /// Hosts that know what gateways know.
    pub(crate) gateways: BTreeSet<HostName>,
    pub(crate) token: Option<OwnToken>,
    /// Processes of Garage, and when each was first seen.
    pub(crate) daemons: BTreeMap<HostName, (u32, Timestamp)>,
    /// How far hosts' clocks are ahead.
    pub(crate) skews: BTreeMap<HostName, SignedDuration>,
    pub(crate) through: Option<HostName>,
    /// Members that did not answer in time, and when.
    pub(crate) silent: BTreeMap<HostName, Timestamp>,
    pub(crate) access: Option<(Timestamp, Access, Option<BucketInfo>)>,
    pub(crate) settled: Option<u64>,
    /// Counts the calls of all clients.
    pub(crate) calls: Calls,
    clients: BTreeMap<HostName, (AdminAddress, Secret, Client)>,
}

impl Memory {
    /// What the store has.
    pub(crate) async fn load(store: &Store, started: Timestamp) -> Result<Self, StoreError> {
        let mut records: BTreeMap<MoveKey, MoveRecord> = store.records(Kind::Move).await?;
        for record in records.values_mut() {
            // What ran when the last coordinator ended runs no more; it is gone on with where it was.
            record.facts.comparing = None;
        }
        let moves = Moves {
            records,
            followed: store.json_fact::<Followed>("followed").await?,
            ..Moves::default()
        };
        let may_lack: BTreeMap<HostName, bool> = store.records(Kind::MayLack).await?;
        let known: BTreeMap<HostName, bool> = store.records(Kind::Known).await?;
        let gateways: BTreeMap<HostName, bool> = store.records(Kind::Gateway).await?;
        Ok(Self {
            started,
            heard: BTreeMap::new(),
            remembered: store.hosts().await?,
            former: store.former().await?,
            ready_since: BTreeMap::new(),
            told: BTreeMap::new(),
            attempt: store.attempt().await?,
            bucket_made: store.bucket_made().await?,
            bucket_id: store.json_fact("bucket-id").await?,
            presence: store.records(Kind::Presence).await?,
            met: BTreeSet::new(),
            asked: store.records(Kind::Asked).await?,
            upkeep: store.records(Kind::Upkeep).await?,
            leftovers: store.records(Kind::Leftover).await?,
            barred: store.records(Kind::Barred).await?,
            rates: store.records(Kind::Rate).await?,
            may_lack: may_lack.into_keys().collect(),
            rolled_back: store.records(Kind::RolledBack).await?,
            held_back: None,
            moves,
            details: Details::default(),
            accounts: Accounts::load(store, started).await?,
            flows: Flows::default(),
            events: Events::new(store.events().await?),
            rotation: store.json_fact::<Option<Rotation>>("rotation").await?.flatten(),
            outage: None,
            last_outage: store.json_fact::<Option<Measured>>("outage").await?.flatten(),
            known: known.into_keys().collect(),
            gateways: gateways.into_keys().collect(),
            token: store.json_fact::<Option<OwnToken>>("own-token").await?.flatten(),
            daemons: BTreeMap::new(),
            skews: BTreeMap::new(),
            through: None,
            silent: BTreeMap::new(),
            access: None,
            settled: None,
            calls: Calls::default(),
            clients: BTreeMap::new(),
        })
    }

    /// Whether one of the nodes that hosts are now was ever seen with a role: then there is a layout.
    pub(crate) fn knows_a_layout(&self) -> bool {
        self.remembered.values().any(|host| host.had_role)
    }

    /// What is known of the bucket must be asked again.
    pub(crate) fn forget_access(&mut self) {
        self.access = None;
    }

    /// Who is which node.
    pub(crate) fn hosts_by_node(&self) -> BTreeMap<NodeId, HostName> {
        self.remembered
            .iter()
            .map(|(name, host)| (host.id, name.clone()))
            .collect()
    }

    /// When each node's Garage was last seen to start.
    pub(crate) fn started_nodes(&self) -> BTreeMap<NodeId, Timestamp> {
        let seen = self.daemons.iter();
        seen.filter_map(|(name, (_, at))| Some((self.remembered.get(name)?.id, *at)))
            .collect()
    }

    /// What went back in time with a host's metadata, until it is proven that the host holds all that it should again.
    pub(crate) fn unmended(&self, host: &HostName) -> Option<OlderMetadataFacts> {
        let older = self.rolled_back.get(host)?;
        let open = self
            .moves
            .records
            .values()
            .any(|record| record.facts.refilled == Some(older.node) && record.facts.placed.is_none());
        (open || !older.begun).then_some(match older.versions {
            Some(versions) => OlderMetadataFacts::WentBack(versions),
            None => OlderMetadataFacts::Restored,
        })
    }

    /// Nodes that do not come back: evicted, or other nodes now.
    pub(crate) fn gone(&self) -> BTreeSet<NodeId> {
        let current: BTreeSet<NodeId> = self.remembered.values().map(|host| host.id).collect();
        let former = self.former.keys().filter(|id| !current.contains(id));
        self.barred.keys().chain(former).copied().collect()
    }

    /// The client of a host's Garage. A member with a role takes the coordinator's own token, which may do what the
    /// coordinator does and nothing else; others know only the static one.
    pub(crate) fn client(
        &mut self,
        host: &HostName,
        static_token: &Secret,
        has_role: bool,
    ) -> Option<Result<Client, AdminError>> {
        let admin = &self.heard.get(host)?.report.admin;
        let own = self.token.as_ref().filter(|token| has_role && token.is_usable());
        let token = own.map_or(static_token, |own| &own.secret);
        if let Some((address, with, client)) = self.clients.get(host)
            && address == admin
            && with == token
        {
            return Some(Ok(client.clone()));
        }
        match Client::new(admin, token.clone()) {
            Ok(client) => {
                let client = client.counted_in(self.calls.clone());
                self.clients
                    .insert(host.clone(), (admin.clone(), token.clone(), client.clone()));
                Some(Ok(client))
            }
            Err(error) => Some(Err(error)),
        }
    }

    /// Whether a host had a role when it was last seen.
    pub(crate) fn has_role(&self, host: &HostName) -> bool {
        self.remembered
            .get(host)
            .is_some_and(|host| host.had_role && host.left.is_none())
    }

    /// Whether hosts with roles have different layouts of this version on disk.
    pub(crate) fn is_split(&self, version: u64) -> bool {
        let with_role = self.heard.iter();
        let with_role = with_role.filter(|(host, heard)| heard.agent && self.has_role(host));
        let held = with_role.filter_map(|(_, heard)| heard.report.layout);
        let held = held.filter(|layout| layout.version == version);
        held.map(|layout| layout.digest).collect::<BTreeSet<_>>().len() > 1
    }

    /// Hosts that hold roles, of whose agents a majority must follow.
    pub(crate) fn voters(&self) -> BTreeSet<HostName> {
        self.remembered
            .keys()
            .filter(|name| self.has_role(name))
            .cloned()
            .collect()
    }
}
