//! The agent's end of the link to a coordinator elsewhere. It dials, and goes on dialling: what the host runs does not depend
//! on it, and the agent's own loop does not know whether a coordinator is in its process or far away.

mod connection;
mod local;
mod session;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hayloft_api::ClusterName;
use hayloft_api::agent::{HostDesired, HostReport};
use hayloft_api::join::TrustList;
use hayloft_api::link::LinkRefusal;
use hayloft_pki::{LiveIdentity, LiveTrust, TlsError};
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::agent::AgentHandle;
use crate::agent::one_line;
use crate::answer::Asked;
use crate::clock::Clock;
use crate::membership::{Membership, MembershipError};
use crate::whereabouts::{self, Whereabouts};

/// The first wait before it is dialled again.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest.
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// Who was told that another took its place, or that it does not belong, waits so long: a person has to do something.
const WAIT_FOR_PEOPLE: Duration = Duration::from_secs(60);
/// Other hosts are asked where it is after so many failures, and again after as many more.
const ASK_OTHERS_EVERY: u32 = 4;
/// After a connection that lasted so long the waits begin anew.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);

/// What an agent needs to reach its coordinator.
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// Where the coordinator's door is; each address is looked up anew for every try.
    pub whereabouts: Arc<Whereabouts>,
    /// The cluster, whose coordinator it must be.
    pub cluster: ClusterName,
    /// What the agent shows of itself.
    pub identity: Arc<LiveIdentity>,
    /// Whom it trusts.
    pub trust: Arc<LiveTrust>,
    /// The same list, as it was told.
    pub list: TrustList,
    /// Where a newer list and renewed certificates are kept.
    pub membership: Membership,
    /// The socket of the host's Garage's admin API.
    pub admin_socket: PathBuf,
    /// Says when a certificate is due.
    pub clock: Clock,
    /// 32 bytes of true randomness, other ones at each start.
    pub seed: [u8; 32],
}

/// The agent's channels, which a coordinator in its process would hold.
#[derive(Debug, Clone)]
pub struct Ends {
    /// What the host shall run.
    pub desired: watch::Sender<Option<HostDesired>>,
    /// What the agent reports.
    pub report: watch::Receiver<HostReport>,
    /// What it is asked.
    pub questions: mpsc::Sender<Asked>,
}

impl Ends {
    /// Of a running agent.
    pub fn of(agent: &AgentHandle) -> Self {
        Self {
            desired: agent.desired.clone(),
            report: agent.report.clone(),
            questions: agent.questions.clone(),
        }
    }
}

