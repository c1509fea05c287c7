//! Following what was begun: moves, snapshots, and what is asked less often.

use std::collections::{BTreeMap, BTreeSet};

use hayloft_api::agent::{DataState, GARAGE_UNIT};
use hayloft_api::question::{Answer, Question};
use hayloft_api::status::EventKind;
use hayloft_api::{Bytes, HostName, NodeId};
use hayloft_engine::{AskedFor, MoveKey};
use hayloft_garage::admin::Client;
use jiff::Timestamp;

use super::Loop;
use crate::Links;
use crate::ask_agent::{WITHIN, ask};
use crate::memory::OlderMetadata;
use crate::moves::{News, Seen};
use crate::observe::Observation;
use crate::store::Kind;

impl Loop {
    pub(super) async fn follow(&mut self, observation: &Observation, links: &Links, now: Timestamp) {
        let cluster = &observation.facts;
        let token = self.store.secrets().admin_token;
        let mut clients: BTreeMap<HostName, Client> = BTreeMap::new();
        let running: Vec<HostName> = self
            .memory
            .heard
            .iter()
            .filter(|(_, heard)| heard.agent && heard.report.runs(GARAGE_UNIT))
            .map(|(name, _)| name.clone())
            .collect();
        for name in running {
            let has_role = self.memory.has_role(&name);
            if let Some(Ok(client)) = self.memory.client(&name, &token, has_role) {
                clients.insert(name, client);
            }
        }
        if let Some(client) = clients
            .get(&cluster.through)
            .filter(|_| cluster.layout.version > 0)
        {
            let known = self.memory.hosts_by_node();
            let up: BTreeSet<NodeId> = cluster
                .nodes
                .iter()
                .filter(|(id, node)| node.up && known.contains_key(id))
                .map(|(id, _)| *id)
                .collect();
            let started = self.memory.started_nodes();
            let memory = &mut self.memory;
            memory
                .details
                .turn(client, &up, &mut memory.moves, &started, now)
                .await;
            if let Some(seen) = memory.details.count_requests(&clients, now).await {
                memory.accounts.count(&seen);
            }
        }
        self.learn_maps(cluster.layout.version, &cluster.through, links)
            .await;
        let hosts = self.memory.hosts_by_node();
        let gone = self.memory.gone();
        let started = self.memory.started_nodes();
        let sound = self.sound();
        let new_disks = self.new_disks(&sound);
        let older = self.older_metadata(&sound, now);
        let bucket = observation.bucket.as_ref().map(|bucket| Bytes(bucket.bytes));
        let news = self.memory.moves.follow(&Seen {
            layout: &cluster.layout,
            split: self.memory.is_split(cluster.layout.version),
            hosts: &hosts,
            started: &started,
            gone: &gone,
            sound: &sound,
            new_disks: &new_disks,
            older: &older,
            bucket,
            now,
        });
        for one in news {
            self.announce(&one, &hosts, now);
        }
        self.use_up_words(&new_disks, &hosts, now).await;
        self.note_older(&older, &hosts, now).await;
        let mut wanted = self.memory.moves.counted(&hosts);
        wanted.extend(self.leaving());
        let memory = &mut self.memory;
        memory.moves.censuses.turn(&wanted, links, &memory.skews, now);
        self.measure_rates(&hosts, now).await;
        self.begin_upkeep(observation, &hosts, now).await;
    }

    /// From when a host has a role on, it is looked after.
    async fn begin_upkeep(
        &mut self,
        observation: &Observation,
        hosts: &BTreeMap<NodeId, HostName>,
        now: Timestamp,
    ) {
        for id in observation.facts.layout.roles.keys() {
            let Some(host) = hosts.get(id) else { continue };
            let upkeep = self.memory.upkeep.entry(host.clone()).or_default();
            if upkeep.since.is_none() {
                upkeep.since = Some(now);
                let upkeep = upkeep.clone();
                if let Err(error) = self.store.put_record(Kind::Upkeep, host, &upkeep).await {
                    tracing::warn!(%error, "what is due when was not noted");
                }
            }
        }
    }

    /// Hosts that left and may hold blocks.
    fn leaving(&self) -> BTreeSet<HostName> {
        let left = self.memory.remembered.iter().filter(|(name, host)| {
            let heard = self.memory.heard.get(*name);
            host.left.is_some() && heard.is_some_and(|heard| heard.agent)
        });
        left.map(|(name, _)| name.clone()).collect()
    }

