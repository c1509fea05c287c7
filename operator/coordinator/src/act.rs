//! Doing: a match over steps. What is right to do was decided before.

use std::collections::BTreeMap;

use hayloft_api::agent::{GarageDesired, GatewayDesired, HostDesired, S3Desired};
use hayloft_api::{Document, Generation, HostName};
use hayloft_engine::{
    Forecast, GaragePlan, GatewayPlan, HostPlan, NodeForecast, Objection, Snapshot, Staged, Step,
    judge_forecast,
};
use hayloft_garage::admin::{
    AdminError, Client, Layout, Outlook, Permissions, Preview, RoleChange, ZoneRedundancy,
};
use jiff::Timestamp;

use crate::observe::{Memory, staged};
use crate::store::Attempt;
use crate::{BUCKET, ClusterSecrets, Links, REGION, Store, StoreError};

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ActError {
    /// A host went away since the plan was made.
    #[error("{0} is gone")]
    Gone(HostName),
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
    /// This coordinator cannot do it yet.
    #[error("this version of Hayloft cannot do that yet")]
    NotYet,
    /// Something is staged that should not be.
    #[error("somebody else is staging layout changes at this moment")]
    Staging,
    /// No layout can be computed.
    #[error("Garage cannot compute the layout: {0}")]
    Impossible(String),
    /// The preview breaks rules.
    #[error("the layout was previewed and is refused: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Refused(Vec<Objection>),
    /// The coordinator's store failed.
    #[error("the coordinator's store failed")]
    Store(#[source] StoreError),
}

/// All that steps are carried out with.
pub(crate) struct Actor<'a> {
    pub(crate) document: &'a Document,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) links: &'a Links,
    pub(crate) store: &'a Store,
    pub(crate) memory: &'a mut Memory,
    pub(crate) term: &'a mut Term,
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
        match step {
            Step::Desire { host, plan } => self.desire(host, plan),
            Step::Connect { through, peers } => {
                let client = self.client(through)?;
                let outcomes = self.at(through, client.connect(peers).await)?;
                let failed: Vec<String> = peers
                    .iter()
                    .zip(outcomes)
                    .filter(|(_, outcome)| !outcome.success)
                    .map(|(peer, outcome)| format!("{} ({})", peer.addr, outcome.error.unwrap_or_default()))
                    .collect();
                if failed.is_empty() {
                    return Ok(());
                }
                Err(ActError::Unconnected {
                    host: through.clone(),
                    peers: failed.join(", "),
                })
            }
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
            Step::SkipGone { through, version } => {
                let client = self.client(through)?;
                match client.skip_dead(*version).await {
                    // It settled meanwhile, or everyone is counted already.
                    Ok(_) | Err(AdminError::Refused { status: 400, .. }) => Ok(()),
                    Err(source) => Err(ActError::Garage {
                        host: through.clone(),
                        source,
                    }),
                }
            }
            Step::HealSplit { .. }
            | Step::AllowMissing { .. }
            | Step::QuickenReceivers { .. }
            | Step::LaunchRepair { .. }
            | Step::Compare { .. }
            | Step::SetResync { .. }
            | Step::Evict { .. }
            | Step::RotateSecrets { .. }
            | Step::KeepSnapshot { .. }
            | Step::Mend { .. }
            | Step::RenewAdminToken { .. } => Err(ActError::NotYet),
            Step::EnsureKey { through } => {
                self.memory.forget_access();
                let secrets = self.store.secrets();
                let client = self.client(through)?;
                let made = client
                    .import_key(&secrets.access_key_id, &secrets.secret_access_key, "hayloft")
                    .await;
                self.at(through, made).map(|_| ())
            }
            Step::EnsureBucket { through } => {
                self.memory.forget_access();
                let client = self.client(through)?;
                self.at(through, client.create_bucket(BUCKET).await).map(|_| ())
            }
            Step::AllowKey { through } => {
                self.memory.forget_access();
                let client = self.client(through)?;
                let Some(bucket) = self.at(through, client.bucket(BUCKET).await)? else {
                    // The next round makes it again.
                    return Ok(());
                };
                let rights = Permissions {
                    read: true,
                    write: true,
                    owner: false,
                };
                let key = &self.store.secrets().access_key_id;
                self.at(through, client.allow(&bucket.id, key, rights).await)
                    .map(|_| ())
            }
        }
    }

    fn at<T>(&self, host: &HostName, result: Result<T, AdminError>) -> Result<T, ActError> {
        result.map_err(|source| ActError::Garage {
            host: host.clone(),
            source,
        })
    }

    fn client(&mut self, host: &HostName) -> Result<Client, ActError> {
        let token = &self.store.secrets().admin_token;
        let client = self
            .memory
            .client(host, token)
            .ok_or_else(|| ActError::Gone(host.clone()))?;
        client.map_err(|source| ActError::Garage {
            host: host.clone(),
            source,
        })
    }

    fn desire(&mut self, host: &HostName, plan: &HostPlan) -> Result<(), ActError> {
        let link = self.links.get(host).ok_or_else(|| ActError::Gone(host.clone()))?;
        let generation = self.term.next();
        let desired = desired(host, plan, self.store.secrets(), generation.clone());
        link.desired
            .send(Some(desired))
            .map_err(|_| ActError::Gone(host.clone()))?;
        self.memory.told.insert(host.clone(), (generation, plan.clone()));
        Ok(())
    }

    async fn change_layout(
        &mut self,
        through: &HostName,
        version: u64,
        change: Staged,
    ) -> Result<(), ActError> {
        let client = self.client(through)?;
        let attempt = Attempt {
            through: through.clone(),
            version,
            staged: change.clone(),
            at: self.now.as_second(),
        };
        // Written down first: after a crash, what is found staged is known to be ours.
        self.store
            .put_attempt(Some(&attempt))
            .await
            .map_err(ActError::Store)?;
        self.memory.attempt = Some(attempt);
        let redundancy = change.zone_redundancy.flatten().map(ZoneRedundancy::AtLeast);
        let layout = self.at(through, client.stage(&role_changes(&change), redundancy).await)?;
        if let Err(error) = self.judge(&client, through, version, &change, &layout).await {
            self.revert(&client, through).await?;
            return Err(error);
        }
        match client.apply(version).await {
            Ok(applied) => {
                tracing::info!(version = applied.layout.version, "layout applied");
                self.settle_attempt().await
            }
            Err(source) => {
                if !source.is_uncertain() {
                    self.revert(&client, through).await?;
                }
                Err(ActError::Garage {
                    host: through.clone(),
                    source,
                })
            }
        }
    }

    /// The last look before applying: that nothing else is staged, and what Garage would make of it.
    async fn judge(
        &self,
        client: &Client,
        through: &HostName,
        version: u64,
        change: &Staged,
        layout: &Layout,
    ) -> Result<(), ActError> {
        if layout.version + 1 != version || !staged(layout).is_within(change) {
            return Err(ActError::Staging);
        }
        match self.at(through, client.preview().await)? {
            Preview::Impossible { error } => Err(ActError::Impossible(error)),
            Preview::Possible(outlook) => {
                let Some(forecast) = forecast(&outlook) else {
                    return Ok(());
                };
                let objections = judge_forecast(self.document, self.snapshot, &forecast);
                if objections.is_empty() {
                    Ok(())
                } else {
                    Err(ActError::Refused(objections))
                }
            }
        }
    }

    async fn revert(&mut self, client: &Client, through: &HostName) -> Result<(), ActError> {
        self.at(through, client.revert().await)?;
        self.settle_attempt().await
    }

    async fn settle_attempt(&mut self) -> Result<(), ActError> {
        self.store.put_attempt(None).await.map_err(ActError::Store)?;
        self.memory.attempt = None;
        Ok(())
    }
}

