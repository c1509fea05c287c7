//! A community on a simulated Garage: hosts that come and go, and a coordinator's memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hayloft_api::agent::{BlocksReport, DataState, DiskReport};
use hayloft_api::document::RebalanceSpec;
use hayloft_api::question::LayoutDigest;
use hayloft_api::status::ConditionType;
use hayloft_api::{Bytes, Document, HostName, NodeId};
use hayloft_engine::sim::SimGarage;
use hayloft_engine::{
    Access, Asked, AskedFor, BucketFacts, ClusterFacts, Compared, Drift, Finding, HostFacts, HostPlan,
    LayoutFacts, Look, MoveFacts, MoveKey, NodeRole, Plan, Reason, Renewal, RepairFacts, RepairKind,
    ReportFacts, RoleChange, Snapshot, SnapshotKept, Staged, Step, Upkeep, check, findings, plan, progress,
    validate,
};
use jiff::Timestamp;

/// Seconds that a repair of tables takes.
const TABLES_TAKE: i64 = 3;

pub(crate) struct World {
    pub(crate) document: Document,
    pub(crate) snapshot: Snapshot,
    pub(crate) garage: SimGarage,
    /// Hosts that are switched on.
    pub(crate) alive: BTreeSet<HostName>,
    ledgers: BTreeMap<HostName, HostPlan>,
    /// Hosts whose Garage process runs.
    running: BTreeSet<HostName>,
    pub(crate) access: Access,
    pub(crate) versions: Vec<u64>,
    had_role: BTreeSet<NodeId>,
    /// Nodes that were ever made, so that each new one is another.
    made: u8,
    /// Hosts whose layout file says something else.
    pub(crate) digests: BTreeMap<HostName, String>,
    /// Hosts that retired, when, and what they held then.
    pub(crate) retired: Vec<(HostName, u64)>,
    /// Whether hosts are looked after by the calendar.
    pub(crate) kept: bool,
    /// Hosts whose agents are there and follow nothing.
    pub(crate) deaf: BTreeSet<HostName>,
    /// Figures that were told of moves.
    told: BTreeMap<MoveKey, [u16; 3]>,
}

pub(crate) fn name(n: u8) -> HostName {
    format!("host-{n}").parse().unwrap()
}

pub(crate) fn id(n: u8) -> NodeId {
    NodeId::from_public_key([n; 32])
}

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + seconds).unwrap()
}

pub(crate) fn document(hosts: u8) -> Document {
    let mut document = Document::laptop(hosts, Bytes::gib(10)).unwrap();
    document.spec.rebalance = RebalanceSpec::default();
    document
}

impl World {
    /// Declared, and nothing has happened yet.
    pub(crate) fn declared(hosts: u8) -> Self {
        let document = document(hosts);
        Self {
            garage: SimGarage::new(document.spec.garage.replication_factor),
            document,
            snapshot: Snapshot {
                minute_of_day: 600,
                ..Snapshot::empty(at(0))
            },
            alive: BTreeSet::new(),
            ledgers: BTreeMap::new(),
            running: BTreeSet::new(),
            access: Access::default(),
            versions: Vec::new(),
            had_role: BTreeSet::new(),
            made: 100,
            digests: BTreeMap::new(),
            retired: Vec::new(),
            kept: false,
            deaf: BTreeSet::new(),
            told: BTreeMap::new(),
        }
    }

    /// So many hosts, all as declared, with a block in every third partition.
    pub(crate) fn converged(hosts: u8) -> Self {
        let mut world = Self::declared(hosts);
        for n in 1..=hosts {
            world.starts(n);
        }
        world.converge(40);
        assert!(world.plan().is_done(), "{}", world.plan());
        world.fill();
        world
    }

    /// Clients push.
    pub(crate) fn fill(&mut self) {
        for partition in (0..=u8::MAX).step_by(3) {
            self.garage.put(partition).unwrap();
        }
    }

