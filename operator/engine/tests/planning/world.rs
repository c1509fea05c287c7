//! A cluster that behaves as Garage does, without Garage.

use std::collections::{BTreeMap, BTreeSet};

use hayloft_api::agent::DiskReport;
use hayloft_api::{Bytes, Document, HostName, NodeId};
use hayloft_engine::{
    Access, BucketFacts, ClusterFacts, HostFacts, HostPlan, LayoutFacts, NodeFacts, Plan, ReportFacts,
    RoleChange, Snapshot, Step, check, plan, validate,
};
use jiff::{SignedDuration, Timestamp};

pub(crate) struct World {
    pub(crate) document: Document,
    pub(crate) snapshot: Snapshot,
    /// Hosts that are switched on.
    pub(crate) alive: BTreeSet<HostName>,
    ledgers: BTreeMap<HostName, HostPlan>,
    connected: BTreeSet<NodeId>,
    /// Nodes that lost their role while they were down.
    gone: BTreeSet<NodeId>,
    pub(crate) layout: LayoutFacts,
    pub(crate) access: Access,
    pub(crate) versions: Vec<u64>,
    had_role: BTreeSet<NodeId>,
    settles_in: u8,
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
    Document::laptop(hosts, Bytes::gib(10)).unwrap()
}

impl World {
    /// Declared, and nothing has happened yet.
    pub(crate) fn declared(hosts: u8) -> Self {
        Self {
            document: document(hosts),
            snapshot: Snapshot {
                minute_of_day: 600,
                ..Snapshot::empty(at(0))
            },
            alive: BTreeSet::new(),
            ledgers: BTreeMap::new(),
            connected: BTreeSet::new(),
            gone: BTreeSet::new(),
            layout: LayoutFacts {
                settled: true,
                ..LayoutFacts::default()
            },
            access: Access::default(),
            versions: Vec::new(),
            had_role: BTreeSet::new(),
            settles_in: 0,
        }
    }

    /// So many hosts, all as declared.
    pub(crate) fn converged(hosts: u8) -> Self {
        let mut world = Self::declared(hosts);
        for n in 1..=hosts {
            world.starts(n);
        }
        world.converge(40);
        assert!(world.plan().is_done(), "{}", world.plan());
        world
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
            garage_version: Some("2.5.0".to_owned()),
            garage_started: None,
            layout: None,
            data: hayloft_api::agent::DataState::Present,
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
        facts.id = Some(id(n));
        facts.agent = true;
        facts.report = Some(report);
    }

    /// A host's Garage ends; its agent goes on.
    pub(crate) fn garage_ends(&mut self, n: u8) {
        self.report(n).garage_runs = false;
        self.connected.remove(&id(n));
    }

    /// A host is switched off.
    pub(crate) fn ends(&mut self, n: u8) {
        self.alive.remove(&name(n));
        self.garage_ends(n);
        self.report(n).gateway_runs = false;
        self.facts(n).agent = false;
    }

    /// A host that was switched off is switched on.
    pub(crate) fn returns(&mut self, n: u8) {
        self.alive.insert(name(n));
        self.facts(n).agent = true;
        // It boots from its ledger.
        let told = self.ledgers.get(&name(n)).cloned().unwrap_or_default();
        self.report(n).garage_runs = told.garage.is_some();
        self.report(n).gateway_runs = told.gateway.is_some();
    }

    /// A host's disk is lost, and it starts anew, as another node.
    pub(crate) fn is_reborn(&mut self, n: u8) {
        self.ends(n);
        let old = self.facts(n).id.unwrap();
        self.starts(n);
        let facts = self.facts(n);
        facts.id = Some(NodeId::from_public_key([old.public_key()[0] + 100; 32]));
        facts.told = None;
        facts.left = None;
        facts.former.insert(old);
        self.ledgers.remove(&name(n));
    }

    pub(crate) fn facts(&mut self, n: u8) -> &mut HostFacts {
        self.snapshot.hosts.entry(name(n)).or_default()
    }

    pub(crate) fn report(&mut self, n: u8) -> &mut ReportFacts {
        self.facts(n).report.as_mut().unwrap()
    }

    /// Time passes.
    pub(crate) fn passes(&mut self, seconds: i64) {
        self.snapshot.now += SignedDuration::from_secs(seconds);
    }

