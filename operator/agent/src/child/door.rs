//! The socket at which a unit is reached, kept open while one process ends and the next begins.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;

/// An open socket with the address that was asked for, or none.
#[derive(Debug, Default)]
pub(super) struct Door {
    open: Option<(String, TcpListener)>,
}

impl Door {
    /// The socket at `address` for the next process; the one before it, if the address is the same still.
    ///
    /// # Errors
    /// When the address is taken, or not this machine's.
    pub(super) fn open(&mut self, address: Option<&str>) -> io::Result<Option<OwnedFd>> {
        let Some(address) = address else {
            self.close();
            return Ok(None);
        };
        let listener = match self.open.take() {
            Some((held, listener)) if held == address => listener,
            other => {
                // Before the new one is opened: both may be on one port.
                drop(other);
                TcpListener::bind(address)?
            }
        };
        let input = listener.try_clone()?;
        self.open = Some((address.to_owned(), listener));
        Ok(Some(input.into()))
    }

    /// Refuses clients from now on.
    pub(super) fn close(&mut self) {
        self.open = None;
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn between_two_processes_clients_wait_and_after_it_is_closed_they_are_refused() {
        let mut door = Door::default();
        let first = TcpListener::from(door.open(Some("127.0.0.1:0")).unwrap().unwrap());
        let address = first.local_addr().unwrap();
        drop(first);
        let _waiting = TcpStream::connect(address).unwrap();
        let second = TcpListener::from(door.open(Some("127.0.0.1:0")).unwrap().unwrap());
        assert_eq!(second.local_addr().unwrap(), address);
        second.accept().unwrap();
        drop(second);
        door.close();
        assert!(TcpStream::connect(address).is_err());
    }

    #[test]
    fn another_address_is_another_door() {
        let mut door = Door::default();
        let first = TcpListener::from(door.open(Some("127.0.0.1:0")).unwrap().unwrap());
        let former = first.local_addr().unwrap();
        drop(first);
        door.open(Some("localhost:0")).unwrap();
        assert!(TcpStream::connect(former).is_err());
        assert!(door.open(None).unwrap().is_none());
    }
}
