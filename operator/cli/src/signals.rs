//! What asks this process to stop.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT (Ctrl-C) and SIGTERM, from the moment this was made on.
pub(crate) struct Interrupts {
    int: Signal,
    term: Signal,
}

/// Takes over both signals: the process no longer ends by them.
///
/// # Errors
/// When the system refuses.
pub(crate) fn interrupts() -> io::Result<Interrupts> {
    Ok(Interrupts {
        int: signal(SignalKind::interrupt())?,
        term: signal(SignalKind::terminate())?,
    })
}

impl Interrupts {
    /// Gives back when one of them arrives.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            Some(()) = self.int.recv() => {}
            Some(()) = self.term.recv() => {}
            else => std::future::pending().await,
        }
    }
}
