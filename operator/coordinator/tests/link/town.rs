//! An authority, a door and agents.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hayloft_agent::child::ChildDriver;
use hayloft_agent::child::spawn::{Shim, Spawner};
use hayloft_agent::launch::{Places, Program};
use hayloft_agent::link::{Ends, Link, LinkConfig, LinkState};
use hayloft_agent::membership::Membership;
use hayloft_agent::reach::Reach;
use hayloft_agent::whereabouts::Whereabouts;
use hayloft_agent::{Agent, AgentConfig, AgentHandle, Clock};
use hayloft_api::agent::HostDesired;
use hayloft_api::join::{ListedMember, Member, TrustList};
use hayloft_api::question::{Answer, Question, Refusal};
use hayloft_api::{ClusterName, Generation, HostName};
use hayloft_coordinator::AgentLink;
use hayloft_coordinator::door::{Door, DoorConfig};
use hayloft_pki::{Authority, Identity, Keypair, LiveIdentity, LiveTrust, Trust};
use jiff::{SignedDuration, Timestamp};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// For a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

#[expect(clippy::disallowed_methods, reason = "this test is its own main")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

pub(crate) fn name(n: u8) -> HostName {
    format!("host-{n}").parse().unwrap()
}

pub(crate) struct Town {
    pub(crate) cluster: ClusterName,
    authority: Authority,
    pub(crate) trust: Arc<LiveTrust>,
    hosts: u8,
}

impl Town {
    /// With so many hosts on its list, and the coordinator.
    pub(crate) fn new(hosts: u8) -> Self {
        let cluster: ClusterName = "commons".parse().unwrap();
        let begun = now() - SignedDuration::from_hours(24);
        let authority = Authority::create(cluster.clone(), &[1; 32], &[2; 32], begun).unwrap();
        let mut town = Self {
            trust: LiveTrust::new(Trust::new(&list(&cluster, &authority, hosts)).unwrap()),
            cluster,
            authority,
            hosts,
        };
        town.shrink_to(hosts);
        town
    }

    /// Takes hosts off the list.
    pub(crate) fn shrink_to(&mut self, hosts: u8) {
        self.hosts = hosts;
        let list = list(&self.cluster, &self.authority, hosts);
        self.trust.replace(Trust::new(&list).unwrap());
    }

    pub(crate) fn identity(&self, key: &Keypair, member: &Member) -> Arc<LiveIdentity> {
        let chain = self.authority.issue(member, &key.public(), now()).unwrap();
        LiveIdentity::new(Identity::new(key, chain).unwrap())
    }

    /// Opens the coordinator's door; with 0, on any port.
    pub(crate) async fn open(&self, port: u16) -> Door {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        self.open_with(listener, self.identity(&key(0), &Member::Coordinator))
    }

    /// A door at which a host pretends to be the coordinator.
    pub(crate) async fn open_as_host(&self, n: u8) -> Door {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.open_with(listener, self.identity(&key(n), &Member::Host(name(n))))
    }

    fn open_with(&self, listener: TcpListener, identity: Arc<LiveIdentity>) -> Door {
        Door::open(DoorConfig {
            listener,
            identity,
            trust: Arc::clone(&self.trust),
            list: tokio::sync::watch::channel(Some(list(&self.cluster, &self.authority, self.hosts))).1,
            sockets: None,
            others: None,
        })
        .unwrap()
    }

    /// What a host needs to dial an address, with its own key.
    pub(crate) fn config(&self, n: u8, address: SocketAddr) -> LinkConfig {
        self.config_of(&key(n), n, address)
    }

    /// The same with another key, for which the authority signed the same name.
    pub(crate) fn config_of(&self, key: &Keypair, n: u8, address: SocketAddr) -> LinkConfig {
        // Agents look at a list of their own: it names the coordinator whatever the coordinator's says of them.
        let list = list(&self.cluster, &self.authority, self.hosts);
        LinkConfig {
            whereabouts: Whereabouts::new(vec![address.to_string()]),
            cluster: self.cluster.clone(),
            identity: self.identity(key, &Member::Host(name(n))),
            trust: LiveTrust::new(Trust::new(&list).unwrap()),
            list,
            membership: Membership::at(Path::new("/nonexistent")),
            admin_socket: "/nonexistent".into(),
            clock: Clock::new(now),
            seed: [n; 32],
        }
    }