    /// A host's agent begins to report.
    pub(crate) fn starts(&mut self, n: u8) {
        self.alive.insert(name(n));
        let port = 4000 + u16::from(n) * 10;
        let report = ReportFacts {
            heard: self.snapshot.now,
            follows: false,
            rpc_addr: format!("127.0.0.1:{port}"),
            s3_addr: format!("127.0.0.1:{}", port + 1),
            gateway_addr: Some(format!("127.0.0.1:{}", 8079 + u16::from(n))),
            link_addr: None,
            garage_version: Some("2.5.0".to_owned()),
            garage_waiting: None,
            garage_started: None,
            layout: None,
            data: DataState::Present,
            blocks: None,
            unfit: None,
            garage_runs: false,
            gateway_runs: false,
            disk: Some(DiskReport {
                data_available: 90 << 30,
                data_total: 100 << 30,
            }),
        };
        let facts = self.facts(n);
        facts.id = Some(facts.id.unwrap_or(id(n)));
        facts.agent = true;
        facts.report = Some(report);
    }

    /// A host's Garage ends; its agent goes on.
    pub(crate) fn garage_ends(&mut self, n: u8) {
        self.running.remove(&name(n));
        self.report(n).garage_runs = false;
        let id = self.facts(n).id.unwrap();
        self.garage.stop(id, false);
    }

    /// A host is switched off.
    pub(crate) fn ends(&mut self, n: u8) {
        self.alive.remove(&name(n));
        self.garage_ends(n);
        self.report(n).gateway_runs = false;
        self.facts(n).agent = false;
    }

    /// A host's Garage dies before it has written down what it was about to fetch, and is started again.
    pub(crate) fn dies_in_the_second_of_its_ack(&mut self, n: u8) {
        let id = self.facts(n).id.unwrap();
        self.garage.stop(id, true);
        self.garage.start(id);
    }

    /// A host that was switched off is switched on.
    pub(crate) fn returns(&mut self, n: u8) {
        self.alive.insert(name(n));
        self.facts(n).agent = true;
        // It boots from its ledger.
        let told = self.ledgers.get(&name(n)).cloned().unwrap_or_default();
        self.run(&name(n), told.garage.is_some());
        self.report(n).gateway_runs = told.gateway.is_some();
    }

    /// Starts or ends a host's Garage process. Connected it is once a member was told its address, or knows it.
    fn run(&mut self, host: &HostName, shall: bool) {
        let facts = self.snapshot.hosts.get_mut(host).unwrap();
        let id = facts.id.unwrap();
        let runs = shall && !self.garage.has_lost_data(id);
        facts.report.as_mut().unwrap().garage_runs = runs;
        if runs {
            self.running.insert(host.clone());
            if self.garage.layout().roles.contains_key(&id) {
                self.garage.start(id);
            }
        } else {
            self.running.remove(host);
            self.garage.stop(id, false);
        }
    }

    /// A host's disks are lost, and it starts anew, as another node.
    pub(crate) fn is_reborn(&mut self, n: u8) {
        self.ends(n);
        let old = self.facts(n).id.unwrap();
        let new = self.new_id();
        self.garage.forget(old, new, true);
        let facts = self.facts(n);
        facts.id = Some(new);
        facts.told = None;
        facts.left = None;
        facts.former.insert(old);
        self.ledgers.remove(&name(n));
        self.starts(n);
    }

    /// A host's data disk is gone; its metadata is not.
    pub(crate) fn loses_its_data(&mut self, n: u8) {
        let id = self.facts(n).id.unwrap();
        self.running.remove(&name(n));
        self.garage.lose_data(id);
        let report = self.report(n);
        report.garage_runs = false;
        report.data = DataState::MarkMissing { holds_blocks: false };
    }

    fn new_id(&mut self) -> NodeId {
        self.made += 1;
        id(self.made)
    }

