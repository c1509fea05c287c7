//! A rehearsal: everything that a restore does, in a folder that goes away, and a look at what came of it.

use std::path::Path;

use hayloft_pki::{Authority, Pin};
use jiff::Timestamp;

use super::{Kit, KitLabel, RestoreError, restore};
use crate::admission::kept_authority;
use crate::store::{Store, StoreError};

/// What a restore would bring back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drilled {
    /// Which kit.
    pub label: KitLabel,
    /// Hosts and caches that its document declares; `None`: it has none.
    pub declared: Option<(usize, usize)>,
    /// Hosts that belong by a join token.
    pub admitted: usize,
    /// The authority that hosts trust; `None` where no host ever joined by a token.
    pub authority: Option<Pin>,
    /// Join tokens that would be void.
    pub voided: usize,
}

/// Restores a kit into `scratch`, an empty folder that the caller removes, and looks at it as a coordinator would.
///
/// # Errors
/// When a restore would fail, or a coordinator could not use what it gives.
pub async fn drill(kit: &Kit, scratch: &Path, now: Timestamp) -> Result<Drilled, RestoreError> {
    let path = scratch.join("coordinator.sqlite");
    let restored = restore(kit, &path, now).await?;
    // Not used: a store that had no secrets would not have been restored.
    let store = Store::open(&path, [0; 32]).await?;
    let looked = look(&store).await;
    store.close().await;
    let (declared, admitted, authority) = looked?;
    Ok(Drilled {
        label: restored.label,
        declared,
        admitted,
        authority,
        voided: restored.voided,
    })
}

type Looked = (Option<(usize, usize)>, usize, Option<Pin>);

async fn look(store: &Store) -> Result<Looked, StoreError> {
    let document = store.document().await?;
    let declared = document.map(|document| (document.spec.hosts.len(), document.spec.caches.len()));
    let admitted = store.admitted().await?;
    let admitted = admitted
        .iter()
        .filter(|(host, _)| host.standing.belongs())
        .count();
    let authority = match kept_authority(store).await? {
        Some(kept) => {
            let authority = Authority::from_record(&kept.current).map_err(|_| StoreError::Damaged {
                what: "the certificate authority".to_owned(),
            })?;
            Some(authority.pin())
        }
        None => None,
    };
    Ok((declared, admitted, authority))
}
