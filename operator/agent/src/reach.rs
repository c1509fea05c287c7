//! Where a host is reached: by others of its machine only, or over a network.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use hayloft_api::HostName;
use serde::{Deserialize, Serialize};

use crate::ports::Ports;

/// Where a host is reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Reach {
    /// By others of this machine only: every port is on loopback, and Garage's are whatever is free.
    #[default]
    Loopback,
    /// Over a network.
    Network(Network),
}

/// How others reach a host over a network, and where it listens for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Network {
    /// The DNS name or IP address at which other hosts reach it.
    pub address: String,
    /// Where it listens: one of its own addresses, or all of them.
    pub bind: IpAddr,
    /// The port of the agent's own door.
    pub door: u16,
    /// The port at which members of Garage reach each other.
    pub rpc: u16,
    /// The port at which a gateway serves clients.
    pub gateway: u16,
    /// The port at which other gateways reach it.
    pub link: u16,
}

impl Network {
    /// Where to listen so that `address` leads there: at that address alone when it is one of this machine's, else (a name, or an
    /// address that a router stands for) at all.
    #[must_use]
    pub fn bind_for(address: &str) -> IpAddr {
        let literal = address
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>();
        match literal {
            Ok(ip) if TcpListener::bind((ip, 0)).is_ok() => ip,
            _ if TcpListener::bind("[::]:0").is_ok() => IpAddr::from([0_u16; 8]),
            _ => Ipv4Addr::UNSPECIFIED.into(),
        }
    }

    /// `host:port` of a port of this host, as others dial it.
    #[must_use]
    pub fn at(&self, port: u16) -> String {
        if self.address.contains(':') && !self.address.starts_with('[') {
            format!("[{}]:{port}", self.address)
        } else {
            format!("{}:{port}", self.address)
        }
    }
}

impl Reach {
    /// Where Garage binds its RPC.
    pub(crate) fn rpc_bind(&self, ports: Ports) -> SocketAddr {
        match self {
            Self::Loopback => ports.rpc_addr(),
            Self::Network(network) => (network.bind, network.rpc).into(),
        }
    }

    /// Where other members reach Garage's RPC.
    pub(crate) fn rpc_public(&self, ports: Ports) -> String {
        match self {
            Self::Loopback => ports.rpc_addr().to_string(),
            Self::Network(network) => network.at(network.rpc),
        }
    }

    /// Where gateways reach Garage's S3: the port itself, or the host's door, with the name of whose it is.
    pub(crate) fn s3_public(&self, host: &HostName, ports: Ports) -> String {
        match self {
            Self::Loopback => ports.s3_addr().to_string(),
            Self::Network(network) => format!("{host}@{}", network.at(network.door)),
        }
    }

    /// Where other gateways reach one of this host; `None`: only one that is alone can run here.
    pub(crate) fn link_public(&self) -> Option<String> {
        match self {
            Self::Loopback => None,
            Self::Network(network) => Some(network.at(network.link)),
        }
    }

    /// Where a gateway listens for others that was told to do so at `told`.
    pub(crate) fn link_bind(&self, told: &str) -> String {
        match self {
            Self::Loopback => told.to_owned(),
            Self::Network(network) => SocketAddr::from((network.bind, network.link)).to_string(),
        }
    }

    /// Where a gateway listens that was told to listen at `told`.
    pub(crate) fn gateway_bind(&self, told: &str) -> String {
        match self {
            Self::Loopback => told.to_owned(),
            Self::Network(network) => SocketAddr::from((network.bind, network.gateway)).to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str) -> Network {
        Network {
            address: address.to_owned(),
            bind: Network::bind_for(address),
            door: 7441,
            rpc: 3901,
            gateway: 8080,
            link: 7442,
        }
    }

    #[test]
    fn a_host_listens_at_its_own_address_alone_and_behind_a_name_or_a_router_at_all() {
        assert_eq!(network("127.0.0.1").bind, IpAddr::from([127, 0, 0, 1]));
        assert!(network("h1.example.org").bind.is_unspecified());
        // Of the range for documentation: no machine has it.
        assert!(network("192.0.2.7").bind.is_unspecified());
    }

    #[test]
    fn others_are_told_names_and_ipv6_addresses_in_brackets() {
        let ports = Ports { rpc: 1, s3: 2 };
        let host = "h1".parse().unwrap();
        let reach = Reach::Network(network("2001:db8::1"));
        assert_eq!(reach.rpc_public(ports), "[2001:db8::1]:3901");
        assert_eq!(reach.s3_public(&host, ports), "h1@[2001:db8::1]:7441");
        assert_eq!(Reach::Loopback.s3_public(&host, ports), "127.0.0.1:2");
    }
}