fn role_changes(change: &Staged) -> BTreeMap<hayloft_api::NodeId, RoleChange> {
    let garage = |change: &hayloft_engine::RoleChange| match change {
        hayloft_engine::RoleChange::Remove => RoleChange::Remove { remove: true },
        hayloft_engine::RoleChange::Assign(role) => RoleChange::Assign {
            zone: role.zone.clone(),
            tags: role.tags.clone(),
            capacity: role.capacity,
        },
    };
    change
        .roles
        .iter()
        .map(|(id, change)| (*id, garage(change)))
        .collect()
}

fn forecast(outlook: &Outlook) -> Option<Forecast> {
    let statistics = outlook.statistics.as_ref()?;
    let nodes = statistics.zones.iter().flat_map(|zone| &zone.nodes);
    Some(Forecast {
        replication_factor: statistics.replication_factor,
        zone_redundancy: statistics.effective_zone_redundancy,
        tiny_partitions: statistics.low_partition_size,
        nodes: nodes
            .map(|node| {
                let forecast = NodeForecast {
                    partitions: node.stored_partitions,
                    incoming: node.new_partitions,
                };
                (node.id, forecast)
            })
            .collect(),
    })
}

/// A host's desired state: the plan, with the secrets that it needs and no others.
fn desired(
    host: &HostName,
    plan: &HostPlan,
    secrets: &ClusterSecrets,
    generation: Generation,
) -> HostDesired {
    let HostPlan { garage, gateway, .. } = plan;
    let garage = garage.as_ref().map(|garage| {
        let GaragePlan {
            replication_factor,
            fsync,
            zone,
            peers,
        } = garage;
        GarageDesired {
            replication_factor: *replication_factor,
            fsync: *fsync,
            rpc_secret: secrets.rpc_secret.clone(),
            admin_token: secrets.admin_token.clone(),
            s3_region: REGION.to_owned(),
            zone: zone.clone(),
            bootstrap_peers: peers.clone(),
        }
    });
    let gateway = gateway.as_ref().map(|gateway| {
        let GatewayPlan {
            listen,
            public_url,
            endpoints,
            memory,
            caches,
        } = gateway;
        GatewayDesired {
            listen: listen.clone(),
            public_url: public_url.clone(),
            s3: S3Desired {
                endpoints: endpoints.clone(),
                region: REGION.to_owned(),
                bucket: BUCKET.to_owned(),
                access_key_id: secrets.access_key_id.clone(),
                secret_access_key: secrets.secret_access_key.clone(),
            },
            token_secret: secrets.token_secret.clone(),
            cluster_key: secrets.cluster_key.clone(),
            memory: *memory,
            caches: caches.clone(),
        }
    });
    HostDesired {
        generation,
        host: host.clone(),
        garage,
        gateway,
        forget: None,
        erase_blocks: false,
        accept_empty_data: false,
    }
}