    /// A person asks something of a host.
    pub(crate) fn asks(&mut self, n: u8, what: AskedFor) {
        let at = self.snapshot.now;
        self.facts(n).asked = Some(Asked { what, at });
    }

    pub(crate) fn facts(&mut self, n: u8) -> &mut HostFacts {
        self.snapshot.hosts.entry(name(n)).or_default()
    }

    pub(crate) fn report(&mut self, n: u8) -> &mut ReportFacts {
        self.facts(n).report.as_mut().unwrap()
    }

    pub(crate) fn node(&self, n: u8) -> NodeId {
        self.snapshot.hosts[&name(n)].id.unwrap()
    }

    pub(crate) fn layout(&self) -> LayoutFacts {
        self.garage.layout()
    }

    fn clock(&self) -> Timestamp {
        at(i64::try_from(self.garage.now()).unwrap())
    }

    /// Time passes, and nobody looks.
    pub(crate) fn passes(&mut self, seconds: u64) {
        self.garage.advance(seconds);
        self.snapshot.now = self.clock();
    }

    /// Time passes while the coordinator watches and acts.
    pub(crate) fn watches(&mut self, seconds: u64) {
        let end = self.garage.now() + seconds;
        while self.garage.now() < end {
            self.round();
            let left = end.saturating_sub(self.garage.now());
            self.passes(left.min(60));
        }
        self.observe();
    }

    /// Looks at everything anew.
    pub(crate) fn observe(&mut self) {
        let now = self.snapshot.now;
        let layout = self.garage.layout();
        if let Renewal::Staged { lacking, .. } = &mut self.snapshot.secrets.renewal {
            lacking.retain(|host| self.deaf.contains(host) && self.alive.contains(host));
        }
        let digest = |version: u64| hex(version);
        let ids: Vec<(HostName, Option<NodeId>)> = self
            .snapshot
            .hosts
            .iter()
            .map(|(host, facts)| (host.clone(), facts.id))
            .collect();
        // Members know each other's addresses, also after a restart.
        for (host, id) in ids {
            let facts = self.snapshot.hosts.get_mut(&host).unwrap();
            if let Some(spec) = self.document.host(&host) {
                facts.zone = Some(spec.zone.clone());
            }
            let Some(id) = id else { continue };
            if layout.roles.contains_key(&id) {
                self.had_role.insert(id);
                facts.left = None;
            } else if self.had_role.contains(&id) && facts.left.is_none() {
                facts.left = Some(now);
            }
            let Some(report) = facts.report.as_mut() else {
                continue;
            };
            report.garage_started = self
                .garage
                .started(id)
                .map(|seconds| at(i64::try_from(seconds).unwrap()));
            report.blocks = facts.agent.then(|| BlocksReport {
                count: self.garage.blocks(id),
                bytes: self.garage.blocks(id) << 20,
                at: now,
            });
            report.layout = (layout.version > 0 && report.garage_runs).then(|| LayoutDigest {
                version: layout.version,
                digest: self
                    .digests
                    .get(&host)
                    .cloned()
                    .unwrap_or_else(|| digest(layout.version))
                    .parse()
                    .unwrap(),
            });
        }
        let runs = |facts: &HostFacts| {
            let barred = facts.id.is_some_and(|id| self.snapshot.barred.contains(&id));
            facts.agent && !barred && facts.report.as_ref().is_some_and(|report| report.garage_runs)
        };
        let had_role = |facts: &HostFacts| facts.id.is_some_and(|id| layout.roles.contains_key(&id));
        let mut candidates: Vec<_> = self
            .snapshot
            .hosts
            .iter()
            .filter(|(_, facts)| runs(facts))
            .collect();
        candidates.sort_by_key(|(name, facts)| (!had_role(facts), (*name).clone()));
        let through = candidates
            .first()
            .map(|(name, facts)| ((*name).clone(), facts.id.unwrap()));
        self.snapshot.cluster = through.map(|(through, id)| {
            self.garage.start(id);
            let (versions, trackers) = self.garage.history();
            ClusterFacts {
                through,
                observed: now,
                nodes: self.garage.status(),
                layout: self.garage.layout(),
                versions,
                trackers,
                partitions: None,
                access: (layout.version > 0).then(|| self.access.clone()),
            }
        });
        self.look_for_hosts();
        self.follow_moves();
        self.snapshot.bucket_made |= self.access.ready();
    }

