//! What an address means, and to whom.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// For whom an address leads anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// For its own machine.
    Here,
    /// For its own network: a home, a site, an overlay.
    Private,
    /// For everybody.
    Public,
    /// A name: what it leads to may change, and may differ from place to place.
    Name,
}

/// What `host:port` means; `None`: it is none.
pub(crate) fn place(address: &str) -> Option<Place> {
    let (host, port) = address.rsplit_once(':')?;
    port.parse::<u16>().ok().filter(|port| *port != 0)?;
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    if host.is_empty() {
        return None;
    }
    Some(match host.parse() {
        Ok(IpAddr::V4(v4)) => of_v4(v4),
        Ok(IpAddr::V6(v6)) => v6.to_ipv4_mapped().map_or_else(|| of_v6(v6), of_v4),
        Err(_) if host == "localhost" => Place::Here,
        Err(_) => Place::Name,
    })
}

fn of_v4(v4: Ipv4Addr) -> Place {
    // RFC 6598: what a provider gives to those behind its own address translation; overlay networks use it too.
    let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
    if v4.is_loopback() || v4.is_unspecified() {
        Place::Here
    } else if v4.is_private() || v4.is_link_local() || shared {
        Place::Private
    } else {
        Place::Public
    }
}

fn of_v6(v6: Ipv6Addr) -> Place {
    if v6.is_loopback() || v6.is_unspecified() {
        Place::Here
    } else if v6.is_unique_local() || v6.is_unicast_link_local() {
        Place::Private
    } else {
        Place::Public
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart_by_who_can_use_them() {
        for (address, meant) in [
            ("127.0.0.1:80", Place::Here),
            ("[::1]:80", Place::Here),
            ("0.0.0.0:80", Place::Here),
            ("localhost:80", Place::Here),
            ("192.168.1.4:80", Place::Private),
            ("10.0.0.1:80", Place::Private),
            ("172.31.0.1:80", Place::Private),
            ("100.64.0.9:80", Place::Private),
            ("169.254.1.1:80", Place::Private),
            ("[fd00::1]:80", Place::Private),
            ("[fe80::1]:80", Place::Private),
            ("[::ffff:10.0.0.1]:80", Place::Private),
            ("203.0.113.7:80", Place::Public),
            ("[2001:db8::1]:80", Place::Public),
            ("172.32.0.1:80", Place::Public),
            ("100.128.0.1:80", Place::Public),
            ("paris-1.example.org:80", Place::Name),
        ] {
            assert_eq!(place(address), Some(meant), "{address}");
        }
        for bad in ["", "host", ":80", "host:0", "host:x"] {
            assert_eq!(place(bad), None, "{bad}");
        }
    }
}
