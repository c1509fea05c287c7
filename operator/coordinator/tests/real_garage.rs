//! The coordinator with real agents and real Garage daemons on loopback; the gateway alone is a stand-in that only says
//! that it listens.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends at the first surprise"
)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hayloft_agent::child::ChildDriver;
use hayloft_agent::child::spawn::{Shim, Spawner};
use hayloft_agent::launch::{Places, Program};
use hayloft_agent::{Agent, AgentConfig, AgentHandle, Clock};
use hayloft_api::agent::{GARAGE_UNIT, HostReport, UnitState};
use hayloft_api::status::{ConditionType, Phase, Status};
use hayloft_api::{Bytes, Document, HostName};
use hayloft_coordinator::{AgentLink, BUCKET, Coordinator, CoordinatorConfig, Links, Store};
use hayloft_garage::GarageVersion;
use hayloft_garage::admin::{AdminError, Client, RoleChange};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::watch;

/// For a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

fn name(n: u8) -> HostName {
    format!("host-{n}").parse().unwrap()
}

fn document(hosts: u8) -> Document {
    Document::laptop(hosts, Bytes::gib(1)).unwrap()
}

struct Home {
    dir: PathBuf,
    garage: PathBuf,
    agents: BTreeMap<HostName, AgentHandle>,
    links: watch::Sender<Links>,
    document: watch::Sender<Document>,
    coordinator: Option<Coordinator>,
    starts: u8,
}