    fn look_for_hosts(&mut self) {
        let now = self.snapshot.now;
        let Some(cluster) = self.snapshot.cluster.clone() else {
            return;
        };
        let up = |id: &NodeId| cluster.is_up(*id);
        let holders: Vec<&NodeId> = cluster.layout.roles.keys().collect();
        let majority = holders.iter().filter(|id| up(id)).count() * 2 > holders.len();
        for facts in self.snapshot.hosts.values_mut() {
            if self.kept && facts.upkeep.is_none() {
                let since = Some(now);
                facts.upkeep = Some(Upkeep {
                    since,
                    ..Upkeep::default()
                });
                facts.resync = Some(hayloft_engine::ResyncFacts::default());
            }
            let ready = facts
                .id
                .is_some_and(|id| up(&id) && !cluster.layout.roles.contains_key(&id));
            facts.ready_since = ready.then(|| facts.ready_since.unwrap_or(now));
            let holds = facts.id.is_some_and(|id| cluster.layout.roles.contains_key(&id));
            let present = facts.agent && (!holds || facts.id.is_some_and(|id| up(&id)));
            facts.presence = std::mem::take(&mut facts.presence).seen(Look {
                now,
                present,
                majority,
            });
        }
    }

    /// A person's word about a new disk becomes a move when the disk is in use.
    fn notice_new_disks(&mut self, layout: &LayoutFacts) {
        let now = self.snapshot.now;
        let mut filled = Vec::new();
        for facts in self.snapshot.hosts.values_mut() {
            let asked = facts.asked.filter(|asked| asked.what == AskedFor::NewDisk);
            let (Some(_), Some(id)) = (asked, facts.id) else {
                continue;
            };
            let report = facts.report.as_ref();
            if report.is_some_and(|report| report.data == DataState::Present) {
                facts.asked = None;
                filled.extend(layout.roles.get(&id).map(|_| (id, false)));
            }
        }
        for facts in self
            .snapshot
            .hosts
            .values_mut()
            .filter(|facts| facts.rolled_back.is_some())
        {
            let id = facts.id.unwrap();
            if !self.snapshot.moves.iter().any(|moved| moved.refilled == Some(id)) {
                filled.push((id, true));
            }
        }
        let map = self
            .garage
            .version(layout.version)
            .map(|version| version.map.clone());
        for (id, older_metadata) in filled {
            let holds = |partition: &u8| {
                let map = map.as_ref().unwrap();
                map.holders_of(*partition).contains(&id)
            };
            let partitions = (0..=u8::MAX).filter(holds).count() as u64;
            let open = |facts: &MoveFacts| facts.refilled == Some(id) && facts.placed.is_none();
            if let Some(facts) = self.snapshot.moves.iter_mut().find(|facts| open(facts)) {
                facts.applied = now;
                facts.quickened.clear();
                facts.repairs.clear();
                facts.compared = None;
                continue;
            }
            self.snapshot.moves.push(MoveFacts {
                refilled: Some(id),
                older_metadata,
                partitions: Some(partitions),
                destinations: [(id, partitions)].into(),
                ..applied(layout.version, now, &layout.roles, &layout.roles)
            });
        }
        self.snapshot.moves.sort_by_key(MoveFacts::key);
    }

