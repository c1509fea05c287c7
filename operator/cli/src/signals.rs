//! What asks this process to stop.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

/// A signal that comes so soon after another is the same request: `timeout`, for one, sends its signal to the process and
/// then to its group, so that it arrives twice.
const SAME_REQUEST: Duration = Duration::from_millis(500);

/// SIGINT (Ctrl-C) and SIGTERM, from the moment this was made on.
pub(crate) struct Interrupts {
    int: Signal,
    term: Signal,
    /// When the last request came.
    asked: Option<Instant>,
}

/// Takes over both signals: the process no longer ends by them.
///
/// # Errors
/// When the system refuses.
pub(crate) fn interrupts() -> io::Result<Interrupts> {
    Ok(Interrupts {
        int: signal(SignalKind::interrupt())?,
        term: signal(SignalKind::terminate())?,
        asked: None,
    })
}

impl Interrupts {
    /// Gives back when somebody asks to stop. May be dropped and called again; nothing is lost.
    pub(crate) async fn next(&mut self) {
        loop {
            tokio::select! {
                Some(()) = self.int.recv() => {}
                Some(()) = self.term.recv() => {}
                else => std::future::pending().await,
            }
            let now = Instant::now();
            if self.asked.is_none_or(|asked| now - asked >= SAME_REQUEST) {
                self.asked = Some(now);
                return;
            }
        }
    }
}
