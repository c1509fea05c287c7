//! Whom a door trusts: a list that is replaced while the door is open.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{Context, SHA256};
use hayloft_api::ClusterName;
use hayloft_api::join::{HostKey, ListedMember, Member, TrustList};
use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use crate::certificate::{self, CertificateError, Chain};

/// Why a list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A root certificate is malformed.
    #[error("a root certificate in the list of trusted keys cannot be read")]
    Root(#[from] CertificateError),
    /// A root certificate is not one.
    #[error("a root certificate in the list of trusted keys is none")]
    NotARoot(#[source] rustls::Error),
}

/// A list of who belongs, made ready for checking.
#[derive(Debug)]
pub struct Trust {
    pub(crate) cluster: ClusterName,
    pub(crate) roots: Arc<RootCertStore>,
    /// The first of them: the one whose authority signs now.
    signs: Option<CertificateDer<'static>>,
    members: BTreeMap<HostKey, Member>,
}

impl Trust {
    /// Makes a list ready.
    ///
    /// # Errors
    /// When a root certificate in it is malformed.
    pub fn new(list: &TrustList) -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        let mut signs = None;
        for root in &list.roots {
            let root = certificate::from_pem(root)?;
            signs.get_or_insert_with(|| root.clone());
            roots.add(root).map_err(TrustError::NotARoot)?;
        }
        let members = list
            .members
            .iter()
            .map(|listed| (listed.key, listed.member.clone()))
            .collect();
        Ok(Self {
            cluster: list.cluster.clone(),
            roots: Arc::new(roots),
            signs,
            members,
        })
    }

    /// Whose key this is; `None`: it is not on the list.
    pub fn member(&self, key: &HostKey) -> Option<&Member> {
        self.members.get(key)
    }

    /// Whether a chain is of the authority that signs now: one of an authority that is being replaced should be renewed.
    pub fn signs(&self, chain: &Chain) -> bool {
        self.signs
            .as_ref()
            .is_some_and(|root| chain.certificates().contains(root))
    }
}

/// By which two lists are told apart: SHA-256 over all that is in it, in hex.
pub fn list_digest(list: &TrustList) -> String {
    let TrustList {
        cluster,
        roots,
        members,
    } = list;
    let mut hash = Context::new(&SHA256);
    hash.update(cluster.as_str().as_bytes());
    for root in roots {
        hash.update(&[0]);
        hash.update(root.as_bytes());
    }
    for ListedMember { key, member, door } in members {
        hash.update(&[1]);
        hash.update(key.as_bytes());
        hash.update(member.to_string().as_bytes());
        if let Some(door) = door {
            hash.update(&[2]);
            hash.update(door.as_bytes());
        }
    }
    hex::encode(hash.finish())
}

/// The list in use, shared by all doors and dialled connections of a process.
#[derive(Debug)]
pub struct LiveTrust(ArcSwap<Trust>);

impl LiveTrust {
    /// Begins with a list.
    pub fn new(trust: Trust) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(trust)))
    }

    /// From now on this list counts, also for connections that are open: a door asks [`LiveTrust::peer`] at each request.
    pub fn replace(&self, trust: Trust) {
        self.0.store(Arc::new(trust));
    }

    /// The list in use.
    pub fn now(&self) -> Arc<Trust> {
        self.0.load_full()
    }

    /// Who is at the other end of a connection, by the certificate of its handshake and by the list as it is now; `None`:
    /// nobody who belongs (any more). Cheap enough for each request when given the key that was read once.
    pub fn peer(&self, key: &HostKey) -> Option<Member> {
        self.0.load().member(key).cloned()
    }
}

/// The other end of a connection, as its handshake showed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its key: it proved that it holds the private half. Who that is, and whether it still belongs, [`LiveTrust::peer`] says.
    pub key: HostKey,
    /// How its certificate stands.
    pub standing: Standing,
}

/// How a certificate stands by this machine's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is valid.
    Valid,
    /// It has expired: its host was cut off for long, or one of the clocks is wrong. Its key is on the list, so it is served,
    /// and should be told to renew.
    Expired,
    /// It is not valid yet: one of the clocks is wrong.
    NotYet,
}

impl Peer {
    /// Reads the certificate that a finished handshake accepted (`peer_certificates()` of a rustls connection).
    ///
    /// # Errors
    /// When it is malformed, which no accepted one is.
    pub fn of(certificate: &CertificateDer<'_>, now: Timestamp) -> Result<Self, CertificateError> {
        let facts = certificate::read(certificate)?;
        let standing = if now < facts.not_before {
            Standing::NotYet
        } else if now > facts.not_after {
            Standing::Expired
        } else {
            Standing::Valid
        };
        Ok(Self {
            key: facts.key,
            standing,
        })
    }
}
