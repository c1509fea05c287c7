//! The bucket, its key, its settings, and the coordinator's own admin token.

use hayloft_api::HostName;
use hayloft_api::status::EventKind;
use hayloft_engine::Drift;
use hayloft_garage::admin::{AdminError, BucketInfo, Change, Client, Permissions, Quotas};

use super::{ActError, Actor, may_die, undone};
use crate::token::{LIFE, NAME, OwnToken, SCOPE};
use crate::{BUCKET, ClusterSecrets};

/// The access key's name in Garage.
pub(super) const KEY_NAME: &str = "hayloft";

/// What the key may do.
pub(super) const RIGHTS: Permissions = Permissions {
    read: true,
    write: true,
    owner: false,
};

impl Actor<'_> {
    pub(super) async fn ensure_key(&mut self, through: &HostName) -> Result<(), ActError> {
        self.memory.forget_access();
        let secrets = self.store.secrets();
        let client = self.client(through)?;
        let made = client
            .import_key(&secrets.access_key_id, &secrets.secret_access_key, KEY_NAME)
            .await;
        match made {
            // An id that was deleted is gone for ever: there must be another key, which gateways are told.
            Err(AdminError::Conflict { .. }) => {
                self.other_key(&client, through).await?;
                let text = "the access key was gone; there is a new one, and gateways are told";
                self.tell(EventKind::Drift, text);
                Ok(())
            }
            made => self.at(through, made).map(|_| ()),
        }
    }

    /// Makes another access key and lets it use the bucket. Gateways are told in the next round.
    pub(super) async fn other_key(&mut self, client: &Client, through: &HostName) -> Result<(), ActError> {
        let fresh = ClusterSecrets::make(self.random());
        let secrets = ClusterSecrets {
            access_key_id: fresh.access_key_id,
            secret_access_key: fresh.secret_access_key,
            ..self.store.secrets()
        };
        self.at(
            through,
            client
                .import_key(&secrets.access_key_id, &secrets.secret_access_key, KEY_NAME)
                .await,
        )?;
        may_die!("after-import-key");
        if let Some(bucket) = self.bucket(client, through).await? {
            let allowed = client.allow(&bucket.id, &secrets.access_key_id, RIGHTS).await;
            self.at(through, allowed)?;
        }
        self.store.put_secrets(secrets).await.map_err(ActError::Store)?;
        self.memory.forget_access();
        self.tell_anew(|plan| plan.gateway.is_some());
        Ok(())
    }

    /// Hosts are told what they shall run once more, with what they must know.
    pub(super) fn tell_anew(&mut self, which: impl Fn(&hayloft_engine::HostPlan) -> bool) {
        self.memory.told.retain(|_, (_, plan)| !which(plan));
    }

    async fn bucket(&mut self, client: &Client, through: &HostName) -> Result<Option<BucketInfo>, ActError> {
        let found = self.at(through, client.bucket(BUCKET).await)?;
        match (found, self.memory.bucket_id.clone()) {
            (None, Some(id)) => self.at(through, client.bucket_by_id(&id).await),
            (found, _) => Ok(found),
        }
    }

    pub(super) async fn allow_key(&mut self, through: &HostName) -> Result<(), ActError> {
        self.memory.forget_access();
        let client = self.client(through)?;
        // The next round makes a bucket that is gone again.
        let Some(bucket) = self.bucket(&client, through).await? else {
            return Ok(());
        };
        let key = self.store.secrets().access_key_id;
        let allowed = client.allow(&bucket.id, &key, RIGHTS).await;
        self.at(through, allowed).map(|_| ())
    }

    /// Undoes what somebody else changed, and says so.
    pub(super) async fn mend(&mut self, through: &HostName, drift: Drift) -> Result<(), ActError> {
        self.memory.forget_access();
        let client = self.client(through)?;
        let Some(bucket) = self.bucket(&client, through).await? else {
            return Ok(());
        };
        let key = self.store.secrets().access_key_id;
        let id = bucket.id.as_str();
        let change = |change: Change| client.update_bucket(id, change);
        let done = match drift {
            Drift::Alias => client.add_alias(id, BUCKET).await.map(drop),
            Drift::Quota { shall } => change(Change {
                quotas: Some(Quotas {
                    max_size: shall.map(|bytes| bytes.0),
                    max_objects: None,
                }),
                ..Change::default()
            })
            .await
            .map(drop),
            Drift::Website => change(Change {
                no_website: true,
                ..Change::default()
            })
            .await
            .map(drop),
            Drift::Lifecycle => change(Change {
                no_lifecycle: true,
                ..Change::default()
            })
            .await
            .map(drop),
            Drift::Cors => change(Change {
                no_cors: true,
                ..Change::default()
            })
            .await
            .map(drop),
            Drift::KeyOwns => {
                let owns = Permissions {
                    read: false,
                    write: false,
                    owner: true,
                };
                client.deny(id, &key, owns).await.map(drop)
            }
            Drift::KeyCreates => client.confine_key(&key, KEY_NAME).await.map(drop),
        };
        self.at(through, done)?;
        self.tell(EventKind::Drift, undone(drift));
        Ok(())
    }

    /// Makes a token with the static one, and deletes the earlier ones that are ours.
    pub(super) async fn renew_token(&mut self, through: &HostName) -> Result<(), ActError> {
        let client = self.static_client(through)?;
        let now = (self.clock)();
        let expires = now.checked_add(LIFE).unwrap_or(now);
        let made = client.create_token(NAME, Some(expires), &SCOPE).await;
        let made = self.at(through, made)?;
        may_die!("after-create-token");
        let Some(id) = made.info.id else {
            return Ok(());
        };
        let token = OwnToken {
            id: id.clone(),
            secret: made.secret,
            expires,
            refused: false,
        };
        self.store
            .put_json_fact("own-token", &Some(&token))
            .await
            .map_err(ActError::Store)?;
        self.memory.token = Some(token);
        self.memory.forget_access();
        let tokens = self.at(through, client.tokens().await)?;
        for old in tokens.into_iter().filter(|token| token.name == NAME) {
            if let Some(old) = old.id.filter(|old| *old != id) {
                match client.delete_token(&old).await {
                    Ok(()) | Err(AdminError::NotFound { .. }) => {}
                    Err(source) => return self.at(through, Err(source)),
                }
            }
        }
        Ok(())
    }
}
