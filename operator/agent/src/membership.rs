//! What a host keeps of belonging to a cluster: who it is, by which it shows that, and whom it trusts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hayloft_api::document::Role;
use hayloft_api::join::{Member, TrustList, Welcome};
use hayloft_api::link::MOST_ADDRESSES;
use hayloft_api::{Bytes, ClusterName, HostName, OwnerName, Rate, Secret, ZoneName};
use hayloft_pki::{
    CertificateError, Chain, Identity, KeyError, Keypair, LiveIdentity, LiveTrust, TlsError, Trust,
    TrustError,
};
use serde::{Deserialize, Serialize};

use crate::files::{self, WriteError};
use crate::reach::Network;

const KEY: &str = "host.key";
const IDENTITY: &str = "identity.pem";
const TRUST: &str = "trust.json";
const RECORD: &str = "agent.json";

/// Who this host is, as it joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// Its cluster.
    pub cluster: ClusterName,
    /// Its name.
    pub name: HostName,
    /// Who owns it.
    #[serde(default)]
    pub owner: Option<OwnerName>,
    /// Its zone.
    pub zone: ZoneName,
    /// What it does.
    pub roles: Vec<Role>,
    /// What it lends.
    #[serde(default)]
    pub pledge: Option<Bytes>,
    /// The most bytes a second that it may send.
    #[serde(default)]
    pub uplink: Option<Rate>,
    /// Where the coordinator's door is to be found, the likeliest first.
    pub coordinator: Vec<String>,
    /// How it is reached.
    pub network: Network,
}

