//! One host of one node.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hayloft_agent::child::ChildDriver;
use hayloft_agent::child::spawn::{Shim, Spawner};
use hayloft_agent::launch::{Places, Program};
use hayloft_agent::reach::Reach;
use hayloft_agent::{Agent, AgentConfig, AgentHandle, Clock};
use hayloft_api::agent::{GARAGE_UNIT, GarageDesired, HostDesired, HostReport};
use hayloft_api::{Generation, HostName, Secret};
use hayloft_garage::admin::{Client, RoleChange};
use jiff::Timestamp;

const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[expect(clippy::disallowed_methods, reason = "this test is its own main")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

pub(crate) struct Host {
    pub(crate) agent: AgentHandle,
    pub(crate) places: Places,
}

/// Drops `--parent PID --` and becomes the rest, as the real shim does.
fn spawner() -> Spawner {
    let args = ["-c", "shift 3; exec \"$@\"", "shim"]
        .map(OsString::from)
        .to_vec();
    Spawner::start(Shim {
        program: "/bin/sh".into(),
        args,
    })
    .unwrap()
}

pub(crate) fn places(dir: &Path, garage: PathBuf) -> Places {
    Places {
        dir: dir.to_owned(),
        admin_socket: dir.join("admin.sock"),
        garage,
        gateway: Program {
            path: "/bin/false".into(),
            args: vec![],
        },
        reach: Reach::Loopback,
    }
}

pub(crate) fn name() -> HostName {
    "host-1".parse().unwrap()
}

pub(crate) fn generation(epoch: u64, n: u64) -> Generation {
    Generation {
        epoch,
        instance: format!("coordinator-{epoch}"),
        n,
    }
}

/// Garage shall run.
pub(crate) fn running(epoch: u64, n: u64) -> HostDesired {
    HostDesired {
        garage: Some(GarageDesired {
            replication_factor: 1,
            fsync: false,
            rpc_secret: Secret::new("ab".repeat(32)),
            admin_token: Secret::new(TOKEN),
            s3_region: "garage".into(),
            zone: "z".parse().unwrap(),
            rpc_public: None,
            program: None,
            bootstrap_peers: vec![],
        }),
        ..HostDesired::nothing(generation(epoch, n), name())
    }
}

impl Host {
    /// An agent whose Garage is the real one.
    pub(crate) async fn real(dir: &Path) -> Self {
        Self::start(dir, hayloft_garage_fixture::program().unwrap(), true).await
    }

    /// An agent whose Garage only sleeps.
    pub(crate) async fn asleep(dir: &Path) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let program = dir.join("garage");
        std::fs::write(&program, "#!/bin/sh\nexec /bin/sleep 1000\n").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self::start(dir, program, true).await
    }

    pub(crate) async fn start(dir: &Path, garage: PathBuf, remembers_promises: bool) -> Self {
        let places = places(dir, garage);
        let config = AgentConfig {
            host: name(),
            places: places.clone(),
            garage_version: "2.5.0".parse().unwrap(),
            gateway_addr: None,
            node_key_seed: *blake3::hash(dir.as_os_str().as_encoded_bytes()).as_bytes(),
            clock: Clock::new(now),
            remembers_promises,
            tunnels: None,
        };
        let agent = Agent::start(config, ChildDriver::new(spawner(), [1; 32]))
            .await
            .unwrap();
        Self { agent, places }
    }

    pub(crate) fn tell(&self, desired: HostDesired) {
        self.agent.desired.send_replace(Some(desired));
    }

    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&HostReport) -> bool) -> HostReport {
        let mut report = self.agent.report.clone();
        let found = tokio::time::timeout(PATIENCE, report.wait_for(|report| holds(report))).await;
        match found {
            Ok(found) => found.unwrap().clone(),
            Err(_) => panic!("never {what}: {:#?}", *self.agent.report.borrow()),
        }
    }

    /// Waits until Garage answers.
    pub(crate) async fn client(&self) -> Client {
        self.until("Garage runs", |report| report.runs(GARAGE_UNIT)).await;
        let admin = self.agent.report.borrow().admin.clone();
        let client = Client::new(&admin, Secret::new(TOKEN)).unwrap();
        let start = Instant::now();
        while client.status().await.is_err() {
            assert!(start.elapsed() < PATIENCE, "Garage never answers");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        client
    }

    /// Makes this node the whole layout, or changes it.
    pub(crate) async fn lay_out(&self, client: &Client, version: u64) {
        let node = self.agent.report.borrow().garage_id;
        let role = RoleChange::Assign {
            zone: "z".to_owned(),
            tags: vec![],
            capacity: Some(10_000_000_000 * version),
        };
        client.stage(&BTreeMap::from([(node, role)]), None).await.unwrap();
        client.apply(version).await.unwrap();
        self.until("the layout is seen", |report| {
            report.layout.is_some_and(|layout| layout.version == version)
        })
        .await;
    }
}

/// Lays a file that looks like a block.
pub(crate) fn lay_block(places: &Places, digits: &str) -> String {
    let name = format!("{digits}{}", "0".repeat(64 - digits.len()));
    let dir = places.data_dir().join(&name[..2]).join(&name[2..4]);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join(&name), "block").unwrap();
    name
}