    /// What a coordinator writes down of moves.
    fn follow_moves(&mut self) {
        let now = self.snapshot.now;
        let layout = self.garage.layout();
        self.notice_new_disks(&layout);
        let mut moves = std::mem::take(&mut self.snapshot.moves);
        for facts in &mut moves {
            if facts.settled.is_none() && layout.settled {
                facts.settled = Some(now);
                facts.held = facts
                    .departures()
                    .map(|left| (left.id, self.garage.blocks(left.id)))
                    .collect();
            }
            for (id, repair) in &mut facts.repairs {
                if repair.finished.is_none() && !self.garage.repairs(*id) && self.garage.is_up(*id) {
                    repair.finished = Some(now);
                }
            }
            for (id, repair) in &mut facts.tables {
                let started = self.garage.started(*id);
                let started = started.map(|seconds| at(i64::try_from(seconds).unwrap()));
                let runs = self.garage.is_up(*id) && started.is_some_and(|at| repair.launched >= at);
                let worked = now.duration_since(repair.launched).as_secs() >= TABLES_TAKE;
                if repair.finished.is_none() && runs && worked {
                    repair.finished = Some(now);
                }
            }
            if let Some(began) = facts.comparing.take() {
                let (missing, of) = self.garage.compare();
                facts.compared = Some(Compared {
                    began,
                    at: now,
                    missing,
                    of,
                });
            }
        }
        let started = |id: NodeId| {
            self.garage
                .started(id)
                .map(|seconds| at(i64::try_from(seconds).unwrap()))
        };
        let mut covered = false;
        for facts in moves.iter_mut().rev() {
            if facts.placed.is_none() && (covered || facts.is_placed(started)) {
                facts.placed = Some(now);
                let mended = facts.refilled.filter(|_| facts.older_metadata);
                let mut hosts = self.snapshot.hosts.values_mut();
                if let Some(host) = hosts.find(|host| mended.is_some() && host.id == mended) {
                    host.rolled_back = None;
                }
            }
            covered |= facts.placed.is_some() && facts.version == layout.version;
            let settled = facts.settled;
            let left: Vec<NodeId> = facts.departures().map(|left| left.id).collect();
            for id in left {
                if settled.is_some_and(|at| at < now)
                    && self.garage.blocks(id) == 0
                    && !layout.roles.contains_key(&id)
                {
                    facts.emptied.entry(id).or_insert(now);
                }
            }
        }
        let hosts = &self.snapshot.hosts;
        let barred = &self.snapshot.barred;
        let gone = |id: NodeId| {
            barred.contains(&id)
                || layout.roles.contains_key(&id)
                || !hosts.values().any(|facts| facts.id == Some(id))
        };
        moves.retain(|facts| !facts.is_over(gone));
        self.snapshot.moves = moves;
        for facts in &self.snapshot.moves {
            let told = progress(&self.snapshot, facts);
            let told = [told.settled, told.placed, told.empty];
            let before = self.told.insert(facts.key(), told).unwrap_or_default();
            assert!(
                told.iter().zip(before).all(|(now, before)| *now >= before),
                "{before:?} then {told:?}"
            );
            assert!(told[1] < 1000 || facts.placed.is_some() || facts.partitions == Some(0));
        }
        let told = self.told.clone();
        for facts in &mut self.snapshot.moves {
            facts.told = told[&facts.key()];
        }
    }

    /// Plans, and holds the plan before the second judge.
    /// What is told of one condition.
    pub(crate) fn finding(&self, kind: ConditionType) -> Finding {
        let found = findings(&self.document, &self.snapshot, &self.plan());
        found.into_iter().find(|finding| finding.kind == kind).unwrap()
    }

    pub(crate) fn plan(&self) -> Plan {
        let plan = plan(&validate(&self.document, &self.snapshot).unwrap());
        let objections = check(&self.document, &self.snapshot, &plan);
        assert!(objections.is_empty(), "{objections:?} to\n{plan}");
        plan
    }

    /// Observes and plans.
    pub(crate) fn look(&mut self) -> Plan {
        self.observe();
        self.plan()
    }

