//! From what the coordinator desires to what this host runs. A pure function: nothing here touches the disk.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hayloft_api::agent::{AdminAddress, GarageDesired, GatewayDesired, HostDesired, S3Desired};
use hayloft_api::{GatewayPaths, gateway_config};
use hayloft_garage::config::{ConfigError, GarageAddresses, GaragePaths, garage_toml};
use hayloft_pki::{AuthorityError, LinkIdentity};
use zeroize::Zeroizing;

use crate::child::spawn::Launch;
use crate::ports::Ports;
use crate::reach::Reach;
use crate::unit::{Ready, Unit, UnitFile, UnitName};

/// Bytes from which on Garage's allocations go back to the system when they are freed. Its admin API needs 19 MiB for each request to
/// check the token (argon2); glibc would keep them, for each thread anew: 294 MB after 150 requests, four at a time,
/// instead of 22 MB (Garage 2.5.0). See `M_MMAP_THRESHOLD` in <https://man7.org/linux/man-pages/man3/mallopt.3.html>.
const LARGE_ALLOCATION: &str = "4194304";

/// Told to stop, Garage at once takes no new connections and leaves its peers, and then waits up to 10 s for clients that keep
/// theirs open. It serves nobody meanwhile, so it is not given that time; what it acknowledged is written.
const GARAGE_GRACE: Duration = Duration::from_secs(1);
/// A gateway finishes what it is sending.
const GATEWAY_GRACE: Duration = Duration::from_secs(6);

/// A program with the arguments that come first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The file.
    pub path: PathBuf,
    /// What stands before all else.
    pub args: Vec<OsString>,
}

/// How a unit gets the files that it reads at its start only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    /// It reads them where the agent writes them.
    Files,
    /// As credentials of its systemd service: the manager reads them as root and gives it copies in memory that never
    /// go to swap. See <https://systemd.io/CREDENTIALS/>.
    Credentials,
}

impl Secrets {
    /// Where a unit finds the file that the agent writes to `path`.
    #[must_use]
    pub fn seen(self, unit: UnitName, path: &Path) -> PathBuf {
        match (self, path.file_name()) {
            (Self::Credentials, Some(name)) => Path::new("/run/credentials")
                .join(format!("hayloft-{unit}.service"))
                .join(name),
            _ => path.to_owned(),
        }
    }
}

/// Where a host's things lie, and how its programs are called.
#[derive(Debug, Clone)]
pub struct Places {
    /// The host's own folder.
    pub dir: PathBuf,
    /// The socket of Garage's admin API.
    pub admin_socket: PathBuf,
    /// Garage.
    pub garage: PathBuf,
    /// The gateway; it gets `serve --config FILE`.
    pub gateway: Program,
    /// Where the host is reached.
    pub reach: Reach,
}

impl Places {
    /// Garage's metadata: its node key, its layout, its database.
    #[must_use]
    pub fn metadata_dir(&self) -> PathBuf {
        self.dir.join("meta")
    }

    /// Snapshots of Garage's database.
    #[must_use]
    pub fn snapshots_dir(&self) -> PathBuf {
        self.dir.join("snapshots")
    }

    /// Garage's blocks.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Which ports the host had last: see [`crate::ports`].
    #[must_use]
    pub fn ports_file(&self) -> PathBuf {
        self.dir.join("ports.json")
    }

    /// What the host was told last.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        self.dir.join("ledger.json")
    }

    /// Which version each Garage is that was ever to run here.
    #[must_use]
    pub fn versions(&self) -> PathBuf {
        self.dir.join("versions.json")
    }

    /// The cluster's newest recovery kit.
    #[must_use]
    pub fn kit(&self) -> PathBuf {
        self.dir.join("recovery.kit")
    }

    /// Logs of the units.
    #[must_use]
    pub fn logs_dir(&self) -> PathBuf {
        self.dir.join("logs")
    }

    /// Where one unit's log lies.
    #[must_use]
    pub fn log(&self, unit: UnitName) -> PathBuf {
        self.logs_dir().join(format!("{unit}.log"))
    }

    fn gateway_dir(&self) -> PathBuf {
        gateway_dir_in(&self.dir)
    }

    /// The configuration of the gateway, where there is one.
    #[must_use]
    pub fn gateway_config(&self) -> PathBuf {
        gateway_config_in(&self.dir)
    }
}

fn gateway_dir_in(dir: &Path) -> PathBuf {
    dir.join("gateway")
}

