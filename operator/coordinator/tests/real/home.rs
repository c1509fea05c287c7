//! A home: agents with real Garage daemons on loopback, and a coordinator. The gateway alone is a stand-in that only
//! says that it listens.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use hayloft_agent::child::ChildDriver;
use hayloft_agent::child::spawn::{Shim, Spawner};
use hayloft_agent::launch::{Places, Program};
use hayloft_agent::reach::Reach;
use hayloft_agent::{Agent, AgentConfig, AgentHandle, Clock};
use hayloft_api::agent::{GARAGE_UNIT, HostReport, UnitState};
use hayloft_api::status::{Phase, Status};
use hayloft_api::{Bytes, Document, HostName};
use hayloft_coordinator::{AgentLink, ClusterSecrets, Coordinator, CoordinatorConfig, Links, Store};
use hayloft_garage::GarageVersion;
use hayloft_garage::admin::Client;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

/// For a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) fn name(n: u8) -> HostName {
    format!("host-{n}").parse().unwrap()
}

pub(crate) fn document(hosts: u8) -> Document {
    Document::laptop(hosts, Bytes::gib(1)).unwrap()
}

pub(crate) struct Home {
    pub(crate) dir: PathBuf,
    pub(crate) garage: PathBuf,
    pub(crate) agents: BTreeMap<HostName, AgentHandle>,
    pub(crate) links: watch::Sender<Links>,
    pub(crate) document: watch::Sender<Document>,
    pub(crate) coordinator: Option<Coordinator>,
    pub(crate) starts: u8,
    /// Seconds that all clocks are ahead.
    pub(crate) ahead: Arc<AtomicI64>,
}

impl Home {
    pub(crate) async fn start(dir: &Path, hosts: u8) -> Self {
        let _ = tracing_subscriber::fmt()
            .with_env_filter("hayloft_coordinator=debug,hayloft_agent=info")
            .with_test_writer()
            .try_init();
        let mut home = Self {
            dir: dir.to_owned(),
            garage: hayloft_garage_fixture::program().unwrap(),
            agents: BTreeMap::new(),
            links: watch::Sender::new(Links::new()),
            document: watch::Sender::new(document(hosts)),
            coordinator: None,
            starts: 0,
            ahead: Arc::default(),
        };
        for n in 1..=hosts {
            home.agent(n).await;
        }
        home.coordinate().await;
        home
    }

    fn clock(&self) -> impl Fn() -> Timestamp + Send + Sync + 'static {
        let ahead = self.ahead.clone();
        move || clock() + SignedDuration::from_secs(ahead.load(Ordering::Relaxed))
    }

    pub(crate) async fn agent(&mut self, n: u8) {
        self.agent_with_seed(n, n).await;
    }

    pub(crate) async fn agent_with_seed(&mut self, n: u8, seed: u8) {
        let args = ["-c", "shift 3; exec \"$@\"", "shim"]
            .map(OsString::from)
            .to_vec();
        let spawner = Spawner::start(Shim {
            program: "/bin/sh".into(),
            args,
        })
        .unwrap();
        let gateway = r#"trap '' HUP; echo '{"listening":"127.0.0.1:1"}'; exec sleep 600"#;
        let dir = self.dir.join(format!("host-{n}"));
        let config = AgentConfig {
            host: name(n),
            places: Places {
                admin_socket: dir.join("admin.sock"),
                dir,
                garage: self.garage.clone(),
                gateway: Program {
                    path: "/bin/sh".into(),
                    args: vec!["-c".into(), gateway.into(), "gateway".into()],
                },
                reach: Reach::Loopback,
            },
            garage_version: "2.5.0".parse::<GarageVersion>().unwrap(),
            gateway_addr: (n == 1).then(|| "127.0.0.1:0".to_owned()),
            node_key_seed: [seed; 32],
            clock: Clock::new(self.clock()),
            remembers_promises: true,
            tunnels: None,
        };
        let handle = Agent::start(config, ChildDriver::new(spawner, [n; 32]))
            .await
            .unwrap();
        let link = AgentLink {
            desired: handle.desired.clone(),
            report: handle.report.clone(),
            questions: handle.questions.clone(),
        };
        self.agents.insert(name(n), handle);
        self.links.send_modify(|links| drop(links.insert(name(n), link)));
    }

    pub(crate) async fn coordinate(&mut self) {
        self.starts += 1;
        let store = Store::open(&self.dir.join("store.sqlite"), [self.starts; 32])
            .await
            .unwrap();
        let document = self.document.borrow().clone();
        store.apply(&document, self.clock()()).await.unwrap();
        let config = CoordinatorConfig {
            store,
            links: self.links.subscribe(),
            document: self.document.subscribe(),
            clock: Arc::new(self.clock()),
            time_zone: TimeZone::UTC,
            seed: [100 + self.starts; 32],
        };
        self.coordinator = Some(Coordinator::start(config).await.unwrap());
    }

    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Status) -> bool) -> Status {
        let mut status = self.coordinator.as_ref().unwrap().status();
        let waited = tokio::time::timeout(PATIENCE, status.wait_for(holds)).await;
        if let Ok(held) = waited {
            return held.unwrap().clone();
        }
        let status = self.coordinator.as_ref().unwrap().status();
        let last = serde_json::to_string_pretty(&*status.borrow()).unwrap();
        panic!("never {what}: {last}");
    }

    pub(crate) async fn admin(&self, n: u8) -> Client {
        let store = Store::open(&self.dir.join("store.sqlite"), [0; 32])
            .await
            .unwrap();
        let report = self.report(n);
        let client = Client::new(&report.admin, store.secrets().admin_token.clone()).unwrap();
        store.close().await;
        client
    }

    /// The cluster's secrets as they are now.
    pub(crate) async fn secrets(&self) -> ClusterSecrets {
        let store = Store::open(&self.dir.join("store.sqlite"), [0; 32])
            .await
            .unwrap();
        let secrets = store.secrets();
        store.close().await;
        secrets
    }

    /// The host whose Garage was asked in the last round.
    pub(crate) fn asked_member(&self) -> u8 {
        let snapshot = self.coordinator.as_ref().unwrap().snapshot();
        let through = &snapshot.cluster.as_ref().unwrap().through;
        (1..=9).find(|n| name(*n) == *through).unwrap()
    }

    pub(crate) fn report(&self, n: u8) -> HostReport {
        self.agents[&name(n)].report.borrow().clone()
    }

    pub(crate) async fn stop(mut self) {
        if let Some(coordinator) = self.coordinator.take() {
            coordinator.stop().await;
        }
        for (_, agent) in std::mem::take(&mut self.agents) {
            agent.stop().await;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this test is its own main")]
pub(crate) fn clock() -> Timestamp {
    Timestamp::now()
}

pub(crate) fn garage_pid(report: &HostReport) -> Option<u32> {
    match report.unit(GARAGE_UNIT)?.state {
        UnitState::Running { pid } => Some(pid),
        _ => None,
    }
}

pub(crate) fn is_ready(status: &Status) -> bool {
    status.phase == Phase::Ready
}
