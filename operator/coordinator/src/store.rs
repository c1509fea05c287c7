//! What the coordinator must not forget: one SQLite file of mode 0600.

mod copy;
mod documents;
mod joining;
mod lock;
mod records;
mod registry;

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hayloft_api::rules;
use hayloft_engine::Staged;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Row, SqlitePool};

pub(crate) use joining::{KeptAuthority, Spent};
pub(crate) use lock::StoreLock;
pub(crate) use records::{KeptEvent, Kind};
pub(crate) use registry::Remembered;

use crate::{ClusterSecrets, SecretsError};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be made or opened.
    #[error("cannot use the coordinator's store {path}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another coordinator uses it.
    #[error("another coordinator runs with the store {path}; stop that one first", path = path.display())]
    Taken {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be opened as a database.
    #[error("cannot open the coordinator's store {path}", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: sqlx::Error,
    },
    /// Its tables cannot be brought to this version.
    #[error(
        "the coordinator's store {path} was written by another version of Hayloft; use that one, or a newer one",
        path = path.display()
    )]
    Migrate {
        /// The file.
        path: PathBuf,
        /// What does not match.
        source: sqlx::migrate::MigrateError,
    },
    /// A query failed.
    #[error("the coordinator's store failed when it should {doing}")]
    Query {
        /// What was to be done.
        doing: &'static str,
        /// What SQLite said.
        source: sqlx::Error,
    },
    /// A row holds what was never written there.
    #[error("the coordinator's store is damaged: {what} cannot be read; restore it from a backup")]
    Damaged {
        /// What cannot be read.
        what: String,
    },
    /// Some secrets are gone.
    #[error("the coordinator's store is damaged")]
    Secrets(#[source] SecretsError),
    /// The document may not replace the one in force.
    #[error("the document cannot be applied to this cluster")]
    Immutable(#[source] rules::Violations),
    /// The document cannot be written down.
    #[error("the document cannot be kept")]
    Document(#[source] hayloft_api::DocumentError),
}

/// The coordinator's store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    path: PathBuf,
    pool: SqlitePool,
    secrets: Arc<RwLock<ClusterSecrets>>,
}

/// What was put into Garage's staging area and was not yet seen applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    /// The host whose Garage was told.
    pub(crate) through: hayloft_api::HostName,
    /// The version it was to become.
    pub(crate) version: u64,
    /// What was staged.
    pub(crate) staged: Staged,
    /// When, in seconds since 1970.
    pub(crate) at: i64,
    /// Whether it was told to apply it; before that, only to stage it.
    #[serde(default)]
    pub(crate) sent: bool,
}