    pub(crate) fn dial(&self, n: u8, agent: &AgentHandle, address: SocketAddr) -> Link {
        Link::start(self.config(n, address), Ends::of(agent))
    }
}

pub(crate) fn key(n: u8) -> Keypair {
    Keypair::from_seed(&[100 + n; 32]).unwrap()
}

fn list(cluster: &ClusterName, authority: &Authority, hosts: u8) -> TrustList {
    let coordinator = (0, Member::Coordinator);
    let members = (1..=hosts).map(|n| (n, Member::Host(name(n))));
    TrustList {
        cluster: cluster.clone(),
        roots: vec![authority.root_pem()],
        members: std::iter::once(coordinator)
            .chain(members)
            .map(|(n, member)| ListedMember {
                key: key(n).public(),
                member,
                door: None,
            })
            .collect(),
    }
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

/// An agent whose Garage only sleeps.
pub(crate) async fn asleep(dir: &Path, n: u8) -> AgentHandle {
    use std::os::unix::fs::PermissionsExt;
    let program = dir.join("garage");
    if !program.exists() {
        std::fs::write(&program, "#!/bin/sh\nexec /bin/sleep 1000\n").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    agent(&dir.join(name(n).to_string()), n, program).await
}

pub(crate) async fn agent(dir: &Path, n: u8, garage: PathBuf) -> AgentHandle {
    // It only says that it listens.
    let gateway = r#"trap '' HUP; echo '{"listening":"127.0.0.1:1"}'; exec sleep 600"#;
    let config = AgentConfig {
        host: name(n),
        places: Places {
            dir: dir.to_owned(),
            admin_socket: dir.join("admin.sock"),
            garage,
            gateway: Program {
                path: "/bin/sh".into(),
                args: vec!["-c".into(), gateway.into(), "gateway".into()],
            },
            reach: Reach::Loopback,
        },
        garage_version: "2.5.0".parse().unwrap(),
        gateway_addr: (n == 1).then(|| "127.0.0.1:0".to_owned()),
        node_key_seed: [n; 32],
        clock: Clock::new(now),
        remembers_promises: true,
        tunnels: None,
    };
    Agent::start(config, ChildDriver::new(spawner(), [n; 32]))
        .await
        .unwrap()
}

/// A host that shall run nothing.
pub(crate) fn nothing(n: u8, epoch: u64, count: u64) -> HostDesired {
    let generation = Generation {
        epoch,
        instance: format!("coordinator-{epoch}"),
        n: count,
    };
    HostDesired::nothing(generation, name(n))
}

/// The host's link, once it is there.
pub(crate) async fn link_of(door: &Door, n: u8) -> AgentLink {
    let mut links = door.links();
    let there = links.wait_for(|links| {
        links
            .get(&name(n))
            .is_some_and(|link| !link.questions.is_closed())
    });
    let links = tokio::time::timeout(PATIENCE, there).await.unwrap().unwrap();
    links[&name(n)].clone()
}

/// Waits until the host reports that it follows this.
pub(crate) async fn follows(link: &mut AgentLink, wanted: &HostDesired) {
    let followed = link
        .report
        .wait_for(|report| report.generation.as_ref() == Some(&wanted.generation));
    tokio::time::timeout(PATIENCE, followed).await.unwrap().unwrap();
}

/// Asks through the link; `None`: whoever was asked is gone.
pub(crate) async fn ask(link: &AgentLink, question: Question) -> Option<Result<Answer, Refusal>> {
    let (sender, receiver) = oneshot::channel();
    let asked = async {
        link.questions.send((question, sender)).await.ok()?;
        receiver.await.ok()
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap()
}

/// Waits until the agent sees its link as is wanted.
pub(crate) async fn until(link: &Link, holds: impl Fn(&LinkState) -> bool) -> LinkState {
    let mut state = link.state();
    let found = tokio::time::timeout(PATIENCE, state.wait_for(|state| holds(state))).await;
    match found {
        Ok(found) => found.unwrap().clone(),
        Err(_) => panic!("the link stays {:?}", *link.state().borrow()),
    }
}

/// Waits until `holds`.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "never {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