    fn apply(&mut self, through: &HostName, version: u64, change: &Staged) {
        let through = self.snapshot.hosts[through].id.unwrap();
        let before = self.garage.layout();
        // A number that may have been used is passed over.
        while self.garage.current_version() + 1 < version {
            let next = self.garage.current_version() + 1;
            self.garage.apply(through, next).unwrap();
        }
        let earlier = self.garage.version(before.version).cloned();
        self.garage.stage(through, change).unwrap();
        self.garage.apply(through, version).unwrap();
        self.versions.push(version);
        self.snapshot.unanswered = None;
        let now = self.garage.version(version).unwrap();
        let moved = earlier.map(|earlier| earlier.map.moves_to(&now.map));
        let sizes =
            |of: &BTreeMap<NodeId, Vec<u8>>| of.iter().map(|(id, all)| (*id, all.len() as u64)).collect();
        self.snapshot.moves.push(MoveFacts {
            partitions: Some(moved.as_ref().map_or(0, |moved| moved.total() as u64)),
            destinations: moved
                .as_ref()
                .map(|moved| sizes(&moved.gained))
                .unwrap_or_default(),
            sources: moved.as_ref().map(|moved| sizes(&moved.lost)).unwrap_or_default(),
            ..applied(version, self.snapshot.now, &before.roles, &now.roles)
        });
    }

    fn tell(&mut self, host: &HostName, plan: &HostPlan) {
        self.ledgers.insert(host.clone(), plan.clone());
        let facts = self.snapshot.hosts.get_mut(host).unwrap();
        facts.told = Some(plan.clone());
        let old = facts.id.unwrap();
        let report = facts.report.as_mut().unwrap();
        report.follows = true;
        report.gateway_runs = plan.gateway.is_some();
        if plan.accept_empty_data {
            report.data = DataState::Present;
            self.garage.accept_data(old);
        }
        if plan.forget == Some(old) {
            assert!(
                !self.garage.layout().roles.contains_key(&old),
                "{host} forgets a node with a role"
            );
            if plan.erase_blocks {
                self.retired.push((host.clone(), self.garage.blocks(old)));
            }
            let new = self.new_id();
            self.garage.forget(old, new, plan.erase_blocks);
            let facts = self.snapshot.hosts.get_mut(host).unwrap();
            facts.id = Some(new);
            facts.left = None;
            facts.former.insert(old);
        }
        self.run(host, plan.garage.is_some());
    }

    /// Carries a plan out, as Garage and agents would.
    pub(crate) fn carry_out(&mut self, plan: &Plan) {
        for planned in &plan.steps {
            self.carry_out_one(&planned.step, &planned.reason);
        }
    }

