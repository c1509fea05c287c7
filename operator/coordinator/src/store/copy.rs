//! A copy of the whole store while it is in use, and what a restored one knows of itself.

use std::path::PathBuf;

use zeroize::Zeroizing;

use super::{Store, StoreError};
use crate::recovery::{KitLabel, Recipient};

impl Store {
    /// Everything in it at one moment, as an SQLite file.
    ///
    /// # Errors
    /// When there is no room beside it for a copy, or it cannot be read.
    pub async fn copy(&self) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".copy");
        let copy = PathBuf::from(name);
        let file = |source| StoreError::File {
            path: copy.clone(),
            source,
        };
        match std::fs::remove_file(&copy) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(file(error)),
            _ => {}
        }
        // SQLite writes into a file that is there and empty, and leaves its mode as it is.
        use std::os::unix::fs::OpenOptionsExt as _;
        let made = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&copy);
        drop(made.map_err(file)?);
        let written = sqlx::query("VACUUM INTO ?")
            .bind(copy.to_string_lossy().into_owned())
            .execute(&self.pool)
            .await;
        let read = written
            .map_err(|source| StoreError::Query {
                doing: "copy itself",
                source,
            })
            .and_then(|_| std::fs::read(&copy).map_err(file));
        let removed = std::fs::remove_file(&copy).map_err(file);
        let bytes = Zeroizing::new(read?);
        removed?;
        Ok(bytes)
    }

    /// The coordinator's term, as it was last taken.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn epoch(&self) -> Result<u64, StoreError> {
        Ok(self.json_fact("epoch").await?.unwrap_or(0))
    }

    /// To whom recovery kits are sealed, if anybody made a key.
    ///
    /// # Errors
    /// When the store fails, or what is kept is none.
    pub async fn recipient(&self) -> Result<Option<Recipient>, StoreError> {
        let text: Option<String> = self.json_fact("recovery-recipient").await?;
        text.map(|text| text.parse())
            .transpose()
            .map_err(|_| StoreError::Damaged {
                what: "the fact `recovery-recipient`".to_owned(),
            })
    }

    /// Seals kits to this one from now on.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn put_recipient(&self, recipient: &Recipient) -> Result<(), StoreError> {
        self.put_json_fact("recovery-recipient", &recipient.to_string())
            .await
    }

    /// The kit that this store came from, while what happened since has not been asked of the agents.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn restored(&self) -> Result<Option<KitLabel>, StoreError> {
        Ok(self.json_fact::<Option<KitLabel>>("restored").await?.flatten())
    }

    /// It has caught up with the cluster, where terms up to `epoch` were.
    pub(crate) async fn caught_up(&self, epoch: u64) -> Result<(), StoreError> {
        let epoch = epoch.max(self.epoch().await?);
        self.put_json_fact("epoch", &epoch).await?;
        self.put_json_fact("restored", &None::<KitLabel>).await
    }

    pub(crate) async fn put_restored(&self, label: &KitLabel) -> Result<(), StoreError> {
        self.put_json_fact("restored", label).await
    }
}