impl Home {
    async fn start(dir: &Path, hosts: u8) -> Self {
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
        };
        for n in 1..=hosts {
            home.agent(n).await;
        }
        home.coordinate().await;
        home
    }

    async fn agent(&mut self, n: u8) {
        self.agent_with_seed(n, n).await;
    }

    async fn agent_with_seed(&mut self, n: u8, seed: u8) {
        let args = ["-c", "shift 3; exec \"$@\"", "shim"]
            .map(OsString::from)
            .to_vec();
        let spawner = Spawner::start(Shim {
            program: "/bin/sh".into(),
            args,
        })
        .unwrap();
        let gateway = r#"echo '{"listening":"127.0.0.1:1"}'; exec sleep 600"#;
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
            },
            garage_version: "2.5.0".parse::<GarageVersion>().unwrap(),
            gateway_addr: (n == 1).then(|| "127.0.0.1:1".to_owned()),
            node_key_seed: [seed; 32],
            clock: Clock::new(clock),
            remembers_promises: true,
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

    async fn coordinate(&mut self) {
        self.starts += 1;
        let store = Store::open(&self.dir.join("store.sqlite"), [self.starts; 32])
            .await
            .unwrap();
        store.apply(&self.document.borrow()).await.unwrap();
        let config = CoordinatorConfig {
            store,
            links: self.links.subscribe(),
            document: self.document.subscribe(),
            clock: Arc::new(clock),
            time_zone: TimeZone::UTC,
            seed: [100 + self.starts; 32],
        };
        self.coordinator = Some(Coordinator::start(config).await.unwrap());
    }

    async fn until(&self, what: &str, holds: impl Fn(&Status) -> bool) -> Status {
        let mut status = self.coordinator.as_ref().unwrap().status();
        let waited = tokio::time::timeout(PATIENCE, status.wait_for(holds)).await;
        if let Ok(held) = waited {
            return held.unwrap().clone();
        }
        let status = self.coordinator.as_ref().unwrap().status();
        let last = serde_json::to_string_pretty(&*status.borrow()).unwrap();
        panic!("never {what}: {last}");
    }

    async fn admin(&self, n: u8) -> Client {
        let store = Store::open(&self.dir.join("store.sqlite"), [0; 32])
            .await
            .unwrap();
        let report = self.report(n);
        let client = Client::new(&report.admin, store.secrets().admin_token.clone()).unwrap();
        store.close().await;
        client
    }

    fn report(&self, n: u8) -> HostReport {
        self.agents[&name(n)].report.borrow().clone()
    }

    async fn stop(mut self) {
        if let Some(coordinator) = self.coordinator.take() {
            coordinator.stop().await;
        }
        for (_, agent) in std::mem::take(&mut self.agents) {
            agent.stop().await;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this test is its own main")]
fn clock() -> Timestamp {
    Timestamp::now()
}

fn garage_pid(report: &HostReport) -> Option<u32> {
    match report.unit(GARAGE_UNIT)?.state {
        UnitState::Running { pid } => Some(pid),
        _ => None,
    }
}

fn is_ready(status: &Status) -> bool {
    status.phase == Phase::Ready
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_comes_up_from_nothing_and_a_second_start_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::start(dir.path(), 3).await;
    let status = home.until("ready", is_ready).await;
    assert_eq!(status.layout.version, 1);
    assert!(status.layout.settled);
    assert_eq!(status.layout.zone_redundancy, Some(3));
    assert_eq!(status.gateway.hosts, [name(1)]);
    assert!(
        status
            .hosts
            .iter()
            .all(|host| host.up && host.in_layout && host.partitions == Some(256))
    );
    assert_eq!(status.waiting, []);
    let admin = home.admin(2).await;
    let bucket = admin.bucket(BUCKET).await.unwrap().unwrap();
    assert!(
        bucket
            .keys
            .iter()
            .any(|key| key.permissions.read && key.permissions.write)
    );
    let ids: Vec<_> = (1..=3).map(|n| home.report(n).garage_id).collect();
    home.stop().await;

    let home = Home::start(dir.path(), 3).await;
    let status = home.until("ready again", is_ready).await;
    assert_eq!(status.layout.version, 1);
    assert_eq!((1..=3).map(|n| home.report(n).garage_id).collect::<Vec<_>>(), ids);
    assert_eq!(
        home.admin(3).await.bucket(BUCKET).await.unwrap().unwrap().id,
        bucket.id
    );
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fourth_host_joins_in_one_version_and_leaves_in_another() {
    let dir = tempfile::tempdir().unwrap();
    let mut home = Home::start(dir.path(), 3).await;
    home.until("ready", is_ready).await;
    let gateway = home.report(1).unit("gateway").unwrap().clone();
    home.agent(4).await;
    home.document.send_replace(document(4));
    let status = home
        .until("ready with four", |status| {
            is_ready(status) && status.hosts.len() == 4
        })
        .await;
    assert_eq!(status.layout.version, 2);
    assert_eq!(status.layout.storage_hosts, 4);
    assert_eq!(
        home.report(1).unit("gateway"),
        Some(&gateway),
        "the gateway was restarted"
    );

    home.document.send_replace(document(3));
    let gone =
        |status: &Status| status.layout.version == 3 && status.layout.settled && !status.waiting.is_empty();
    let status = home.until("settled without the fourth", gone).await;
    let fourth = status.hosts.iter().find(|host| host.name == name(4)).unwrap();
    assert!(!fourth.declared && !fourth.in_layout);
    assert!(fourth.up, "its Garage must go on until its data lies elsewhere");
    assert!(
        status
            .waiting
            .iter()
            .any(|waiting| waiting.waits_for.contains("proof")),
        "{:?}",
        status.waiting
    );
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_host_is_told_and_what_others_staged_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::start(dir.path(), 3).await;
    home.until("ready", is_ready).await;

    let pid = garage_pid(&home.report(3)).unwrap();
    let killed = std::process::Command::new("kill")
        .args(["-KILL", &pid.to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    home.until("restarted", |status| {
        is_ready(status)
            && home.agents[&name(3)]
                .report
                .borrow()
                .unit(GARAGE_UNIT)
                .is_some_and(|u| u.restarts > 0)
    })
    .await;

    let admin = home.admin(2).await;
    let id = home.report(2).garage_id;
    let role = RoleChange::Assign {
        zone: "elsewhere".into(),
        tags: vec![],
        capacity: Some(1 << 30),
    };
    admin.stage(&[(id, role)].into(), None).await.unwrap();
    let foreign = |status: &Status| {
        status
            .condition(ConditionType::StagingClean)
            .is_some_and(|condition| !condition.status)
    };
    let status = home.until("told of the staged change", foreign).await;
    assert_eq!(status.phase, Phase::Degraded);
    assert!(matches!(
        admin.apply(7).await,
        Err(AdminError::LayoutVersion { .. })
    ));
    admin.revert().await.unwrap();
    let status = home.until("ready again", is_ready).await;
    assert_eq!(status.layout.version, 1);
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_lost_its_disk_takes_its_role_again_as_another_node() {
    let dir = tempfile::tempdir().unwrap();
    let mut home = Home::start(dir.path(), 3).await;
    home.until("ready", is_ready).await;
    let old = home.report(3).garage_id;
    home.agents.remove(&name(3)).unwrap().stop().await;
    home.links.send_modify(|links| drop(links.remove(&name(3))));
    std::fs::remove_dir_all(dir.path().join("host-3")).unwrap();
    home.until("told of the loss", |status| status.phase == Phase::Degraded)
        .await;

    home.agent_with_seed(3, 33).await;
    let renewed = |status: &Status| is_ready(status) && status.layout.version == 2;
    let status = home.until("ready with a new node", renewed).await;
    assert_ne!(home.report(3).garage_id, old);
    assert_eq!(status.layout.storage_hosts, 3);
    assert_eq!(status.waiting, []);
    let layout = home.admin(1).await.layout().await.unwrap();
    assert!(layout.roles.iter().all(|role| role.id != old));
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_host_is_a_cluster_too() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::start(dir.path(), 1).await;
    let status = home.until("ready", is_ready).await;
    assert_eq!((status.layout.version, status.layout.storage_hosts), (1, 1));
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_client_tells_refusals_apart() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::start(dir.path(), 1).await;
    home.until("ready", is_ready).await;
    let admin = home.admin(1).await;
    assert_eq!(admin.bucket("none").await.unwrap(), None);
    assert_eq!(admin.key("GK000000000000000000000000").await.unwrap(), None);
    assert!(matches!(
        admin.create_bucket(BUCKET).await,
        Err(AdminError::Conflict { .. })
    ));
    assert!(matches!(
        admin.skip_dead(1).await,
        Err(AdminError::Refused { status: 400, .. })
    ));
    let stranger = Client::new(&home.report(1).admin, hayloft_api::Secret::new("wrong")).unwrap();
    assert!(matches!(
        stranger.status().await,
        Err(AdminError::Forbidden { .. })
    ));
    home.stop().await;
    assert!(matches!(admin.status().await, Err(AdminError::NoAnswer { .. })));
}