/// How the link stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// It was not reached yet.
    Dialling,
    /// The coordinator has this agent's report.
    Up {
        /// At which of the addresses.
        address: String,
    },
    /// It is dialled again after a while; what the host runs goes on.
    Down {
        /// What went wrong last, with its causes.
        why: String,
    },
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("no address of a coordinator is known")]
    NoAddress,
    #[error("the coordinator at {address} cannot be reached")]
    Dial {
        address: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the coordinator at {address} does not answer")]
    Slow { address: String },
    #[error("TLS cannot be set up")]
    Tls(#[source] TlsError),
    #[error("the connection to the coordinator was lost")]
    Lost(#[source] Option<hyper::Error>),
    #[error("the coordinator's answer is not understood")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the coordinator answered {status}")]
    Status { status: hyper::StatusCode },
    #[error("the coordinator refuses")]
    Refused(#[source] LinkRefusal),
    #[error("a message to the coordinator cannot be written")]
    Write(#[source] serde_json::Error),
    #[error("the agent ends")]
    AgentEnds,
    #[error(transparent)]
    Membership(#[from] MembershipError),
}

/// The link, kept up until it is dropped.
#[derive(Debug)]
pub struct Link {
    state: watch::Receiver<LinkState>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Link {
    /// Begins to dial, in a task of its own.
    pub fn start(config: LinkConfig, ends: Ends) -> Self {
        let (sender, state) = watch::channel(LinkState::Dialling);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = keep_up(config, ends, sender) => {}
            }
        });
        Self { state, stop, task }
    }

    /// How it stands, as it changes.
    pub fn state(&self) -> watch::Receiver<LinkState> {
        self.state.clone()
    }

    /// Ends it. What the host runs goes on.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn keep_up(config: LinkConfig, ends: Ends, state: watch::Sender<LinkState>) {
    let mut rng = StdRng::from_seed(config.seed);
    let mut name = [0; 16];
    rng.fill_bytes(&mut name);
    let mut life = session::Life::new(hex::encode(name), ends, &config);
    let mut failures = 0_u32;
    let mut turn = 0_usize;
    loop {
        let began = Instant::now();
        let addresses = config.whereabouts.candidates();
        let error = match addresses.get(turn % addresses.len().max(1)) {
            Some(address) => once(&config, address, &mut life, &state).await,
            None => LinkError::NoAddress,
        };
        config.whereabouts.is_up(None);
        if matches!(error, LinkError::AgentEnds) {
            return;
        }
        if began.elapsed() >= HEALTHY_AFTER {
            failures = 0;
        } else {
            turn = turn.wrapping_add(1);
        }
        let why = one_line(&error);
        tracing::warn!(%why, "no link to the coordinator; what this host runs goes on");
        state.send_replace(LinkState::Down { why });
        let wait = wait_after(&error, failures).mul_f64(rng.random_range(0.5..=1.0));
        failures = failures.saturating_add(1);
        if failures.is_multiple_of(ASK_OTHERS_EVERY) {
            ask_others(&config, life.list(), &mut rng).await;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = config.whereabouts.news() => turn = 0,
        }
    }
}

/// Other hosts may have found it.
async fn ask_others(config: &LinkConfig, list: &TrustList, rng: &mut StdRng) {
    let own = config
        .identity
        .now()
        .chain()
        .facts()
        .ok()
        .and_then(|facts| config.trust.peer(&facts.key));
    let doors = whereabouts::doors(list, own.as_ref());
    let told = whereabouts::ask_some(&doors, &config.identity, &config.trust, &config.cluster, rng).await;
    if !told.is_empty() {
        tracing::info!(?told, "other hosts say where the coordinator is");
        config.whereabouts.hear(&told);
    }
}

/// How long to wait after so many failures in a row.
fn wait_after(error: &LinkError, failures: u32) -> Duration {
    match error {
        LinkError::Refused(
            LinkRefusal::Replaced
            | LinkRefusal::NotAMember
            | LinkRefusal::OtherHost
            | LinkRefusal::NotUnderstood,
        ) => WAIT_FOR_PEOPLE,
        _ => FIRST_WAIT.saturating_mul(1 << failures.min(8)).min(LONGEST_WAIT),
    }
}

/// One connection, from its beginning to its end.
async fn once(
    config: &LinkConfig,
    address: &str,
    life: &mut session::Life,
    state: &watch::Sender<LinkState>,
) -> LinkError {
    let (speaker, carrier) = match connection::dial(config, address).await {
        Ok(connected) => connected,
        Err(error) => return error,
    };
    let up = || {
        config.whereabouts.is_up(Some(address));
        if let Err(error) = config.membership.remember_coordinator(address) {
            tracing::warn!(error = %one_line(&error), "where the coordinator is could not be noted");
        }
        state.send_replace(LinkState::Up {
            address: address.to_owned(),
        });
    };
    tokio::select! {
        // Why it was lost is known best by what carries it.
        biased;
        ended = carrier => LinkError::Lost(ended.err()),
        error = life.go_on(&speaker, config, up) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_bound_and_are_long_where_only_people_can_help() {
        let lost = LinkError::Lost(None);
        assert_eq!(wait_after(&lost, 0), FIRST_WAIT);
        assert_eq!(wait_after(&lost, 1), FIRST_WAIT * 2);
        assert_eq!(wait_after(&lost, u32::MAX), LONGEST_WAIT);
        let again = LinkError::Refused(LinkRefusal::ReportFirst);
        assert_eq!(wait_after(&again, 0), FIRST_WAIT);
        let replaced = LinkError::Refused(LinkRefusal::Replaced);
        assert_eq!(wait_after(&replaced, 0), WAIT_FOR_PEOPLE);
    }
}
