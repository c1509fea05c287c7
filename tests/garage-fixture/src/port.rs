//! Ports for servers of tests.

use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Ports that are given out, all below those from which Linux takes a connection's own end (32768 to 60999): a server that
/// is stopped and started again finds its port free.
const FIRST: u32 = 10_000;
const COUNT: u32 = 20_000;

static GIVEN: AtomicU16 = AtomicU16::new(0);

/// A port on loopback that nothing listens on. Each is given out once in a process, and processes of about the same time
/// begin elsewhere.
///
/// # Errors
/// When a thousand in a row are taken.
pub fn free_port() -> io::Result<u16> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..1000 {
        let given = u32::from(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = FIRST + std::process::id().wrapping_mul(131).wrapping_add(given) % COUNT;
        let Ok(port) = u16::try_from(port) else { continue };
        match TcpListener::bind(("127.0.0.1", port)) {
            Ok(_) => return Ok(port),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_out_once_and_no_connection_takes_it() {
        let mut ports: Vec<u16> = (0..200).map(|_| free_port().unwrap()).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 200);
        assert!(ports.iter().all(|port| (10_000..30_000).contains(port)));
    }
}