    /// Nodes whose data folder is as it should be.
    fn sound(&self) -> BTreeSet<NodeId> {
        let heard = self.memory.heard.values();
        heard
            .filter(|heard| heard.agent && matches!(heard.report.data, DataState::Present))
            .map(|heard| heard.report.garage_id)
            .collect()
    }

    /// Nodes of which a person said that their data disk was replaced, and that use the new one.
    fn new_disks(&self, sound: &BTreeSet<NodeId>) -> BTreeMap<NodeId, Timestamp> {
        let asked = self.memory.asked.iter();
        let asked = asked.filter(|(_, asked)| asked.what == AskedFor::NewDisk);
        asked
            .filter_map(|(host, asked)| Some((self.memory.heard.get(host)?.report.garage_id, asked.at)))
            .filter(|(id, _)| sound.contains(id))
            .collect()
    }

    /// A word about a new disk is good for one disk: once it is written down that this one is being filled, it is used up.
    async fn use_up_words(
        &mut self,
        new_disks: &BTreeMap<NodeId, Timestamp>,
        hosts: &BTreeMap<NodeId, HostName>,
        now: Timestamp,
    ) {
        if new_disks.is_empty() || !self.keep(now, false).await {
            return;
        }
        for host in new_disks.keys().filter_map(|id| hosts.get(id)) {
            match self.store.drop_record(Kind::Asked, host).await {
                Ok(()) => drop(self.memory.asked.remove(host)),
                Err(error) => tracing::warn!(%error, "a word was not dropped; it is tried again"),
            }
        }
    }

    /// Nodes whose metadata went back and whose repair is not begun, and when that was first heard.
    fn older_metadata(&mut self, sound: &BTreeSet<NodeId>, now: Timestamp) -> BTreeMap<NodeId, Timestamp> {
        for (host, heard) in &self.memory.heard {
            let report = &heard.report;
            let Some(versions) = report.rolled_back else {
                continue;
            };
            let node = report.garage_id;
            let known = self.memory.rolled_back.get(host);
            if known.is_none_or(|known| known.node != node || known.versions != Some(versions)) {
                let older = OlderMetadata {
                    node,
                    versions: Some(versions),
                    heard: now,
                    begun: false,
                };
                self.memory.rolled_back.insert(host.clone(), older);
            }
        }
        let open = self.memory.rolled_back.values().filter(|older| !older.begun);
        open.filter(|older| sound.contains(&older.node))
            .map(|older| (older.node, older.heard))
            .collect()
    }

    /// Once it is written down that a node whose metadata went back is being repaired, that need not be begun again.
    async fn note_older(
        &mut self,
        begun: &BTreeMap<NodeId, Timestamp>,
        hosts: &BTreeMap<NodeId, HostName>,
        now: Timestamp,
    ) {
        if begun.is_empty() || !self.keep(now, false).await {
            return;
        }
        for host in begun.keys().filter_map(|id| hosts.get(id)) {
            let Some(older) = self.memory.rolled_back.get_mut(host) else {
                continue;
            };
            older.begun = true;
            if let Err(error) = self.store.put_record(Kind::RolledBack, host, older).await {
                older.begun = false;
                tracing::warn!(%error, "that a repair was begun was not noted; it is tried again");
            }
        }
    }

