//! Recovery kits in the bucket: one for each day of the week, so that a bad one does not take the place of all.

use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hayloft_agent::launch::Places;
use hayloft_coordinator::recovery::{Kit, KitError, KitLabel};
use hayloft_server::config::{self, ConfigError};
use hayloft_store::object::s3::S3Store;
use hayloft_store::object::{ObjectError, ObjectStore, list_all};
use jiff::tz::TimeZone;
use tokio::task::JoinHandle;

const PREFIX: &str = "recovery/";
/// How often it is looked whether the host got another kit.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How soon one that could not be written is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(60);

/// Why a kit cannot be written to the bucket or read from it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BucketError {
    /// Only gateways know the bucket.
    #[error("this host has no gateway, so it does not know the bucket; try on one that has")]
    NoGateway(#[source] ConfigError),
    /// The host's own kit.
    #[error("the host's kit cannot be read")]
    Own(#[source] std::io::Error),
    /// A kit is none.
    #[error(transparent)]
    Kit(#[from] KitError),
    /// The bucket.
    #[error("the bucket does not answer")]
    Bucket(#[from] ObjectError),
}

/// The bucket as the gateway with this configuration uses it.
pub(super) fn bucket_of(gateway_config: &Path) -> Result<S3Store, BucketError> {
    let bucket = config::load_bucket(gateway_config).map_err(BucketError::NoGateway)?;
    Ok(S3Store::new(&bucket))
}

fn key_of(label: &KitLabel) -> String {
    let day = label.made.to_zoned(TimeZone::UTC).strftime("%A").to_string();
    format!("{PREFIX}{}.kit", day.to_lowercase())
}

/// The newest kit that is there, if there is any.
pub(super) async fn newest(bucket: &dyn ObjectStore) -> Result<Option<(KitLabel, Bytes)>, BucketError> {
    let mut newest: Option<(KitLabel, Bytes)> = None;
    for key in list_all(bucket, PREFIX, None).await? {
        let kit = match bucket.get(&key).await {
            Err(error) if error.is_not_found() => continue,
            kit => kit?,
        };
        // Somebody else may have put something there.
        let Ok(label) = Kit::label(&kit) else { continue };
        if newest.as_ref().is_none_or(|(known, _)| known.made < label.made) {
            newest = Some((label, kit));
        }
    }
    Ok(newest)
}

/// Writes a kit, unless there is one of that day that is as new.
async fn keep(bucket: &dyn ObjectStore, kit: Vec<u8>) -> Result<bool, BucketError> {
    let label = Kit::label(&kit)?;
    let key = key_of(&label);
    let there = match bucket.get(&key).await {
        Err(error) if error.is_not_found() => None,
        there => Kit::label(&there?).ok(),
    };
    if there.is_some_and(|there| there.made >= label.made) {
        return Ok(false);
    }
    bucket.put(&key, kit.into()).await?;
    Ok(true)
}

/// Writes every kit that this host gets to the bucket, until it is dropped.
pub(crate) struct KitsToBucket {
    task: JoinHandle<()>,
}

impl Drop for KitsToBucket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl KitsToBucket {
    /// Begins with the one that is there.
    pub(crate) fn start(places: Places) -> Self {
        let task = tokio::spawn(async move {
            let mut kept: Option<SystemTime> = None;
            loop {
                let written = written(&places.kit());
                // A host without a gateway does not know the bucket.
                if written.is_none() || written == kept || !places.gateway_config().exists() {
                    tokio::time::sleep(LOOK_EVERY).await;
                    continue;
                }
                match carry(&places).await {
                    Ok(true) => tracing::info!("the bucket holds the newest recovery kit"),
                    Ok(false) => {}
                    Err(error) => {
                        let error = anyhow::Error::from(error);
                        tracing::warn!(
                            error = format!("{error:#}"),
                            "the recovery kit is not in the bucket"
                        );
                        tokio::time::sleep(TRY_AGAIN).await;
                        continue;
                    }
                }
                kept = written;
            }
        });
        Self { task }
    }
}

fn written(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).ok()?.modified().ok()
}

async fn carry(places: &Places) -> Result<bool, BucketError> {
    let kit = tokio::fs::read(places.kit()).await.map_err(BucketError::Own)?;
    keep(&bucket_of(&places.gateway_config())?, kit).await
}

#[cfg(test)]
mod tests {
    use hayloft_store::object::memory::MemoryStore;

    use super::*;

    fn kit(made: &str, what: &str) -> Vec<u8> {
        format!("hayloft-kit1 {{\"cluster\":\"commons\",\"epoch\":3,\"made\":\"{made}\"}}\n{what}")
            .into_bytes()
    }

    #[tokio::test]
    async fn a_week_of_kits_is_kept_and_the_newest_is_found() {
        let bucket = MemoryStore::default();
        assert!(newest(&bucket).await.unwrap().is_none());
        for day in 1..=20 {
            let made = format!("2026-11-{day:02}T03:00:00Z");
            assert!(keep(&bucket, kit(&made, "sealed")).await.unwrap());
        }
        bucket
            .put("recovery/notes.txt", Bytes::from_static(b"mine"))
            .await
            .unwrap();
        assert_eq!(bucket.keys().len(), 8, "{:?}", bucket.keys());
        let (label, _) = newest(&bucket).await.unwrap().unwrap();
        assert_eq!(label.made.to_string(), "2026-11-20T03:00:00Z");
    }

    #[tokio::test]
    async fn a_host_that_was_away_does_not_put_its_old_kit_over_a_new_one() {
        let bucket = MemoryStore::default();
        keep(&bucket, kit("2026-11-24T03:00:00Z", "new")).await.unwrap();
        assert!(!keep(&bucket, kit("2026-11-17T03:00:00Z", "old")).await.unwrap());
        assert!(!keep(&bucket, kit("2026-11-24T03:00:00Z", "new")).await.unwrap());
        let (_, found) = newest(&bucket).await.unwrap().unwrap();
        assert!(found.ends_with(b"new"));
        assert!(keep(&bucket, b"something else".to_vec()).await.is_err());
    }
}
