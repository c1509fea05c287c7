//! What hosts say to each other, over mutual TLS at the agent's door. S3: bytes from a gateway's near end of a tunnel to the host
//! whose Garage it asks. And where the coordinator is.

mod door;
pub(crate) mod line;
mod tunnels;

pub use door::{Door, DoorError};
pub use tunnels::Tunnels;

/// What is spoken behind the handshake: whatever Garage's S3 port speaks.
const PROTOCOL: &[u8] = b"hayloft-s3/1";
/// Piped bytes are copied in pieces of this size.
const PIECE: usize = 64 * 1024;
