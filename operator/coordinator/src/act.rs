//! Doing: a match over steps. What is right to do was decided before.

mod access;
mod connect;
mod desire;
pub(crate) mod layout;
mod nodes;
mod rotate;

use std::sync::Arc;

use hayloft_api::status::EventKind;
use hayloft_api::{Document, Generation, HostName};
use hayloft_engine::{Drift, Objection, Snapshot, Staged, Step};
use hayloft_garage::admin::{AdminError, Client};
use jiff::Timestamp;
use rand::Rng;
use rand::rngs::StdRng;
use tokio::sync::watch;

use crate::leadership::Leadership;
use crate::memory::Memory;
use crate::moves::NoComparison;
use crate::snapshots::Snapshots;
use crate::store::Kind;
use crate::{Links, Store, StoreError};

/// A place at which tests let the coordinator die.
macro_rules! may_die {
    ($at:literal) => {
        fail::fail_point!($at);
    };
}
pub(crate) use may_die;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ActError {
    /// A host went away since the plan was made.
    #[error("{0} is gone")]
    Gone(HostName),
    /// Another coordinator may lead by now.
    #[error("too few agents follow this coordinator by now")]
    NotLeading,
    /// Garage refused or did not answer.
    #[error("Garage on {host} failed")]
    Garage {
        /// The host.
        host: HostName,
        /// What it said.
        source: AdminError,
    },
    /// Peers could not be reached.
    #[error("{host} cannot reach {peers}")]
    Unconnected {
        /// The member that was told to connect.
        host: HostName,
        /// Those it did not reach, and why.
        peers: String,
    },
    /// A repair was launched and is not listed.
    #[error("the repair that was launched on node {} is not listed there", .0.short())]
    Unlisted(hayloft_api::NodeId),
    /// Something is staged that should not be.
    #[error("somebody else is staging layout changes at this moment")]
    Staging,
    /// No layout can be computed.
    #[error("Garage cannot compute the layout: {0}")]
    Impossible(String),
    /// The preview breaks rules.
    #[error("the layout was previewed and is refused: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Refused(Vec<Objection>),
    /// Names cannot be compared yet.
    #[error("block names cannot be compared yet")]
    NoComparison(#[source] NoComparison),
    /// The coordinator's store failed.
    #[error("the coordinator's store failed")]
    Store(#[source] StoreError),
}

/// All that steps are carried out with.
pub(crate) struct Actor<'a> {
    pub(crate) document: &'a Document,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) links: &'a watch::Receiver<Links>,
    pub(crate) store: &'a Store,
    pub(crate) memory: &'a mut Memory,
    pub(crate) term: &'a mut Term,
    pub(crate) leadership: &'a Leadership,
    pub(crate) snapshots: &'a mut Snapshots,
    pub(crate) clock: &'a Arc<dyn Fn() -> Timestamp + Send + Sync>,
    pub(crate) rng: &'a mut StdRng,
    pub(crate) now: Timestamp,
}

/// A coordinator's term of office.
#[derive(Debug)]
pub(crate) struct Term {
    pub(crate) epoch: u64,
    pub(crate) instance: String,
    pub(crate) n: u64,
}

impl Term {
    fn next(&mut self) -> Generation {
        self.n += 1;
        Generation {
            epoch: self.epoch,
            instance: self.instance.clone(),
            n: self.n,
        }
    }
}

impl Actor<'_> {
    /// Carries out one step.
    pub(crate) async fn act(&mut self, step: &Step) -> Result<(), ActError> {
        if !self.leadership.leads() {
            return Err(ActError::NotLeading);
        }
        may_die!("before-step");
        match step {
            Step::Desire { host, plan } => {
                if plan.gateway.is_some() {
                    self.knows_what_gateways_know(host).await?;
                }
                self.desire(host, plan)
            }
            Step::Connect { through, peers } => self.connect(through, peers).await,
            Step::RevertStaging { through } => {
                let client = self.client(through)?;
                self.revert(&client, through).await
            }
            Step::ChangeLayout {
                through,
                version,
                roles,
                zone_redundancy,
            } => {
                let change = Staged {
                    roles: roles.clone(),
                    zone_redundancy: zone_redundancy.map(Some),
                };
                self.change_layout(through, *version, change).await
            }
            Step::HealSplit { through, version } => {
                self.change_layout(through, *version, Staged::default()).await
            }
            Step::SkipGone { through, version } => self.skip_gone(through, *version).await,
            Step::AllowMissing {
                through,
                version,
                hosts,
            } => self.allow_missing(through, *version, hosts).await,
            Step::QuickenReceivers { through, nodes, .. } => self.quicken(through, nodes).await,
            Step::LaunchRepair { through, nodes, kind } => self.repair(through, nodes, *kind).await,
            Step::Compare { of } => self.compare(*of),
            Step::SetResync {
                through,
                nodes,
                setting,
            } => self.set_resync(through, nodes, *setting).await,
            Step::Evict { host, node } => self.evict(host, *node).await,
            Step::StageSecrets { known_to } => self.stage_secrets(known_to).await,
            Step::SwitchSecrets { .. } => self.switch_secrets().await,
            Step::RotateSecrets { .. } => self.rotate().await,
            Step::KeepSnapshot { of, on } => self.keep_snapshot(of, on).await,
            Step::Mend { through, drift } => self.mend(through, *drift).await,
            Step::RenewAdminToken { through } => self.renew_token(through).await,
            Step::EnsureKey { through } => self.ensure_key(through).await,
            Step::EnsureBucket { through } => {
                self.memory.forget_access();
                let client = self.client(through)?;
                self.at(through, client.create_bucket(crate::BUCKET).await)
                    .map(|_| ())
            }
            Step::AllowKey { through } => self.allow_key(through).await,
        }
    }

    fn at<T>(&self, host: &HostName, result: Result<T, AdminError>) -> Result<T, ActError> {
        result.map_err(|source| ActError::Garage {
            host: host.clone(),
            source,
        })
    }

    /// The client of a member, with the token that it takes.
    fn client(&mut self, host: &HostName) -> Result<Client, ActError> {
        let token = self.store.secrets().admin_token;
        let has_role = self.memory.has_role(host);
        self.made(host, &token, has_role)
    }

    /// The client of a member, with the static token: for what the other may not do.
    fn static_client(&mut self, host: &HostName) -> Result<Client, ActError> {
        let token = self.store.secrets().admin_token;
        let heard = self
            .memory
            .heard
            .get(host)
            .ok_or_else(|| ActError::Gone(host.clone()))?;
        let client = Client::new(&heard.report.admin, token);
        self.at(
            host,
            client.map(|client| client.counted_in(self.memory.calls.clone())),
        )
    }

    fn made(
        &mut self,
        host: &HostName,
        token: &hayloft_api::Secret,
        has_role: bool,
    ) -> Result<Client, ActError> {
        let client = self
            .memory
            .client(host, token, has_role)
            .ok_or_else(|| ActError::Gone(host.clone()))?;
        self.at(host, client)
    }

    fn random(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        seed
    }

    fn tell(&mut self, kind: EventKind, text: impl Into<String>) {
        self.memory.events.tell(self.now, kind, text);
    }

    /// Bars a node. Its host comes back as another one, or not at all.
    async fn evict(&mut self, host: &HostName, node: hayloft_api::NodeId) -> Result<(), ActError> {
        self.store
            .put_record(Kind::Known, host, &true)
            .await
            .map_err(ActError::Store)?;
        self.memory.known.insert(host.clone());
        may_die!("evict-known");
        self.store
            .put_record(Kind::Barred, &node, host)
            .await
            .map_err(ActError::Store)?;
        self.memory.barred.insert(node, host.clone());
        self.forget_kept(host).await?;
        // A person's word stands until it is withdrawn: the host is not let in again under another node.
        let short = node.short();
        let text = format!("{host} is put out: its node {short} is barred, and what it knows is renewed");
        self.tell(EventKind::Host, text);
        Ok(())
    }
}