/// What is kept cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// A file is missing.
    #[error("this host has not joined a cluster: {} is missing; run `hayloft join` first", path.display())]
    NotJoined {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{} is damaged; join again with a new token", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A file cannot be written.
    #[error("what shows that this host belongs cannot be kept")]
    Write(#[from] WriteError),
    /// The host's key.
    #[error("the host's key cannot be used")]
    Key(#[from] KeyError),
    /// The certificate.
    #[error("the host's certificate cannot be read")]
    Certificate(#[from] CertificateError),
    /// Both together.
    #[error("the host's certificate cannot be used")]
    Identity(#[from] TlsError),
    /// The list.
    #[error("the list of who belongs cannot be used")]
    Trust(#[from] TrustError),
}

/// The folder in which it is kept.
#[derive(Debug, Clone)]
pub struct Membership {
    dir: PathBuf,
}

/// What a running agent needs of it.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Who it is.
    pub record: Record,
    /// What it shows.
    pub identity: Arc<LiveIdentity>,
    /// Whom it trusts.
    pub trust: Arc<LiveTrust>,
    /// The same, as it was told.
    pub list: TrustList,
}

impl Membership {
    /// In this folder. Touches nothing.
    #[must_use]
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn read(&self, name: &str) -> Result<String, MembershipError> {
        let path = self.path(name);
        fs::read_to_string(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => MembershipError::NotJoined { path },
            _ => MembershipError::Read { path, source },
        })
    }

    fn write(&self, name: &str, text: &str) -> Result<(), MembershipError> {
        files::replace(&self.path(name), text.as_bytes(), 0o600)?;
        Ok(())
    }

    fn parse<T: for<'de> Deserialize<'de>>(&self, name: &str, text: &str) -> Result<T, MembershipError> {
        serde_json::from_str(text).map_err(|source| MembershipError::Damaged {
            path: self.path(name),
            source,
        })
    }

    fn json<T: Serialize>(&self, name: &str, value: &T) -> Result<(), MembershipError> {
        let text = serde_json::to_string_pretty(value).map_err(|source| MembershipError::Damaged {
            path: self.path(name),
            source,
        })?;
        self.write(name, &text)
    }

    /// Whether the host belongs to a cluster, as far as it knows.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.path(RECORD).exists()
    }

    /// Who this host is.
    ///
    /// # Errors
    /// When it has not joined, or the file cannot be read.
    pub fn record(&self) -> Result<Record, MembershipError> {
        self.parse(RECORD, &self.read(RECORD)?)
    }

    /// The host's key: the one that is kept, else a new one from `seed`, 32 random bytes. An interrupted join goes on with the same.
    ///
    /// # Errors
    /// When it cannot be read or kept.
    pub fn key(&self, seed: &[u8; 32]) -> Result<Keypair, MembershipError> {
        match self.read(KEY) {
            Ok(pem) => Ok(Keypair::from_pem(&Secret::new(pem))?),
            Err(MembershipError::NotJoined { .. }) => {
                let key = Keypair::from_seed(seed)?;
                self.write(KEY, key.to_pem().expose())?;
                Ok(key)
            }
            Err(error) => Err(error),
        }
    }

    /// Keeps a welcome. The record comes last: it says that all is there.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn keep(&self, record: &Record, welcome: &Welcome) -> Result<(), MembershipError> {
        self.write(IDENTITY, &welcome.chain)?;
        self.json(TRUST, &welcome.trust)?;
        self.json(RECORD, record)
    }

    /// The list of who belongs, as it was told last.
    ///
    /// # Errors
    /// When the host has not joined, or the file cannot be read.
    pub fn list(&self) -> Result<TrustList, MembershipError> {
        self.parse(TRUST, &self.read(TRUST)?)
    }

    /// Keeps a newer list of who belongs.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_list(&self, list: &TrustList) -> Result<(), MembershipError> {
        self.json(TRUST, list)
    }

    /// Takes renewed certificates, in PEM, into use, and keeps them.
    ///
    /// # Errors
    /// When they are not of this host's key, or cannot be written.
    pub fn renew(&self, chain: &str, identity: &LiveIdentity) -> Result<(), MembershipError> {
        let key = Keypair::from_pem(&Secret::new(self.read(KEY)?))?;
        let renewed = Identity::new(&key, Chain::from_pem(chain)?)?;
        self.write(IDENTITY, chain)?;
        identity.replace(renewed);
        Ok(())
    }

    /// A request for a certificate of this host's key, in PEM.
    ///
    /// # Errors
    /// When the key cannot be used.
    pub fn request(&self) -> Result<String, MembershipError> {
        let key = Keypair::from_pem(&Secret::new(self.read(KEY)?))?;
        hayloft_pki::CertificateRequest::write(&key).map_err(|_| MembershipError::Key(KeyError::Seed))
    }

    /// Notes that this host is reached elsewhere from the agent's next start on.
    ///
    /// # Errors
    /// When the record cannot be read or written.
    pub fn relocate(&self, address: &str) -> Result<Record, MembershipError> {
        let mut record = self.record()?;
        record.network.bind = Network::bind_for(address);
        address.clone_into(&mut record.network.address);
        self.json(RECORD, &record)?;
        Ok(record)
    }

    /// Notes where the coordinator was found, to be tried first after the next start.
    ///
    /// # Errors
    /// When the record cannot be read or written.
    pub fn remember_coordinator(&self, address: &str) -> Result<(), MembershipError> {
        let mut record = self.record()?;
        if record.coordinator.iter().any(|known| known == address) {
            return Ok(());
        }
        record.coordinator.insert(0, address.to_owned());
        record.coordinator.truncate(MOST_ADDRESSES);
        self.json(RECORD, &record)
    }

    /// All that a running agent needs.
    ///
    /// # Errors
    /// When the host has not joined, or what is kept cannot be used.
    pub fn standing(&self) -> Result<Standing, MembershipError> {
        let record = self.record()?;
        let key = Keypair::from_pem(&Secret::new(self.read(KEY)?))?;
        let identity = Identity::new(&key, Chain::from_pem(&self.read(IDENTITY)?)?)?;
        let list = self.list()?;
        Ok(Standing {
            record,
            identity: LiveIdentity::new(identity),
            trust: LiveTrust::new(Trust::new(&list)?),
            list,
        })
    }

    /// Forgets that the host belonged. Its key goes too: a host that left comes back as another one.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn forget(&self) -> io::Result<()> {
        for name in [RECORD, TRUST, IDENTITY, KEY] {
            match fs::remove_file(self.path(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Which member a record is of.
    #[must_use]
    pub fn member(record: &Record) -> Member {
        Member::Host(record.name.clone())
    }
}
