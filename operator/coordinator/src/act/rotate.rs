//! Renewing what evicted hosts know. Each call does what can be done now; the engine asks for it until nobody knows
//! anything that is in use.

use std::collections::BTreeSet;

use hayloft_api::HostName;
use hayloft_api::agent::{GARAGE_UNIT, StagedSecrets};
use hayloft_api::status::EventKind;
use hayloft_engine::HostPlan;
use hayloft_garage::admin::{AdminError, Client};

use super::{ActError, Actor, may_die};
use crate::ClusterSecrets;
use crate::outage::{Outage, Outcome};
use crate::rotation::Rotation;
use crate::store::Kind;
use crate::token::NAME;

impl Actor<'_> {
    /// New secrets are made, and told to all but the evicted to be used later.
    pub(super) async fn stage_secrets(&mut self, known_to: &BTreeSet<HostName>) -> Result<(), ActError> {
        let fresh = ClusterSecrets::make(self.random());
        let staged = StagedSecrets {
            rpc_secret: fresh.rpc_secret,
            admin_token: fresh.admin_token,
        };
        may_die!("before-new-secrets");
        self.put_rotation(Some(Rotation {
            known_to: known_to.clone(),
            staged: Some((staged, self.now)),
            told: None,
            old_key: self.store.secrets().access_key_id,
            back: None,
            tokens_renewed: false,
            key_made: false,
        }))
        .await?;
        may_die!("after-stage-secrets");
        self.tell_garages(known_to);
        let text = format!(
            "no longer a member: {}; a new RPC secret is told to all others, to be used once all have written it down",
            listed(known_to)
        );
        self.tell(EventKind::Secrets, text);
        Ok(())
    }

    /// Every host that runs Garage, but the evicted, hears what it shall run once more.
    fn tell_garages(&mut self, known_to: &BTreeSet<HostName>) {
        let told: Vec<(HostName, HostPlan)> = self
            .memory
            .told
            .iter()
            .filter(|(host, (_, plan))| plan.garage.is_some() && !known_to.contains(*host))
            .map(|(host, (_, plan))| (host.clone(), plan.clone()))
            .collect();
        for (host, plan) in &told {
            // One that is gone by now is told when it comes back.
            if let Err(error) = self.desire(host, plan) {
                tracing::warn!(%host, %error, "a host does not hear the new secrets now");
                self.memory.told.remove(host);
            }
        }
    }

    /// What was staged is put to use by all at once: while some have the old RPC secret and some the new one, neither part
    /// has its quorums.
    pub(super) async fn switch_secrets(&mut self) -> Result<(), ActError> {
        let Some(rotation) = self.memory.rotation.clone() else {
            return Ok(());
        };
        let Some((staged, _)) = rotation.staged.clone() else {
            return Ok(());
        };
        let secrets = ClusterSecrets {
            rpc_secret: staged.rpc_secret,
            admin_token: staged.admin_token,
            ..self.store.secrets()
        };
        may_die!("before-switch");
        let members = self.members(&rotation.known_to);
        self.memory.outage = Some(Outage::watch(members));
        let now = (self.clock)();
        // After a crash between the two the same ones are put there once more.
        self.store.put_secrets(secrets).await.map_err(ActError::Store)?;
        may_die!("after-new-secrets");
        let known_to = rotation.known_to.clone();
        self.put_rotation(Some(Rotation {
            staged: None,
            told: Some(now),
            ..rotation
        }))
        .await?;
        self.tell_garages(&known_to);
        let text = format!(
            "the RPC secret is another one now, without {}; all Garages restart together",
            listed(&known_to)
        );
        self.tell(EventKind::Secrets, text);
        Ok(())
    }

    /// Clients of all members with a role that run now, but of the evicted.
    fn members(&self, known_to: &BTreeSet<HostName>) -> Vec<Client> {
        let token = self.store.secrets().admin_token;
        let heard = self.memory.heard.iter();
        heard
            .filter(|(host, heard)| {
                heard.agent
                    && heard.report.runs(GARAGE_UNIT)
                    && self.memory.has_role(host)
                    && !known_to.contains(*host)
            })
            .filter_map(|(_, heard)| Client::new(&heard.report.admin, token.clone()).ok())
            .collect()
    }

    pub(super) async fn rotate(&mut self) -> Result<(), ActError> {
        let Some(rotation) = self.memory.rotation.clone() else {
            return Ok(());
        };
        if rotation.back.is_none() {
            return self.wait_for_members(rotation).await;
        }
        if rotation.key_made {
            self.forget_old(rotation).await
        } else {
            self.renew_key(rotation).await
        }
    }

    async fn put_rotation(&mut self, rotation: Option<Rotation>) -> Result<(), ActError> {
        self.store
            .put_json_fact("rotation", &rotation)
            .await
            .map_err(ActError::Store)?;
        self.memory.rotation = rotation;
        Ok(())
    }

    /// Waits until members see each other again, and says how long nobody reached a quorum.
    async fn wait_for_members(&mut self, rotation: Rotation) -> Result<(), ActError> {
        let Some(cluster) = &self.snapshot.cluster else {
            return Ok(());
        };
        let holders: Vec<_> = cluster.layout.roles.keys().collect();
        let up = holders.iter().filter(|id| cluster.is_up(***id)).count();
        if up < holders.len() {
            return Ok(());
        }
        if self.behind(&rotation.known_to).is_none()
            && let Some(outage) = &self.memory.outage
        {
            outage.all_follow();
        }
        let outcome = match &mut self.memory.outage {
            Some(outage) => {
                let Some(outcome) = outage.ended().await else {
                    return Ok(());
                };
                outcome
            }
            // Whoever measured it is gone.
            None => Outcome::Missed,
        };
        let text = match outcome {
            Outcome::Measured(measured) => {
                self.store
                    .put_json_fact("outage", &Some(measured))
                    .await
                    .map_err(ActError::Store)?;
                self.memory.last_outage = Some(measured);
                measured.words()
            }
            Outcome::Missed => {
                "how long nobody reached a quorum is not known, for the coordinator was started anew"
                    .to_owned()
            }
        };
        self.memory.outage = None;
        self.tell(
            EventKind::Secrets,
            format!("all members are connected again: {text}"),
        );
        let back = Some(cluster.observed);
        self.put_rotation(Some(Rotation { back, ..rotation })).await
    }

    /// A host with a running Garage, but of the evicted, that has not written down what it was told last.
    fn behind(&self, known_to: &BTreeSet<HostName>) -> Option<&HostName> {
        let follows = |host: &HostName| {
            let heard = self.memory.heard.get(host);
            let told = self.memory.told.get(host).map(|(generation, _)| generation);
            told.is_some() && heard.and_then(|heard| heard.report.generation.as_ref()) == told
        };
        let runs = |host: &HostName| {
            let heard = self.memory.heard.get(host);
            heard.is_some_and(|heard| heard.agent && heard.report.runs(GARAGE_UNIT))
        };
        self.memory
            .remembered
            .keys()
            .find(|host| !known_to.contains(*host) && runs(host) && !follows(host))
    }

    async fn renew_key(&mut self, rotation: Rotation) -> Result<(), ActError> {
        let Some(through) = self
            .snapshot
            .cluster
            .as_ref()
            .map(|cluster| cluster.through.clone())
        else {
            return Ok(());
        };
        if !rotation.tokens_renewed {
            return self.renew_token_secret(rotation).await;
        }
        let client = self.static_client(&through)?;
        if self.store.secrets().access_key_id == rotation.old_key {
            self.other_key(&client, &through).await?;
        }
        may_die!("after-new-key");
        self.put_rotation(Some(Rotation {
            key_made: true,
            ..rotation
        }))
        .await
    }

    /// Notes, before it is told, that a host knows what gateways know, also when it is none any more.
    pub(super) async fn knows_what_gateways_know(&mut self, host: &HostName) -> Result<(), ActError> {
        if self.memory.gateways.contains(host) {
            return Ok(());
        }
        self.store
            .put_record(Kind::Gateway, host, &true)
            .await
            .map_err(ActError::Store)?;
        self.memory.gateways.insert(host.clone());
        Ok(())
    }

    /// Whoever was a gateway can make tokens for clients, until the secret that signs them is another one. Gateways are told of it
    /// with the new access key.
    async fn renew_token_secret(&mut self, rotation: Rotation) -> Result<(), ActError> {
        let mut gateways = rotation.known_to.clone();
        gateways.retain(|host| self.memory.gateways.contains(host));
        if !gateways.is_empty() {
            let secrets = ClusterSecrets {
                token_secret: ClusterSecrets::make(self.random()).token_secret,
                ..self.store.secrets()
            };
            self.store.put_secrets(secrets).await.map_err(ActError::Store)?;
            may_die!("after-new-token-secret");
            self.tell_anew(|plan| plan.gateway.is_some());
            let text = format!(
                "{} served clients and could make tokens for them: all tokens are void now, and clients need new ones; it may also \
                 know the signing keys of caches, which only their owners can replace",
                listed(&gateways)
            );
            self.tell(EventKind::Secrets, text);
        }
        self.put_rotation(Some(Rotation {
            tokens_renewed: true,
            ..rotation
        }))
        .await
    }

    /// Once every gateway uses the new key: the old one and all unknown admin tokens go.
    async fn forget_old(&mut self, rotation: Rotation) -> Result<(), ActError> {
        let Some(through) = self
            .snapshot
            .cluster
            .as_ref()
            .map(|cluster| cluster.through.clone())
        else {
            return Ok(());
        };
        if let Some(host) = self.behind(&rotation.known_to) {
            tracing::debug!(%host, "does not follow the new secrets yet");
            return Ok(());
        }
        let client = self.static_client(&through)?;
        match client.delete_key(&rotation.old_key).await {
            Ok(()) | Err(AdminError::NotFound { .. }) => {}
            Err(source) => return self.at(&through, Err(source)),
        }
        may_die!("after-delete-key");
        let tokens = self.at(&through, client.tokens().await)?;
        let mut unknown = 0;
        for token in tokens {
            let (Some(id), name) = (token.id, token.name) else {
                continue;
            };
            match client.delete_token(&id).await {
                Ok(()) | Err(AdminError::NotFound { .. }) => unknown += u32::from(name != NAME),
                Err(source) => return self.at(&through, Err(source)),
            }
        }
        // A host that missed the switch may carry its own in: they count no more, for nothing else is known.
        self.store
            .put_json_fact("own-token", &None::<()>)
            .await
            .map_err(ActError::Store)?;
        self.memory.token = None;
        self.memory.forget_access();
        for host in &rotation.known_to {
            self.store
                .drop_record(Kind::Known, host)
                .await
                .map_err(ActError::Store)?;
            self.memory.known.remove(host);
            self.store
                .drop_record(Kind::Gateway, host)
                .await
                .map_err(ActError::Store)?;
            self.memory.gateways.remove(host);
        }
        let mut text = format!(
            "nothing that {} knew is in use any more",
            listed(&rotation.known_to)
        );
        if unknown > 0 {
            text.push_str(&format!(
                "; {unknown} admin tokens that Hayloft did not make were deleted"
            ));
        }
        self.tell(EventKind::Secrets, text);
        self.put_rotation(None).await
    }
}

fn listed(hosts: &BTreeSet<HostName>) -> String {
    let names: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
    names.join(", ")
}
