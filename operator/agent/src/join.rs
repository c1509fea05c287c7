//! Joining a cluster: a host shows a token and its facts, is looked at, and gets a certificate. No secret is on the host before.
//!
//! Every step can be repeated: the host's key and node key are kept from the first, and the coordinator knows the key again.

mod ask;
mod facts;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hayloft_api::join::{JoinAnswer, JoinAsk, JoinFacts, JoinRefusal, Welcome};
use hayloft_garage::NodeKeyError;
use hayloft_pki::{CertificateRequest, JoinToken, RequestError, TlsError};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::files::WriteError;
use crate::launch::Places;
use crate::membership::{Membership, MembershipError, Record};

pub use facts::{Lends, facts};

/// While a person has to approve, the coordinator is asked again so often.
const ASK_AGAIN: Duration = Duration::from_secs(3);
/// The coordinator tells to dial members, and then others when those have gone; more often than this is no progress.
const DIALS: usize = 5;

/// Why a host has not joined.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// What it keeps.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// The folder.
    #[error("the host's folder cannot be used")]
    Folder(#[source] WriteError),
    /// The node key.
    #[error("the host has no Garage node key")]
    NodeKey(#[source] NodeKeyError),
    /// The disk does not tell how full it is.
    #[error("the system does not tell how much room {} has", .0.display())]
    Disk(std::path::PathBuf),
    /// A request could not be written.
    #[error("the request for a certificate cannot be written")]
    Request(#[from] RequestError),
    /// TLS.
    #[error("TLS cannot be set up")]
    Tls(#[from] TlsError),
    /// The port that others shall dial is taken.
    #[error("{address} is taken by another program; stop that one, or choose another port")]
    Taken {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No coordinator answered.
    #[error("no coordinator was reached at {}: {why}; the token can be used again once one is", .addresses.join(" or "))]
    Unreached {
        /// Where it was looked for.
        addresses: Vec<String>,
        /// What went wrong last.
        why: String,
    },
    /// It said no.
    #[error("the cluster does not let this host in: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Refused(Vec<JoinRefusal>),
    /// It wants other members dialled for ever.
    #[error("the coordinator goes on asking this host to dial others; try again in a minute")]
    Endless,
}

/// What became known on the way, for people who wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// This host dials members.
    Dialling(Vec<String>),
    /// A person has to approve.
    Waiting(String),
}

/// All that a join needs.
pub struct Joining<'a> {
    /// The token.
    pub token: &'a JoinToken,
    /// Where things lie; nothing but keys is put there.
    pub places: &'a Places,
    /// Who the host wants to be.
    pub record: Record,
    /// What it says of itself.
    pub facts: JoinFacts,
    /// Tells the time, which the coordinator compares with its own.
    pub clock: Clock,
    /// 32 random bytes, for the host's key.
    pub seed: [u8; 32],
}

/// Joins. Tells `news` what it waits for; waits for a person's approval for as long as it is polled.
///
/// # Errors
/// When no coordinator is reached, it refuses, or the host's folder cannot be used.
pub async fn join(joining: Joining<'_>, mut news: impl FnMut(News)) -> Result<(), JoinError> {
    let Joining {
        token,
        places,
        record,
        mut facts,
        clock,
        seed,
    } = joining;
    let membership = Membership::at(&places.dir);
    let key = membership.key(&seed)?;
    let request = CertificateRequest::write(&key)?;
    // Members dial these while they judge; nothing is said there yet.
    let network = &record.network;
    let before = membership.is_there();
    let _open = [
        open(network.bind, network.door, before).await?,
        open(network.bind, network.rpc, before).await?,
    ];
    let mut dials = 0;
    loop {
        facts.clock = clock.now();
        let ask = JoinAsk {
            token: token.id,
            secret: token.secret(),
            request: request.clone(),
            facts: facts.clone(),
        };
        match ask::ask(token, &ask).await? {
            JoinAnswer::Welcome(welcome) => return keep(&membership, &record, &welcome),
            JoinAnswer::Refused { refusals } => return Err(JoinError::Refused(refusals)),
            JoinAnswer::Dial { members } => {
                dials += 1;
                if dials > DIALS {
                    return Err(JoinError::Endless);
                }
                news(News::Dialling(
                    members.iter().map(|(name, _)| name.to_string()).collect(),
                ));
                facts.dialled = ask::dial(members).await;
            }
            JoinAnswer::Wait { why } => {
                news(News::Waiting(why));
                tokio::time::sleep(ASK_AGAIN).await;
            }
        }
    }
}

fn keep(membership: &Membership, record: &Record, welcome: &Welcome) -> Result<(), JoinError> {
    Ok(membership.keep(record, welcome)?)
}

/// A port that takes connections and says nothing, until it is dropped.
struct Open(JoinHandle<()>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Opens a port. Where the host joined before, its own Garage may hold it, which does as well.
async fn open(bind: std::net::IpAddr, port: u16, before: bool) -> Result<Option<Open>, JoinError> {
    let address = SocketAddr::from((bind, port));
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) if before && error.kind() == io::ErrorKind::AddrInUse => return Ok(None),
        Err(source) => return Err(JoinError::Taken { address, source }),
    };
    Ok(Some(Open(tokio::spawn(async move {
        loop {
            if listener.accept().await.is_err() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }))))
}