    /// Looks at everything anew.
    pub(crate) fn observe(&mut self) {
        let now = self.snapshot.now;
        let layout = self.layout.clone();
        for (host, facts) in &mut self.snapshot.hosts {
            if let Some(spec) = self.document.host(host) {
                facts.zone = Some(spec.zone.clone());
            }
            let Some(id) = facts.id else { continue };
            if layout.roles.contains_key(&id) {
                self.had_role.insert(id);
                facts.left = None;
            } else if self.had_role.contains(&id) && facts.left.is_none() {
                facts.left = Some(now);
            }
        }
        let runs = |facts: &HostFacts| facts.agent && facts.report.as_ref().is_some_and(|r| r.garage_runs);
        let through = self.snapshot.hosts.iter().find(|(_, facts)| runs(facts));
        self.snapshot.cluster = through.map(|(through, facts)| {
            self.connected.extend(facts.id);
            let mut nodes = BTreeMap::new();
            for facts in self.snapshot.hosts.values() {
                // Garage lists a node that is down only while it has a role or is drained from one.
                for former in &facts.former {
                    let draining = self.gone.contains(former);
                    if draining || layout.roles.contains_key(former) {
                        nodes.insert(
                            *former,
                            NodeFacts {
                                draining,
                                ..NodeFacts::default()
                            },
                        );
                    }
                }
                if let Some(id) = facts.id {
                    let up = runs(facts) && self.connected.contains(&id);
                    let draining = !layout.settled && !layout.roles.contains_key(&id) && facts.left.is_some();
                    nodes.insert(
                        id,
                        NodeFacts {
                            up,
                            draining,
                            ..NodeFacts::default()
                        },
                    );
                }
            }
            ClusterFacts {
                through: through.clone(),
                observed: now,
                nodes,
                layout: layout.clone(),
                versions: Vec::new(),
                trackers: None,
                partitions: None,
                access: (layout.version > 0).then(|| self.access.clone()),
            }
        });
        let cluster = self.snapshot.cluster.as_ref();
        for facts in self.snapshot.hosts.values_mut() {
            let ready = facts.id.is_some_and(|id| {
                cluster.is_some_and(|cluster| cluster.nodes.get(&id).is_some_and(|node| node.up))
                    && !layout.roles.contains_key(&id)
            });
            facts.ready_since = ready.then(|| facts.ready_since.unwrap_or(now));
        }
        self.snapshot.bucket_made |= self.access.ready();
    }

    /// Plans, and holds the plan before the second judge.
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

    /// Carries a plan out, as Garage and agents would.
    pub(crate) fn carry_out(&mut self, plan: &Plan) {
        for planned in &plan.steps {
            match &planned.step {
                Step::Desire { host, plan } => {
                    let facts = self.snapshot.hosts.get_mut(host).unwrap();
                    facts.told = Some(plan.clone());
                    self.ledgers.insert(host.clone(), plan.clone());
                    let report = facts.report.as_mut().unwrap();
                    report.follows = true;
                    report.garage_runs = plan.garage.is_some();
                    report.gateway_runs = plan.gateway.is_some();
                }
                Step::Connect { peers, .. } => self.connected.extend(peers.iter().map(|peer| peer.id)),
                Step::RevertStaging { .. } => {
                    self.layout.staged = hayloft_engine::Staged::default();
                    self.snapshot.staged_by_us = None;
                }
                Step::ChangeLayout {
                    version,
                    roles,
                    zone_redundancy,
                    ..
                } => {
                    assert_eq!(*version, self.layout.version + 1);
                    self.layout.version = *version;
                    self.versions.push(*version);
                    for (id, change) in roles {
                        match change {
                            RoleChange::Assign(role) => self.layout.roles.insert(*id, role.clone()),
                            RoleChange::Remove => self.layout.roles.remove(id),
                        };
                        if *change == RoleChange::Remove && !self.connected.contains(id) {
                            self.gone.insert(*id);
                        }
                    }
                    if zone_redundancy.is_some() {
                        self.layout.zone_redundancy = *zone_redundancy;
                    }
                    self.layout.settled = false;
                    self.settles_in = 2;
                }
                Step::SkipGone { version, .. } => {
                    assert_eq!(*version, self.layout.version);
                    self.gone.clear();
                }
                Step::EnsureKey { .. } => self.access.key = true,
                Step::EnsureBucket { .. } => {
                    self.access.bucket = Some(BucketFacts {
                        allowed: false,
                        ..BucketFacts::good(Bytes(0))
                    });
                }
                Step::AllowKey { .. } => {
                    self.access.bucket = Some(BucketFacts::good(Bytes(0)));
                }
                _ => panic!("{}", planned.step),
            }
        }
    }

    /// A round: look, plan, act; then a second passes.
    pub(crate) fn round(&mut self) -> Plan {
        let plan = self.look();
        self.carry_out(&plan);
        self.passes(1);
        let cluster = self.snapshot.cluster.as_ref();
        let all_up = self
            .layout
            .roles
            .keys()
            .all(|id| cluster.is_some_and(|cluster| cluster.nodes.get(id).is_some_and(|node| node.up)));
        if !self.layout.settled && all_up && self.gone.is_empty() {
            self.settles_in = self.settles_in.saturating_sub(1);
            self.layout.settled = self.settles_in == 0;
        }
        plan
    }

    pub(crate) fn converge(&mut self, rounds: u32) {
        for _ in 0..rounds {
            self.round();
        }
        self.observe();
    }
}
