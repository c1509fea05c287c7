//! Replacing the certificate authority without an outage.
//!
//! First the new one signs and both are trusted; the old one has signed the new root, so that hosts which have not heard of it
//! yet, and tokens with the old pin, still find the way. Every host renews its certificate in the days after. Then the old
//! root is forgotten.

use std::sync::{Arc, PoisonError};

use hayloft_api::HostName;
use hayloft_pki::Authority;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AdmissionError, Admissions, Signers, bytes, keep_authority};

/// Why the authority is not replaced.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// It failed.
    #[error("the certificate authority cannot be replaced")]
    Failed(#[from] AdmissionError),
    /// One replacement at a time.
    #[error("the certificate authority is being replaced already; finish that first")]
    UnderWay,
    /// Nothing to finish.
    #[error("the certificate authority is not being replaced")]
    NotUnderWay,
    /// Some would be shut out.
    #[error("{} still show certificates of the old authority; wait until they have renewed them, or put them out", names(.0))]
    NotRenewed(Vec<HostName>),
}

/// How the certificate authority stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthorityState {
    /// The pin of the root that signs now, as tokens hold it.
    pub pin: String,
    /// Since when it does.
    pub since: Timestamp,
    /// The one before is still trusted.
    pub replaces: bool,
    /// Hosts whose certificate is of the one before.
    pub behind: Vec<HostName>,
}

fn names(hosts: &[HostName]) -> String {
    let names: Vec<_> = hosts.iter().map(HostName::as_str).collect();
    names.join(", ")
}

impl Admissions {
    /// Lets a new authority sign from now on; both are trusted until [`Admissions::finish_rotation`].
    ///
    /// # Errors
    /// When one is being replaced already, or the store fails.
    pub async fn begin_rotation(&self, now: Timestamp) -> Result<(), RotationError> {
        let _one = self.rotating.lock().await;
        let old = self.signers();
        if !old.former.is_empty() {
            return Err(RotationError::UnderWay);
        }
        let (root, intermediate) = {
            let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
            (bytes(&mut random), bytes(&mut random))
        };
        let cluster = old.current.cluster().clone();
        let next = Authority::create(cluster, &root, &intermediate, now)
            .and_then(|next| old.current.bridge_to(next, now))
            .map_err(AdmissionError::from)?;
        self.follow(Signers {
            current: next,
            former: vec![old.current.root_pem()],
            since: now,
        })
        .await?;
        Ok(())
    }

    /// Makes the intermediate anew when it is due, as in a coordinator that runs for years. Nobody needs to be told.
    pub(super) async fn renew_intermediate(&self, now: Timestamp) -> Result<(), AdmissionError> {
        let _one = self.rotating.lock().await;
        let signers = self.signers();
        if !signers.current.intermediate_is_due(now)? {
            return Ok(());
        }
        let seed = bytes(&mut self.random.lock().unwrap_or_else(PoisonError::into_inner));
        let current = Authority::from_record(&signers.current.to_record())?;
        self.follow(Signers {
            current: current.with_new_intermediate(&seed, now)?,
            former: signers.former.clone(),
            since: signers.since,
        })
        .await
    }

    /// Forgets the old authority, once every host has a certificate of the new one. Tokens from before are revoked: their pin
    /// leads nowhere.
    ///
    /// # Errors
    /// When none is being replaced, hosts have not renewed yet, or the store fails.
    pub async fn finish_rotation(&self, now: Timestamp) -> Result<(), RotationError> {
        let _one = self.rotating.lock().await;
        let signers = self.signers();
        if signers.former.is_empty() {
            return Err(RotationError::NotUnderWay);
        }
        let behind = self.behind(&signers).await?;
        if !behind.is_empty() {
            return Err(RotationError::NotRenewed(behind));
        }
        self.store
            .revoke_tokens_before(signers.since, now)
            .await
            .map_err(AdmissionError::from)?;
        let mut record = signers.current.to_record();
        record.bridge = None;
        self.follow(Signers {
            current: Authority::from_record(&record).map_err(AdmissionError::from)?,
            former: Vec::new(),
            since: signers.since,
        })
        .await?;
        Ok(())
    }

    /// How the authority stands.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn authority(&self) -> Result<AuthorityState, AdmissionError> {
        let signers = self.signers();
        Ok(AuthorityState {
            pin: signers.current.pin().to_string(),
            since: signers.since,
            replaces: !signers.former.is_empty(),
            behind: self.behind(&signers).await?,
        })
    }

    /// Hosts that belong and show a certificate of another authority than the one that signs now.
    async fn behind(&self, signers: &Signers) -> Result<Vec<HostName>, AdmissionError> {
        let pin = signers.current.pin();
        let admitted = self.store.admitted().await?;
        let behind = admitted
            .into_iter()
            .filter(|(host, signed_by)| host.standing.belongs() && *signed_by != Some(pin))
            .map(|(host, _)| host.facts.name);
        Ok(behind.collect())
    }

    async fn follow(&self, signers: Signers) -> Result<(), AdmissionError> {
        keep_authority(&self.store, &signers).await?;
        *self.authority.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(signers);
        self.relist().await
    }
}
