//! Ports for a host's own services.
//!
//! Ports are held open from the moment they are chosen until the program that shall have them starts, so that two hosts of
//! one machine, or anything else on it, are not given the same one in between.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::files;
use crate::reach::Reach;

/// The ports of one host's Garage daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ports {
    /// Where the other daemons reach it.
    pub rpc: u16,
    /// Where S3 is served.
    pub s3: u16,
}

impl Ports {
    /// The address at which other daemons reach this one.
    #[must_use]
    pub fn rpc_addr(self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.rpc).into()
    }

    /// The address of S3.
    #[must_use]
    pub fn s3_addr(self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.s3).into()
    }
}

/// Ports are taken from here where none is named: below those that the system gives to outgoing connections (from 32768 on, see
/// `ip_local_port_range` in <https://man7.org/linux/man-pages/man7/ip.7.html>), which could take one between two lives of a program.
const FIRST: u16 = 20_011;
/// How many there are; a prime.
const MANY: u16 = 11_987;
/// So many are tried before any port will do.
const TRIES: usize = 64;

/// A port that is free now; `port` is 0 where any will do.
fn listen(port: u16) -> io::Result<TcpListener> {
    let at = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    if port != 0 {
        return at(port);
    }
    for _ in 0..TRIES {
        // The system's own choice is the chance in it.
        let chance = at(0)?.local_addr()?.port();
        if let Ok(listener) = at(FIRST + chance % MANY) {
            return Ok(listener);
        }
    }
    at(0)
}

/// Ports that nothing else can take until this is dropped.
#[derive(Debug)]
pub struct HeldPorts {
    ports: Ports,
    /// None where it is not ours to choose.
    _rpc: Option<TcpListener>,
    _s3: TcpListener,
}

impl HeldPorts {
    /// Which ones they are.
    #[must_use]
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// Takes ports that are free now.
    ///
    /// # Errors
    /// When the system has none.
    pub fn random() -> io::Result<Self> {
        Self::bind(0, 0)
    }

    /// Takes ports for a host that is reached so: those of last time where they are free. Over a network the port of RPC is said,
    /// and taken by Garage itself.
    ///
    /// # Errors
    /// When the system has none.
    pub fn take(reach: &Reach, last: Option<Ports>) -> io::Result<Self> {
        let Reach::Network(network) = reach else {
            return Self::again_or_random(last);
        };
        let again = listen(last.map_or(0, |last| last.s3));
        let s3 = again.or_else(|_| listen(0))?;
        let ports = Ports {
            rpc: network.rpc,
            s3: s3.local_addr()?.port(),
        };
        Ok(Self {
            ports,
            _rpc: None,
            _s3: s3,
        })
    }

    /// Takes the ports that this host had last time, or others when one of them is taken.
    ///
    /// # Errors
    /// When the system has none.
    pub fn again_or_random(last: Option<Ports>) -> io::Result<Self> {
        if let Some(last) = last
            && let Ok(held) = Self::bind(last.rpc, last.s3)
        {
            return Ok(held);
        }
        Self::random()
    }

    fn bind(rpc: u16, s3: u16) -> io::Result<Self> {
        let rpc = listen(rpc)?;
        let s3 = listen(s3)?;
        let ports = Ports {
            rpc: rpc.local_addr()?.port(),
            s3: s3.local_addr()?.port(),
        };
        Ok(Self {
            ports,
            _rpc: Some(rpc),
            _s3: s3,
        })
    }
}

/// Reads the ports of last time. A file that is missing or says nothing sensible means that there are none: they are a
/// convenience (peers find each other sooner), not an identity.
#[must_use]
pub fn remembered(path: &Path) -> Option<Ports> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// Makes the next start choose other ports.
///
/// # Errors
/// When the file is there and cannot be removed.
pub fn forget(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Remembers ports for the next start.
///
/// # Errors
/// When the file cannot be written.
pub fn remember(path: &Path, ports: Ports) -> Result<(), files::WriteError> {
    let text = serde_json::to_vec(&ports).unwrap_or_default();
    files::replace(path, &text, 0o600).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_ports_are_given_to_nobody_else() {
        let one = HeldPorts::random().unwrap();
        assert!(TcpListener::bind(one.ports().rpc_addr()).is_err());
        let two = HeldPorts::again_or_random(Some(one.ports())).unwrap();
        assert_ne!(one.ports(), two.ports());
        let ports = one.ports();
        assert!(ports.rpc < 32_768 && ports.s3 < 32_768, "{ports:?}");
        drop(one);
        assert_eq!(HeldPorts::again_or_random(Some(ports)).unwrap().ports(), ports);
    }
}
