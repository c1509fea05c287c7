//! What a process shows of itself: its key and certificate, replaced while it runs.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use hayloft_api::join::HostKey;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs::sign::any_eddsa_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::certificate::Chain;
use crate::key::Keypair;
use crate::tls::TlsError;

/// A key and the chain that says whose it is.
#[derive(Debug)]
pub struct Identity {
    key: HostKey,
    chain: Chain,
    certified: Arc<CertifiedKey>,
}

impl Identity {
    /// Of a key and a chain whose first certificate is about it.
    ///
    /// # Errors
    /// When the certificate is about another key.
    pub fn new(key: &Keypair, chain: Chain) -> Result<Self, TlsError> {
        let PrivateKeyDer::Pkcs8(der) = key.private_der() else {
            return Err(TlsError::Key);
        };
        if chain.facts().map_err(TlsError::Certificate)?.key != key.public() {
            return Err(TlsError::OtherKey);
        }
        let signing = any_eddsa_type(&der).map_err(|_| TlsError::Key)?;
        let certified = Arc::new(CertifiedKey::new(chain.certificates().to_vec(), signing));
        Ok(Self {
            key: key.public(),
            chain,
            certified,
        })
    }

    /// Its public key.
    pub const fn key(&self) -> HostKey {
        self.key
    }

    /// Its certificates.
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }
}

/// The identity in use, shared by all doors and dialled connections of a process. A renewed certificate is used from the next
/// handshake on; nothing is restarted.
pub struct LiveIdentity(ArcSwap<Identity>);

impl LiveIdentity {
    /// Begins with one.
    pub fn new(identity: Identity) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(identity)))
    }

    /// From the next handshake on this one is shown.
    pub fn replace(&self, identity: Identity) {
        self.0.store(Arc::new(identity));
    }

    /// The one in use.
    pub fn now(&self) -> Arc<Identity> {
        self.0.load_full()
    }
}

impl fmt::Debug for LiveIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LiveIdentity({})", self.now().key.short())
    }
}

impl ResolvesServerCert for LiveIdentity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.load().certified))
    }
}

impl ResolvesClientCert for LiveIdentity {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        schemes
            .contains(&SignatureScheme::ED25519)
            .then(|| Arc::clone(&self.0.load().certified))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
