//! Telling hosts what they shall run.

use hayloft_api::agent::{GarageDesired, GatewayDesired, HostDesired, S3Desired, StagedSecrets};
use hayloft_api::{Generation, HostName};
use hayloft_engine::{GaragePlan, GatewayPlan, HostPlan};

use super::{ActError, Actor};
use crate::{BUCKET, ClusterSecrets, REGION};

impl Actor<'_> {
    pub(super) fn desire(&mut self, host: &HostName, plan: &HostPlan) -> Result<(), ActError> {
        let links = self.links.borrow();
        let link = links.get(host).ok_or_else(|| ActError::Gone(host.clone()))?;
        let generation = self.term.next();
        let mut desired = desired(host, plan, &self.store.secrets(), generation.clone());
        desired.staged = self.staged_for(host).filter(|_| desired.garage.is_some());
        link.desired
            .send(Some(desired))
            .map_err(|_| ActError::Gone(host.clone()))?;
        drop(links);
        self.memory.told.insert(host.clone(), (generation, plan.clone()));
        Ok(())
    }

    /// Secrets that the host is to use later.
    fn staged_for(&self, host: &HostName) -> Option<StagedSecrets> {
        let rotation = self.memory.rotation.as_ref()?;
        let (staged, _) = rotation.staged.as_ref()?;
        let id = self.memory.remembered.get(host).map(|host| host.id);
        let barred = id.is_some_and(|id| self.memory.barred.contains_key(&id));
        (!barred && !self.memory.known.contains(host)).then(|| staged.clone())
    }
}

/// A host's desired state: the plan, with the secrets that it needs and no others.
fn desired(
    host: &HostName,
    plan: &HostPlan,
    secrets: &ClusterSecrets,
    generation: Generation,
) -> HostDesired {
    let HostPlan {
        garage,
        gateway,
        forget,
        erase_blocks,
        accept_empty_data,
    } = plan;
    let garage = garage.as_ref().map(|garage| {
        let GaragePlan {
            replication_factor,
            fsync,
            zone,
            rpc_public,
            program,
            peers,
        } = garage;
        GarageDesired {
            replication_factor: *replication_factor,
            fsync: *fsync,
            rpc_secret: secrets.rpc_secret.clone(),
            admin_token: secrets.admin_token.clone(),
            s3_region: REGION.to_owned(),
            zone: zone.clone(),
            rpc_public: rpc_public.clone(),
            program: program.clone(),
            bootstrap_peers: peers.clone(),
        }
    });
    let gateway = gateway.as_ref().map(|gateway| {
        let GatewayPlan {
            listen,
            public_url,
            endpoints,
            memory,
            disk,
            uplink,
            caches,
            fleet,
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
            disk: *disk,
            uplink: *uplink,
            caches: caches.clone(),
            fleet: fleet.as_deref().cloned(),
        }
    });
    HostDesired {
        generation,
        host: host.clone(),
        garage,
        gateway,
        forget: *forget,
        erase_blocks: *erase_blocks,
        accept_empty_data: *accept_empty_data,
        staged: None,
    }
}
