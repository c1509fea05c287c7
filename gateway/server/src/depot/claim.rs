//! The I/O around [`Claim`], and around the second look.

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use hayloft_store::commit::{Claim, ClaimInput, ClaimStep};
use hayloft_store::key::{EpochId, ObjectKey};
use hayloft_store::object::{ObjectError, SharedStore, list_all};

use super::error::{OpenError, sentence};
use super::random::Random;

const EPOCH: &[u8] = b"HayEpoch\x01\0\0\0";
/// Marks that are written at the same time.
const AT_ONCE: usize = 16;
/// Older claims that may lie in the bucket before they are removed.
const CLAIMS: usize = 64;

/// Claims an epoch above all others, of a number of at least `floor`. From then on nothing of an older one is acknowledged.
pub(super) async fn claim(store: &SharedStore, random: &Random, floor: u64) -> Result<EpochId, OpenError> {
    let (mut claim, mut step) = Claim::new(u64::from_le_bytes(random.bytes()), floor);
    loop {
        let input = match step {
            ClaimStep::List => ClaimInput::Listed(epochs(store, None).await.map_err(OpenError::Bucket)?),
            ClaimStep::Write(epoch) => {
                let key = ObjectKey::Epoch(epoch).to_string();
                store
                    .put(&key, Bytes::from_static(EPOCH))
                    .await
                    .map_err(OpenError::Bucket)?;
                ClaimInput::Written
            }
            ClaimStep::Mark { over, by } => {
                mark(store, over, by).await.map_err(OpenError::Bucket)?;
                ClaimInput::Marked
            }
            ClaimStep::Claimed(epoch) => return Ok(epoch),
            ClaimStep::GiveWay { newer } => {
                tracing::info!(%newer, "another gateway claims to order at the same time, and goes first");
                return Err(OpenError::Deposed);
            }
        };
        step = claim.step(input);
    }
}

async fn mark(store: &SharedStore, over: Vec<EpochId>, by: EpochId) -> Result<(), ObjectError> {
    let puts = over.into_iter().map(|epoch| async move {
        let key = ObjectKey::Ended(epoch).to_string();
        store.put(&key, Bytes::from(by.to_string())).await
    });
    stream::iter(puts).buffer_unordered(AT_ONCE).try_collect().await
}

/// The second look: this epoch itself while nothing marks its end, else the one that ended it.
pub(super) async fn look(store: &SharedStore, own: EpochId) -> Result<EpochId, ObjectError> {
    match store.get(&ObjectKey::Ended(own).to_string()).await {
        Ok(mark) => {
            let by = std::str::from_utf8(&mark).ok().and_then(EpochId::parse);
            // Whatever it says, it is there.
            Ok(by.filter(|by| *by > own).unwrap_or(EpochId {
                number: u64::MAX,
                instance: u64::MAX,
            }))
        }
        Err(ObjectError::NotFound { .. }) => Ok(own),
        Err(error) => Err(error),
    }
}

/// The highest epoch that anybody claims, of those above `above`.
pub(super) async fn highest_epoch(
    store: &SharedStore,
    above: Option<EpochId>,
) -> Result<Option<EpochId>, ObjectError> {
    Ok(epochs(store, above).await?.into_iter().max())
}

/// Removes claims below `own`, whose opening counts, once there are many: their marks are durable by now.
pub(super) async fn forget_claims(store: &SharedStore, own: EpochId) {
    let older = match epochs(store, None).await {
        Ok(all) => all.into_iter().filter(|epoch| *epoch < own).collect::<Vec<_>>(),
        Err(_) => return,
    };
    if older.len() < CLAIMS {
        return;
    }
    for epoch in older {
        for key in [ObjectKey::Epoch(epoch), ObjectKey::Alive(epoch)] {
            if let Err(error) = store.delete(&key.to_string()).await {
                tracing::debug!(error = sentence(&error), "an old claim stays for now");
                return;
            }
        }
    }
}

/// The last sign of life that the committer of an epoch gave by the bucket; none: it gave none, or none can be had.
pub(super) async fn sign_of_life(store: &SharedStore, epoch: EpochId) -> Option<Bytes> {
    store.get(&ObjectKey::Alive(epoch).to_string()).await.ok()
}

async fn epochs(store: &SharedStore, above: Option<EpochId>) -> Result<Vec<EpochId>, ObjectError> {
    // Keys sort as epochs do.
    let after = above.map(|epoch| ObjectKey::Epoch(epoch).to_string());
    let keys = list_all(store.as_ref(), ObjectKey::EPOCHS, after.as_deref()).await?;
    Ok(keys
        .iter()
        .filter_map(|key| match ObjectKey::parse(key) {
            Some(ObjectKey::Epoch(epoch)) => Some(epoch),
            _ => None,
        })
        .collect())
}
