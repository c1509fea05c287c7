//! Join tokens, the cluster's own certificate authority, and who may speak on its links.
//!
//! An agent and a coordinator each have one Ed25519 key, made where it is used. The coordinator keeps a list of the keys that
//! belong, every agent's ledger holds a copy, and that list is what doors trust ([`LiveTrust`]): taking a key off it ends
//! its access at once, and a certificate that expired in an outage does not shut a host out. Certificates say which name a
//! key has, and are signed by an authority that may sign names of this one cluster only ([`Authority`]).
//!
//! Everything here is a value: no I/O; moments and randomness are parameters.

mod authority;
mod certificate;
mod identity;
mod key;
mod link;
mod pin;
mod request;
mod tls;
mod token;
mod trust;
mod verify;

pub use authority::{Authority, AuthorityError, AuthorityRecord, HOST_CERTIFICATE_LIFE, should_renew};
pub use certificate::{CertificateError, Chain, Facts};
pub use identity::{Identity, LiveIdentity};
pub use key::{KeyError, Keypair};
pub use link::LinkIdentity;
pub use pin::{Pin, PinError};
pub use request::{CertificateRequest, RequestError};
pub use tls::{Strangers, TlsError, client_config, joining_config, server_config, server_name};
pub use token::{JoinToken, TokenError, is_secret_of};
pub use trust::{LiveTrust, Peer, Standing, Trust, TrustError, list_digest};
