//! What the coordinator says of addresses, as it holds on this host: others' S3 is at the near end of a tunnel.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use hayloft_api::HostName;
use hayloft_api::agent::HostDesired;

use crate::ports::Ports;
use crate::reach::Reach;

/// A member's door, as an endpoint of S3 names it: `http://NAME@host:port`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Doorway {
    /// Whose it is.
    pub host: HostName,
    /// `host:port`.
    pub address: String,
}

impl Doorway {
    /// Reads an endpoint; `None`: it leads to no door.
    #[must_use]
    pub fn of(endpoint: &str) -> Option<Self> {
        let (host, address) = endpoint.strip_prefix("http://")?.split_once('@')?;
        Some(Self {
            host: host.parse().ok()?,
            address: address.trim_end_matches('/').to_owned(),
        })
    }
}

/// The doors that a host's gateway goes to: those of other hosts.
pub(crate) fn doorways(desired: &HostDesired) -> Vec<Doorway> {
    let Some(gateway) = &desired.gateway else {
        return Vec::new();
    };
    let doors = gateway
        .s3
        .endpoints
        .iter()
        .filter_map(|endpoint| Doorway::of(endpoint));
    doors.filter(|door| door.host != desired.host).collect()
}

/// What is desired, with addresses of this host's own: its own S3 is asked directly, other hosts' through `tunnels`, and its
/// gateway listens where this host listens. An endpoint without a tunnel is left out.
pub(crate) fn localize(
    desired: &HostDesired,
    reach: &Reach,
    ports: Ports,
    tunnels: &BTreeMap<Doorway, SocketAddr>,
) -> HostDesired {
    let mut local = desired.clone();
    if let Some(gateway) = &mut local.gateway {
        gateway.listen = reach.gateway_bind(&gateway.listen);
        if let Some(fleet) = &mut gateway.fleet {
            fleet.listen = reach.link_bind(&fleet.listen);
        }
        let near = |endpoint: String| match Doorway::of(&endpoint) {
            None => Some(endpoint),
            Some(door) if door.host == desired.host => Some(format!("http://{}", ports.s3_addr())),
            Some(door) => tunnels.get(&door).map(|near| format!("http://{near}")),
        };
        gateway.s3.endpoints = std::mem::take(&mut gateway.s3.endpoints)
            .into_iter()
            .filter_map(near)
            .collect();
    }
    local
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::tests::desired;

    #[test]
    fn a_gateway_asks_its_own_host_directly_and_others_through_tunnels() {
        let mut desired = desired();
        if let Some(gateway) = &mut desired.gateway {
            gateway.s3.endpoints = ["host-1@h1:7441", "host-2@h2:7441", "host-3@h3:7441"]
                .map(|door| format!("http://{door}"))
                .to_vec();
        }
        let doors = doorways(&desired);
        assert_eq!(doors.len(), 2);
        let tunnels = [(doors[0].clone(), "127.0.0.1:9".parse().unwrap())].into();
        let local = localize(&desired, &Reach::Loopback, Ports { rpc: 1, s3: 2 }, &tunnels);
        assert_eq!(
            local.gateway.unwrap().s3.endpoints,
            ["http://127.0.0.1:2", "http://127.0.0.1:9"]
        );
    }
}