impl Store {
    /// Opens or makes the store. On the first opening all secrets are made from `seed`, 32 bytes of true randomness;
    /// later it is not used.
    ///
    /// # Errors
    /// When the file cannot be used, was written by a newer version, or is damaged.
    pub async fn open(path: &Path, seed: [u8; 32]) -> Result<Self, StoreError> {
        let file = |source| StoreError::File {
            path: path.to_owned(),
            source,
        };
        // SQLite gives the files beside it the mode of this one.
        let made = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path);
        let metadata = made.map_err(file)?.metadata().map_err(file)?;
        if metadata.permissions().mode() & 0o077 != 0 {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(file)?;
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5));
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(Duration::from_secs(10))
            .connect_with(options)
            .await
            .map_err(|source| StoreError::Open {
                path: path.to_owned(),
                source,
            })?;
        MIGRATIONS
            .run(&pool)
            .await
            .map_err(|source| StoreError::Migrate {
                path: path.to_owned(),
                source,
            })?;
        let secrets = secrets(&pool, seed).await?;
        Ok(Self {
            path: path.to_owned(),
            pool,
            secrets: Arc::new(RwLock::new(secrets)),
        })
    }

    /// The cluster's secrets, as they are now: an eviction renews some.
    pub fn secrets(&self) -> ClusterSecrets {
        self.secrets
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Puts new secrets in place of the old ones, all or none.
    pub(crate) async fn put_secrets(&self, secrets: ClusterSecrets) -> Result<(), StoreError> {
        let failed = |source| StoreError::Query {
            doing: "keep the secrets",
            source,
        };
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        for (name, value) in secrets.rows() {
            sqlx::query("INSERT INTO secret (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value")
                .bind(name)
                .bind(value)
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)?;
        *self.secrets.write().unwrap_or_else(PoisonError::into_inner) = secrets;
        Ok(())
    }

    /// Takes a new epoch: one above the last, and above `heard`.
    pub(crate) async fn take_epoch(&self, heard: u64) -> Result<u64, StoreError> {
        let last = self.json_fact::<u64>("epoch").await?.unwrap_or(0);
        let epoch = last.max(heard).saturating_add(1);
        self.put_fact("epoch", &epoch.to_string()).await?;
        Ok(epoch)
    }

    /// Whether bucket, key and permission were all seen once.
    pub(crate) async fn bucket_made(&self) -> Result<bool, StoreError> {
        Ok(self.json_fact("bucket-made").await?.unwrap_or(false))
    }

    pub(crate) async fn put_bucket_made(&self) -> Result<(), StoreError> {
        self.put_fact("bucket-made", "true").await
    }

    /// What was last staged, if it was not yet seen applied or reverted.
    pub(crate) async fn attempt(&self) -> Result<Option<Attempt>, StoreError> {
        self.json_fact("attempt").await
    }

    pub(crate) async fn put_attempt(&self, attempt: Option<&Attempt>) -> Result<(), StoreError> {
        self.put_json_fact("attempt", &attempt).await
    }

    /// Waits until nothing is being written, and closes the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    pub(crate) async fn json_fact<T: DeserializeOwned>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, StoreError> {
        let Some(text) = self.fact(name).await? else {
            return Ok(None);
        };
        serde_json::from_str(&text).map_err(|_| StoreError::Damaged {
            what: format!("the fact `{name}`"),
        })
    }

    pub(crate) async fn put_json_fact<T: Serialize>(
        &self,
        name: &'static str,
        value: &T,
    ) -> Result<(), StoreError> {
        let text = serde_json::to_string(value).map_err(|error| StoreError::Damaged {
            what: error.to_string(),
        })?;
        self.put_fact(name, &text).await
    }

    async fn fact(&self, name: &'static str) -> Result<Option<String>, StoreError> {
        sqlx::query_scalar("SELECT value FROM fact WHERE name = ?")
            .bind(name)
            .fetch_optional(&self.pool)
            .await
            .map_err(|source| StoreError::Query {
                doing: "read a fact",
                source,
            })
    }

    pub(crate) async fn put_fact(&self, name: &'static str, value: &str) -> Result<(), StoreError> {
        self.put_facts(&[(name, value.to_owned())]).await
    }

    /// Keeps all of them, or none.
    async fn put_facts(&self, facts: &[(&'static str, String)]) -> Result<(), StoreError> {
        let failed = |source| StoreError::Query {
            doing: "keep a fact",
            source,
        };
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        for (name, value) in facts {
            sqlx::query("INSERT INTO fact (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value")
                .bind(*name)
                .bind(value)
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }
}

/// Reads the secrets, or makes all of them in one transaction.
async fn secrets(pool: &SqlitePool, seed: [u8; 32]) -> Result<ClusterSecrets, StoreError> {
    let query = |doing| move |source| StoreError::Query { doing, source };
    let rows = sqlx::query("SELECT name, value FROM secret")
        .fetch_all(pool)
        .await
        .map_err(query("read the secrets"))?;
    if rows.is_empty() {
        let secrets = ClusterSecrets::make(seed);
        let doing = "keep the secrets";
        let mut transaction = pool.begin().await.map_err(query(doing))?;
        for (name, value) in secrets.rows() {
            sqlx::query("INSERT INTO secret (name, value) VALUES (?, ?)")
                .bind(name)
                .bind(value)
                .execute(&mut *transaction)
                .await
                .map_err(query(doing))?;
        }
        transaction.commit().await.map_err(query(doing))?;
        return Ok(secrets);
    }
    let mut found = std::collections::BTreeMap::new();
    for row in rows {
        let name: String = row.try_get(0).map_err(query("read the secrets"))?;
        let value: String = row.try_get(1).map_err(query("read the secrets"))?;
        found.insert(name, value);
    }
    ClusterSecrets::from_rows(|name| found.remove(name)).map_err(StoreError::Secrets)
}

#[cfg(test)]
mod tests;