    fn carry_out_one(&mut self, step: &Step, reason: &Reason) {
        let now = self.snapshot.now;
        let node = |world: &Self, host: &HostName| world.snapshot.hosts[host].id.unwrap();
        match step {
            Step::Desire { host, plan } => self.tell(host, plan),
            Step::Connect { peers, .. } => {
                for peer in peers {
                    self.garage.start(peer.id);
                }
            }
            Step::RevertStaging { through } => {
                self.garage.revert(node(self, through)).unwrap();
                self.snapshot.staged_by_us = None;
            }
            Step::ChangeLayout {
                through,
                version,
                roles,
                zone_redundancy,
            } => {
                let change = Staged {
                    roles: roles.clone(),
                    zone_redundancy: zone_redundancy.map(Some),
                };
                self.apply(through, *version, &change);
            }
            Step::HealSplit { through, version } => {
                self.digests.clear();
                self.apply(through, *version, &Staged::default());
            }
            Step::SkipGone { through, version } => {
                drop(self.garage.skip_dead(node(self, through), *version, false));
            }
            Step::AllowMissing { through, version, .. } => {
                self.garage
                    .skip_dead(node(self, through), *version, true)
                    .unwrap();
                self.snapshot.may_lack.clear();
                let moved = self
                    .snapshot
                    .moves
                    .iter_mut()
                    .find(|facts| facts.version == *version);
                moved.unwrap().missing_allowed = Some(now);
            }
            Step::QuickenReceivers { nodes, .. } => {
                for id in nodes {
                    self.garage.clear_resync(*id);
                    let open = |facts: &&mut MoveFacts| {
                        facts.placed.is_none() && facts.settled.is_some() && facts.receivers().contains(id)
                    };
                    for facts in self.snapshot.moves.iter_mut().filter(open) {
                        facts.quickened.insert(*id, now);
                    }
                }
            }
            Step::LaunchRepair { nodes, kind, .. } => {
                nodes.iter().for_each(|id| self.launch(*id, *kind, reason));
            }
            Step::Compare { of } => {
                let moved = self.snapshot.moves.iter_mut().find(|facts| facts.key() == *of);
                moved.unwrap().comparing = Some(now);
            }
            Step::SetResync { nodes, setting, .. } => {
                let hosts = self.snapshot.hosts.values_mut();
                hosts
                    .filter(|facts| facts.id.is_some_and(|id| nodes.contains(&id)))
                    .for_each(|facts| facts.resync = Some(*setting));
            }
            Step::Evict { host, node } => {
                self.snapshot.barred.insert(*node);
                self.snapshot.secrets.known_to.insert(host.clone());
            }
            Step::StageSecrets { known_to } => {
                let hosts = self.alive.iter().filter(|host| !known_to.contains(*host));
                let lacking = hosts.cloned().collect();
                self.snapshot.secrets.renewal = Renewal::Staged { since: now, lacking };
            }
            Step::SwitchSecrets { .. } => self.switch(),
            Step::RotateSecrets { .. } => {
                self.snapshot.secrets.known_to.clear();
                self.snapshot.secrets.renewal = Renewal::None;
            }
            Step::KeepSnapshot { of, on } => {
                let upkeep = self.snapshot.hosts.get_mut(of).unwrap().upkeep.as_mut().unwrap();
                upkeep.snapshot = Some(SnapshotKept {
                    made: now,
                    on: on.clone(),
                });
            }
            Step::EnsureKey { .. } => self.access.key = true,
            Step::EnsureBucket { .. } => {
                self.access.bucket = Some(BucketFacts {
                    allowed: false,
                    ..BucketFacts::good(Bytes(0))
                });
            }
            Step::AllowKey { .. } => self.access.bucket.as_mut().unwrap().allowed = true,
            Step::Mend { drift, .. } => self.mend(*drift),
            Step::RenewAdminToken { .. } => {
                self.access.token = hayloft_engine::AdminTokenFacts::Held {
                    expires: now + jiff::SignedDuration::from_hours(24 * 30),
                    scoped: true,
                };
            }
        }
    }

    fn mend(&mut self, drift: Drift) {
        if drift == Drift::KeyCreates {
            self.access.key_creates = false;
            return;
        }
        let bucket = self.access.bucket.as_mut().unwrap();
        match drift {
            Drift::Alias => bucket.alias = true,
            Drift::Quota { shall } => {
                bucket.quota = shall;
                bucket.object_quota = false;
            }
            Drift::Website => bucket.website = false,
            Drift::Lifecycle => bucket.lifecycle = false,
            Drift::Cors => bucket.cors = false,
            Drift::KeyOwns => bucket.owner = false,
            Drift::KeyCreates => {}
        }
    }

    fn repair(&mut self, id: NodeId) {
        self.garage.repair_blocks(id);
        let launched = self.snapshot.now;
        for facts in self
            .snapshot
            .moves
            .iter_mut()
            .filter(|facts| facts.settled.is_some())
        {
            if facts.receivers().contains(&id) {
                facts.repairs.insert(
                    id,
                    RepairFacts {
                        launched,
                        finished: None,
                        errors: 0,
                    },
                );
            }
        }
    }