    /// Reads who holds what from a member's own file: the admin API does not tell.
    async fn learn_maps(&mut self, current: u64, through: &HostName, links: &Links) {
        if current == 0 || !self.memory.moves.wants_maps(current) {
            return;
        }
        let has = |name: &HostName| {
            let heard = self.memory.heard.get(name);
            heard.is_some_and(|heard| {
                heard.agent && heard.report.layout.is_some_and(|held| held.version >= current)
            })
        };
        let mut hosts: Vec<&HostName> = links.keys().filter(|name| has(name)).collect();
        hosts.sort_by_key(|name| *name != through);
        for host in hosts {
            let Some(link) = links.get(host) else { continue };
            match ask(host, link, Question::Layout { with_map: true }, WITHIN).await {
                Ok(Answer::Layout(facts)) => {
                    for version in facts.versions.into_iter().chain(facts.old_versions) {
                        if let Some(map) = version.map {
                            self.memory.moves.maps.insert(version.version, map);
                        }
                    }
                    return;
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(%host, %error, "the layout's file was not read"),
            }
        }
    }

    fn announce(&mut self, news: &News, hosts: &BTreeMap<NodeId, HostName>, now: Timestamp) {
        let name = |id: &NodeId| hosts.get(id).map_or_else(|| id.short(), ToString::to_string);
        let older = |key: &MoveKey| {
            // The record of one that is over is gone by now.
            let mut known = self.memory.rolled_back.values();
            match self.memory.moves.records.get(key) {
                Some(record) => record.facts.older_metadata,
                None => known.any(|older| Some(older.node) == key.refilled),
            }
        };
        let title = |key: &MoveKey| match &key.refilled {
            None => format!("layout version {}", key.version),
            Some(id) if older(key) => format!("{}, whose metadata went back,", name(id)),
            Some(id) => format!("the new data disk of {}", name(id)),
        };
        let text = match news {
            News::Applied(version) => {
                format!("layout version {version} is in force; its metadata is being synced")
            }
            News::Refilled(key) if older(key) => format!("{} is being repaired", title(key)),
            News::Refilled(key) => format!("{} is being filled", title(key)),
            News::Settled(key) if key.refilled.is_some() => return,
            News::Settled(key) => {
                format!(
                    "{} has settled: metadata is synced; blocks may lie elsewhere still",
                    title(key)
                )
            }
            News::Placed(key) if key.refilled.is_some() => {
                format!("{} holds every block that it should", title(key))
            }
            News::Placed(key) => {
                format!("{} is placed: every block lies where it wants it", title(key))
            }
            News::Emptied(key, id) => {
                let host = name(id);
                format!("{host}, which left in {}, holds no block any more", title(key))
            }
            News::Over(key) if key.refilled.is_some() => return,
            News::Over(key) => format!("the move to {} is over", title(key)),
            News::Missing(key, missing) => {
                format!(
                    "comparing {}: {missing} blocks are not where they should be",
                    title(key)
                )
            }
            News::Uncompared(key, why) => {
                format!("block names of {} could not be compared: {why}", title(key))
            }
        };
        let kind = match news {
            News::Uncompared(..) => EventKind::Failed,
            News::Refilled(_) => EventKind::Host,
            _ => EventKind::Move,
        };
        self.memory.events.tell(now, kind, text);
    }

    /// Remembers how fast each host received, for previews.
    async fn measure_rates(&mut self, hosts: &BTreeMap<NodeId, HostName>, now: Timestamp) {
        let receivers: BTreeSet<HostName> = self
            .memory
            .moves
            .records
            .values()
            .filter(|record| record.facts.placed.is_none())
            .flat_map(|record| record.gained.keys())
            .filter_map(|id| hosts.get(id).cloned())
            .collect();
        for host in receivers {
            let memory = &mut self.memory;
            let Some((at, census)) = memory.moves.censuses.last_asked(&host) else {
                continue;
            };
            let Some(rate) = memory.flows.seen(&host, at, census.bytes()) else {
                continue;
            };
            if memory.rates.get(&host) != Some(&rate) {
                memory.rates.insert(host.clone(), rate);
                if let Err(error) = self.store.put_record(Kind::Rate, &host, &rate).await {
                    tracing::warn!(%error, %now, "a rate was not kept");
                }
            }
        }
    }

    /// Takes in copies of snapshots that ended.
    pub(super) async fn take_snapshots(&mut self, now: Timestamp) {
        let Some(ended) = self.snapshots.ended().await else {
            return;
        };
        let of = ended.of;
        match ended.outcome {
            Ok(kept) => {
                let text = format!("a snapshot of the metadata of {of} is kept on {}", kept.on);
                let upkeep = self.memory.upkeep.entry(of.clone()).or_default();
                upkeep.snapshot = Some(kept);
                let upkeep = upkeep.clone();
                if let Err(error) = self.store.put_record(Kind::Upkeep, &of, &upkeep).await {
                    tracing::warn!(%error, "what was kept was not noted");
                }
                self.memory.events.tell(now, EventKind::Step, text);
            }
            Err(error) => {
                let text = format!(
                    "no snapshot of the metadata of {of} was kept: {}",
                    crate::tell::chain(&error)
                );
                self.memory.events.tell(now, EventKind::Failed, text);
            }
        }
    }
}