impl Actor<'_> {
    /// Of an evicted host's metadata nothing is of use any more: its keeper is told to delete it, when it can be.
    async fn forget_kept(&mut self, host: &HostName) -> Result<(), ActError> {
        let Some(upkeep) = self.memory.upkeep.get_mut(host) else {
            return Ok(());
        };
        let Some(kept) = upkeep.snapshot.take() else {
            return Ok(());
        };
        let upkeep = upkeep.clone();
        self.store
            .put_record(Kind::Leftover, host, &kept.on)
            .await
            .map_err(ActError::Store)?;
        self.memory.leftovers.insert(host.clone(), kept.on);
        self.store
            .put_record(Kind::Upkeep, host, &upkeep)
            .await
            .map_err(ActError::Store)
    }
}

/// What to say of a drift that was undone.
fn undone(drift: Drift) -> String {
    match drift {
        Drift::Alias => "the bucket had lost its name, and has it again".to_owned(),
        Drift::Quota { shall: Some(shall) } => {
            format!("the bucket's limit was another one, and is {shall} again")
        }
        Drift::Quota { shall: None } => {
            "the bucket had a limit that is not declared; it was removed".to_owned()
        }
        Drift::Website => "the bucket was served as a web site, and is not any more".to_owned(),
        Drift::Lifecycle => {
            "the bucket had rules that delete objects by themselves; they were removed".to_owned()
        }
        Drift::Cors => "the bucket had CORS rules; they were removed".to_owned(),
        Drift::KeyOwns => "the access key could administer the bucket, and cannot any more".to_owned(),
        Drift::KeyCreates => "the access key could make buckets, and cannot any more".to_owned(),
    }
}