    fn launch(&mut self, id: NodeId, kind: RepairKind, reason: &Reason) {
        let now = self.snapshot.now;
        if kind == RepairKind::Blocks {
            self.repair(id);
        }
        if kind == RepairKind::Tables && !matches!(reason, Reason::Due { .. }) {
            let begun = RepairFacts {
                launched: now,
                finished: None,
                errors: 0,
            };
            let moves = self.snapshot.moves.iter_mut();
            for moved in moves.filter(|moved| moved.placed.is_none()) {
                moved.tables.insert(id, begun);
            }
        }
        let host = self
            .snapshot
            .hosts
            .values_mut()
            .find(|facts| facts.id == Some(id))
            .unwrap();
        if let Some(upkeep) = &mut host.upkeep {
            match kind {
                RepairKind::Blocks => upkeep.blocks = Some(now),
                RepairKind::Tables => upkeep.tables = Some(now),
                RepairKind::Scrub => upkeep.scrub = Some(now),
            }
        }
    }

    /// All hosts restart Garage with a new secret; who was put out does not get it.
    fn switch(&mut self) {
        let barred = self.snapshot.barred.clone();
        let ids: Vec<NodeId> = self
            .snapshot
            .hosts
            .values()
            .filter_map(|facts| facts.id)
            .collect();
        for id in ids {
            let up = self.garage.is_up(id);
            self.garage.stop(id, false);
            if up && !barred.contains(&id) {
                self.garage.start(id);
            }
        }
        self.snapshot.secrets.renewal = Renewal::Switched;
    }

    /// A round: look, plan, act; then a second passes.
    pub(crate) fn round(&mut self) -> Plan {
        let plan = self.look();
        self.carry_out(&plan);
        self.passes(1);
        plan
    }

    pub(crate) fn converge(&mut self, rounds: u32) {
        for _ in 0..rounds {
            self.round();
        }
        self.observe();
    }

    /// What has to be true whatever happens: nobody was retired with a block on its disk.
    pub(crate) fn holds(&self) {
        assert!(
            self.retired.iter().all(|(_, blocks)| *blocks == 0),
            "{:?}",
            self.retired
        );
    }

    /// The plans of some rounds, those that say the same as the one before left out.
    pub(crate) fn story(&mut self, rounds: u32) -> String {
        let mut told: VecDeque<String> = VecDeque::new();
        for _ in 0..rounds {
            let plan = self.round().to_string();
            if told.back() != Some(&plan) {
                told.push_back(plan);
            }
        }
        Vec::from(told).join("\n")
    }
}

/// A version as it is when it was just applied.
fn applied(
    version: u64,
    applied: Timestamp,
    before: &BTreeMap<NodeId, NodeRole>,
    after: &BTreeMap<NodeId, NodeRole>,
) -> MoveFacts {
    MoveFacts {
        version,
        refilled: None,
        applied,
        settled: None,
        before: before.clone(),
        after: after.clone(),
        partitions: None,
        destinations: BTreeMap::new(),
        sources: BTreeMap::new(),
        bytes: None,
        arrived: Bytes(0),
        quickened: BTreeMap::new(),
        repairs: BTreeMap::new(),
        tables: BTreeMap::new(),
        missing_allowed: None,
        older_metadata: false,
        comparing: None,
        compared: None,
        held: BTreeMap::new(),
        placed: None,
        emptied: BTreeMap::new(),
        told: [0; 3],
    }
}

/// A made-up digest of a version.
fn hex(version: u64) -> String {
    format!("{version:064x}")
}

/// A change that somebody could have staged.
pub(crate) fn removal(n: u8) -> Staged {
    Staged {
        roles: [(id(n), RoleChange::Remove)].into(),
        zone_redundancy: None,
    }
}
