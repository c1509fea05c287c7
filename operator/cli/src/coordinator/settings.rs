//! What a coordinator must know of its own machine, beside the document.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use anyhow::{Context as _, bail};
use hayloft_agent::files;
use hayloft_api::join::COORDINATOR_PORT;
use serde::{Deserialize, Serialize};

const FILE: &str = "coordinator.json";

/// Kept in the coordinator's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Settings {
    /// `host:port` at which hosts find the door, the best first.
    pub(super) addresses: Vec<String>,
    /// Where the door listens.
    pub(super) listen: SocketAddr,
}

impl Settings {
    pub(super) fn is_there(dir: &Path) -> bool {
        dir.join(FILE).exists()
    }

    pub(super) fn read(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(FILE);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                bail!(
                    "there is no cluster in {}; make one with `hayloft coordinator init`",
                    dir.display()
                )
            }
            text => text.with_context(|| format!("cannot read {}", path.display()))?,
        };
        serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))
    }

    pub(super) fn write(&self, dir: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        files::replace(&dir.join(FILE), &text, 0o600)?;
        Ok(())
    }
}

/// `host:port`, with the usual port where none is named.
pub(super) fn with_port(address: &str, usual: u16) -> String {
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<std::net::Ipv6Addr>().is_ok() {
        return format!("[{bare}]:{usual}");
    }
    let has_port = address
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if has_port {
        address.to_owned()
    } else {
        format!("{address}:{usual}")
    }
}

/// The port of the first address.
pub(super) fn port_of(addresses: &[String]) -> u16 {
    let port = |address: &String| address.rsplit_once(':')?.1.parse().ok();
    addresses.first().and_then(port).unwrap_or(COORDINATOR_PORT)
}

/// All addresses of this machine.
pub(super) fn everywhere(port: u16) -> SocketAddr {
    if TcpListener::bind("[::]:0").is_ok() {
        ([0_u16; 8], port).into()
    } else {
        (Ipv4Addr::UNSPECIFIED, port).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_port_gets_the_usual_one() {
        for (given, meant) in [
            ("h1", "h1:7440"),
            ("h1:9", "h1:9"),
            ("2001:db8::1", "[2001:db8::1]:7440"),
            ("[2001:db8::1]:9", "[2001:db8::1]:9"),
        ] {
            assert_eq!(with_port(given, 7440), meant);
        }
    }
}
