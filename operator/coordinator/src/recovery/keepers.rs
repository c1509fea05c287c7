//! Handing kits out: every storage host keeps the newest.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::join_all;
use hayloft_api::ClusterName;
use hayloft_api::question::{Answer, LARGEST_KIT, Question};
use jiff::Timestamp;

use super::{Kit, KitError, KitLabel};
use crate::ask_agent;
use crate::coordinator::Links;
use crate::store::{Store, StoreError};

/// A kit is a few hundred kilobytes, and uplinks are thin.
const KEPT_WITHIN: Duration = Duration::from_secs(60);

/// Why there is no kit.
#[derive(Debug, thiserror::Error)]
pub enum NoKitError {
    /// Nobody made a key.
    #[error(
        "there is no recovery key: make one with `hayloft recovery key`, and have kits sealed to it with `hayloft recovery use`"
    )]
    NoKey,
    /// The store.
    #[error("the coordinator's store cannot be copied")]
    Store(#[from] StoreError),
    /// Sealing.
    #[error(transparent)]
    Seal(#[from] KitError),
    /// The program is stopping.
    #[error("the coordinator is stopping")]
    Stopping,
}

/// Seals the store as it is now.
///
/// # Errors
/// When nobody made a key, or the store fails.
pub async fn make(store: &Store, cluster: ClusterName, now: Timestamp) -> Result<Vec<u8>, NoKitError> {
    let recipient = store.recipient().await?.ok_or(NoKitError::NoKey)?;
    let kit = Kit {
        label: KitLabel {
            cluster,
            epoch: store.epoch().await?,
            made: now,
        },
        store: store.copy().await?,
    };
    let sealed = tokio::task::spawn_blocking(move || kit.seal(&recipient)).await;
    Ok(sealed.map_err(|_| NoKitError::Stopping)??)
}

/// Has every host that is there keep a kit. Gives how many do.
pub async fn hand_out(kit: &[u8], links: &Links) -> usize {
    let text = STANDARD.encode(kit);
    if text.len() > LARGEST_KIT {
        tracing::error!(
            bytes = kit.len(),
            "the recovery kit is too large for hosts to keep"
        );
        return 0;
    }
    let keeping = links.iter().map(|(host, link)| {
        let question = Question::KeepKit { kit: text.clone() };
        async move {
            match ask_agent::ask(host, link, question, KEPT_WITHIN).await {
                Ok(Answer::Done) => true,
                Ok(_) => false,
                Err(error) => {
                    tracing::warn!(%host, %error, "a host does not keep the newest recovery kit");
                    false
                }
            }
        }
    });
    join_all(keeping).await.into_iter().filter(|kept| *kept).count()
}