/// The configuration of the gateway of the host with this folder, where there is one.
#[must_use]
pub fn gateway_config_in(dir: &Path) -> PathBuf {
    gateway_dir_in(dir).join("gateway.yaml")
}

/// What is desired cannot be put into files.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// `garage.toml`.
    #[error("cannot make garage.toml")]
    Garage(#[source] ConfigError),
    /// The gateway's configuration.
    #[error("cannot make the gateway's configuration")]
    Gateway(#[source] serde_yaml::Error),
    /// What it shows to other gateways.
    #[error("cannot make what the gateway shows to other gateways")]
    Link(#[source] AuthorityError),
}

/// The units that this host shall run.
///
/// # Errors
/// When a path cannot be written in a configuration file.
pub fn units(
    desired: &HostDesired,
    places: &Places,
    ports: Ports,
    secrets: Secrets,
) -> Result<Vec<Unit>, RenderError> {
    let HostDesired {
        generation: _,
        host: _,
        garage,
        gateway,
        forget: _,
        erase_blocks: _,
        accept_empty_data: _,
        staged: _,
    } = desired;
    let mut units = Vec::new();
    if let Some(garage) = garage {
        units.push(garage_unit(garage, places, ports, secrets)?);
    }
    if let Some(gateway) = gateway {
        units.push(gateway_unit(gateway, places, secrets)?);
    }
    Ok(units)
}

fn garage_unit(
    desired: &GarageDesired,
    places: &Places,
    ports: Ports,
    secrets: Secrets,
) -> Result<Unit, RenderError> {
    let at_start = |path: &Path| secrets.seen(UnitName::Garage, path);
    let config = places.dir.join("garage.toml");
    let (rpc_secret, admin_token) = (places.dir.join("rpc-secret"), places.dir.join("admin-token"));
    let paths = GaragePaths {
        metadata_dir: places.metadata_dir(),
        snapshots_dir: places.snapshots_dir(),
        data_dir: places.data_dir(),
        rpc_secret_file: at_start(&rpc_secret),
        admin_token_file: at_start(&admin_token),
    };
    let addresses = GarageAddresses {
        rpc_bind: places.reach.rpc_bind(ports).to_string(),
        rpc_public: places.reach.rpc_public(ports),
        s3_bind: ports.s3_addr().to_string(),
        admin: AdminAddress::Unix(places.admin_socket.clone()),
    };
    let text = garage_toml(desired, &paths, &addresses).map_err(RenderError::Garage)?;
    // Peers are read at start only, and the coordinator connects running members: no reason to restart.
    let lonely = GarageDesired {
        bootstrap_peers: Vec::new(),
        ..desired.clone()
    };
    let significant = garage_toml(&lonely, &paths, &addresses).map_err(RenderError::Garage)?;
    let mut args = vec![OsString::from("-c"), at_start(&config).into_os_string()];
    args.push("server".into());
    Ok(Unit {
        name: UnitName::Garage,
        launch: Launch {
            program: places.garage.clone(),
            args,
            env: vec![
                ("NO_COLOR".into(), "1".into()),
                ("MALLOC_MMAP_THRESHOLD_".into(), LARGE_ALLOCATION.into()),
            ],
            dir: places.dir.clone(),
        },
        folders: folders(
            &[
                &places.logs_dir(),
                &paths.metadata_dir,
                &paths.snapshots_dir,
                &paths.data_dir,
            ],
            &places.admin_socket,
        ),
        files: vec![
            UnitFile {
                seen: at_start(&rpc_secret),
                ..secret(&rpc_secret, desired.rpc_secret.expose())
            },
            UnitFile {
                seen: at_start(&admin_token),
                ..secret(&admin_token, desired.admin_token.expose())
            },
            UnitFile {
                seen: at_start(&config),
                path: config,
                content: Zeroizing::new(text.into_bytes()),
                significant: Some(Zeroizing::new(significant.into_bytes())),
            },
        ],
        sockets: vec![places.admin_socket.clone()],
        log: places.log(UnitName::Garage),
        ready: Ready::AtOnce,
        door: None,
        rereads: false,
        grace: GARAGE_GRACE,
        hold: desired.program.as_deref() != places.garage.to_str(),
    })
}

fn gateway_unit(desired: &GatewayDesired, places: &Places, secrets: Secrets) -> Result<Unit, RenderError> {
    let at_start = |path: &Path| secrets.seen(UnitName::Gateway, path);
    let dir = places.gateway_dir();
    let config = places.gateway_config();
    // In a folder of the gateway's user, it could put a link to any file in place of what the manager shall read for it.
    let beside = |name: &str| match secrets {
        Secrets::Files => dir.join(name),
        Secrets::Credentials => places.dir.join(format!("gateway-{name}")),
    };
    let (key, token) = (beside("cluster.key"), beside("token-hs256"));
    // It looks at these while it runs.
    let (link_cert, link_key, link_ca) = (
        dir.join("link.pem"),
        dir.join("link.key"),
        dir.join("link-ca.pem"),
    );
    let paths = GatewayPaths {
        link_cert_file: link_cert.clone(),
        link_key_file: link_key.clone(),
        link_ca_file: link_ca.clone(),
        state_dir: dir.clone(),
        key_file: at_start(&key),
        s3_secret_file: dir.join("s3-secret"),
        token_secret_file: at_start(&token),
    };
    let text = gateway_config(desired, &paths).map_err(RenderError::Gateway)?;
    // Where and as whom S3 is asked, and how fast it may send, it takes anew while it runs: clients notice nothing when hosts come and go.
    let elsewhere = GatewayDesired {
        s3: S3Desired {
            endpoints: Vec::new(),
            access_key_id: String::new(),
            ..desired.s3.clone()
        },
        uplink: None,
        ..desired.clone()
    };
    let significant = gateway_config(&elsewhere, &paths).map_err(RenderError::Gateway)?;
    let mut files = vec![
        UnitFile {
            seen: at_start(&key),
            ..secret(&key, desired.cluster_key.expose())
        },
        UnitFile {
            significant: Some(Zeroizing::default()),
            ..secret(&paths.s3_secret_file, desired.s3.secret_access_key.expose())
        },
        UnitFile {
            seen: at_start(&token),
            ..secret(&token, desired.token_secret.expose())
        },
    ];
    if let Some(fleet) = &desired.fleet {
        let host = match &places.reach {
            Reach::Loopback => "127.0.0.1",
            Reach::Network(network) => &network.address,
        };
        let link = LinkIdentity::derive(&desired.s3.secret_access_key, fleet.name.as_str(), host)
            .map_err(RenderError::Link)?;
        for (path, text) in [
            (&link_cert, link.certificate.as_str()),
            (&link_key, link.key.expose()),
            (&link_ca, &link.authority),
        ] {
            files.push(UnitFile {
                significant: Some(Zeroizing::default()),
                ..secret(path, text.trim_end())
            });
        }
    }
    files.push(UnitFile {
        seen: config.clone(),
        path: config.clone(),
        content: Zeroizing::new(text.into_bytes()),
        significant: Some(Zeroizing::new(significant.into_bytes())),
    });
    let mut args = places.gateway.args.clone();
    args.extend(["serve", "--listener-on-stdin", "--config"].map(OsString::from));
    args.push(config.clone().into_os_string());
    Ok(Unit {
        name: UnitName::Gateway,
        launch: Launch {
            program: places.gateway.path.clone(),
            args,
            env: vec![("NO_COLOR".into(), "1".into())],
            dir: places.dir.clone(),
        },
        folders: folders(&[&places.logs_dir(), &dir], &config),
        files,
        sockets: Vec::new(),
        log: places.log(UnitName::Gateway),
        ready: Ready::SaysListening,
        door: Some(desired.listen.clone()),
        rereads: true,
        grace: GATEWAY_GRACE,
        hold: false,
    })
}

fn folders(folders: &[&Path], within: &Path) -> Vec<PathBuf> {
    folders
        .iter()
        .copied()
        .chain(within.parent())
        .map(Path::to_owned)
        .collect()
}

fn secret(path: &Path, text: &str) -> UnitFile {
    UnitFile {
        path: path.to_owned(),
        content: Zeroizing::new(format!("{text}\n").into_bytes()),
        significant: None,
        seen: path.to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use hayloft_api::agent::Peer;
    use hayloft_api::{Bytes, Generation, NodeId, Secret};

    use super::*;

    pub(crate) const PORTS: Ports = Ports { rpc: 4001, s3: 4002 };

    pub(crate) fn places() -> Places {
        Places {
            dir: "/srv/host-1".into(),
            admin_socket: "/srv/host-1/admin.sock".into(),
            garage: "/opt/garage".into(),
            gateway: Program {
                path: "/opt/hayloft".into(),
                args: vec!["gateway".into()],
            },
            reach: Reach::Loopback,
        }
    }

    pub(crate) fn desired() -> HostDesired {
        HostDesired {
            generation: Generation {
                epoch: 1,
                instance: "i".into(),
                n: 1,
            },
            host: "host-1".parse().unwrap(),
            garage: Some(GarageDesired {
                replication_factor: 3,
                fsync: false,
                rpc_secret: Secret::new("hush-rpc"),
                admin_token: Secret::new("hush-admin"),
                s3_region: "garage".into(),
                zone: "zone-1".parse().unwrap(),
                rpc_public: None,
                program: None,
                bootstrap_peers: vec![],
            }),
            gateway: Some(GatewayDesired {
                listen: "127.0.0.1:8080".into(),
                public_url: None,
                s3: S3Desired {
                    endpoints: vec!["http://127.0.0.1:4002".into()],
                    region: "garage".into(),
                    bucket: "hayloft".into(),
                    access_key_id: "GK00".into(),
                    secret_access_key: Secret::new("hush-s3"),
                },
                token_secret: Secret::new("hush-token"),
                cluster_key: Secret::new("hush-key"),
                memory: Bytes(256 << 20),
                disk: None,
                uplink: None,
                caches: vec![],
                fleet: None,
            }),
            forget: None,
            erase_blocks: false,
            accept_empty_data: false,
            staged: None,
        }
    }

    #[test]
    fn no_secret_is_in_an_argument_or_in_debug_output() {
        for unit in units(&desired(), &places(), PORTS, Secrets::Files).unwrap() {
            assert!(!format!("{unit:?}").contains("hush"), "{unit:?}");
            assert!(unit.files.iter().any(|file| file.content.starts_with(b"hush")));
        }
    }

    #[test]
    fn a_new_peer_renews_the_file_without_a_restart() {
        let before = units(&desired(), &places(), PORTS, Secrets::Files).unwrap();
        let mut with_peer = desired();
        if let Some(garage) = &mut with_peer.garage {
            let peer = Peer {
                id: NodeId::from_public_key([7; 32]),
                addr: "127.0.0.1:1".into(),
            };
            garage.bootstrap_peers.push(peer);
        }
        let after = units(&with_peer, &places(), PORTS, Secrets::Files).unwrap();
        assert_ne!(before, after);
        assert!(
            before
                .iter()
                .zip(&after)
                .all(|(before, after)| !before.asks_for_restart(after))
        );
    }

    #[test]
    fn a_gateway_takes_other_endpoints_and_another_key_without_a_restart() {
        let before = units(&desired(), &places(), PORTS, Secrets::Files).unwrap();
        let mut elsewhere = desired();
        if let Some(gateway) = &mut elsewhere.gateway {
            gateway.s3.endpoints = vec!["http://127.0.0.1:5002".into()];
            gateway.s3.access_key_id = "GK01".into();
            gateway.s3.secret_access_key = Secret::new("hush-new");
        }
        let after = units(&elsewhere, &places(), PORTS, Secrets::Files).unwrap();
        assert_ne!(before, after);
        assert!(!before[1].asks_for_restart(&after[1]) && after[1].rereads);
        if let Some(gateway) = &mut elsewhere.gateway {
            gateway.s3.bucket = "another".into();
        }
        let after = units(&elsewhere, &places(), PORTS, Secrets::Files).unwrap();
        assert!(before[1].asks_for_restart(&after[1]));
    }

    #[test]
    fn another_secret_or_another_port_asks_for_a_restart() {
        let before = units(&desired(), &places(), PORTS, Secrets::Files).unwrap();
        let mut changed = desired();
        if let Some(garage) = &mut changed.garage {
            garage.rpc_secret = Secret::new("hush-other");
        }
        let after = units(&changed, &places(), PORTS, Secrets::Files).unwrap();
        assert!(before[0].asks_for_restart(&after[0]));
        assert!(!before[1].asks_for_restart(&after[1]));
        let moved = units(&desired(), &places(), Ports { rpc: 4001, s3: 5 }, Secrets::Files).unwrap();
        assert!(before[0].asks_for_restart(&moved[0]));
    }

    #[test]
    fn the_units_of_a_host_with_both_roles() {
        let shown: Vec<_> = units(&desired(), &places(), PORTS, Secrets::Files)
            .unwrap()
            .iter()
            .map(|unit| {
                let args: Vec<_> = unit.launch.args.iter().map(|arg| arg.to_string_lossy()).collect();
                let files: Vec<_> = unit
                    .files
                    .iter()
                    .map(|file| file.path.display().to_string())
                    .collect();
                format!(
                    "{}\n  {} {}\n  {}",
                    unit.name,
                    unit.launch.program.display(),
                    args.join(" "),
                    files.join("\n  ")
                )
            })
            .collect();
        insta::assert_snapshot!(shown.join("\n"));
    }
}
