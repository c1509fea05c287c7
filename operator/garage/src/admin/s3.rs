//! Buckets and keys.

use hayloft_api::Secret;
use serde::{Deserialize, Serialize};

use super::{AdminError, Client};

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BucketInfo {
    /// Garage's id of it.
    pub id: String,
    /// Its names for everyone.
    pub global_aliases: Vec<String>,
    /// Who may use it.
    pub keys: Vec<BucketKey>,
    /// Objects in it.
    pub objects: u64,
    /// Bytes in it, one copy counted.
    pub bytes: u64,
}

/// What a key may do with a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BucketKey {
    /// The key.
    pub access_key_id: String,
    /// What it may do.
    pub permissions: Permissions,
}

/// What may be done with a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    /// Read objects.
    pub read: bool,
    /// Write objects.
    pub write: bool,
    /// Change the bucket.
    pub owner: bool,
}

/// A key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyInfo {
    /// Its id.
    pub access_key_id: String,
    /// Its name; names are not unique.
    pub name: String,
    /// Whether it is no longer valid.
    pub expired: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImportKey<'a> {
    access_key_id: &'a str,
    secret_access_key: &'a str,
    name: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CreateBucket<'a> {
    global_alias: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Allow<'a> {
    bucket_id: &'a str,
    access_key_id: &'a str,
    permissions: Permissions,
}

/// `Ok(None)` instead of a refusal because there is none.
fn found<T>(result: Result<T, AdminError>) -> Result<Option<T>, AdminError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(AdminError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Client {
    /// The bucket of that global name, if there is one.
    ///
    /// # Errors
    /// When the member does not answer, or refuses.
    pub async fn bucket(&self, alias: &str) -> Result<Option<BucketInfo>, AdminError> {
        found(self.get("GetBucketInfo", &[("globalAlias", alias)]).await)
    }

    /// Makes a bucket of that global name.
    ///
    /// # Errors
    /// [`AdminError::Conflict`] when there is one; or when the member does not answer, or refuses.
    pub async fn create_bucket(&self, alias: &str) -> Result<BucketInfo, AdminError> {
        self.tell("CreateBucket", &CreateBucket { global_alias: alias })
            .await
    }

    /// The key of that id, if there is one.
    ///
    /// # Errors
    /// When the member does not answer, or refuses.
    pub async fn key(&self, id: &str) -> Result<Option<KeyInfo>, AdminError> {
        found(self.get("GetKeyInfo", &[("id", id)]).await)
    }

    /// Makes a key with a known id and secret.
    ///
    /// # Errors
    /// [`AdminError::Conflict`] when the id exists, or existed and was deleted; or when the member does not answer,
    /// or refuses.
    pub async fn import_key(&self, id: &str, secret: &Secret, name: &str) -> Result<KeyInfo, AdminError> {
        let body = ImportKey {
            access_key_id: id,
            secret_access_key: secret.expose(),
            name,
        };
        self.tell("ImportKey", &body).await
    }

    /// Lets a key use a bucket. Only adds permissions.
    ///
    /// # Errors
    /// When the member does not answer, or refuses.
    pub async fn allow(
        &self,
        bucket_id: &str,
        access_key_id: &str,
        permissions: Permissions,
    ) -> Result<BucketInfo, AdminError> {
        self.tell(
            "AllowBucketKey",
            &Allow {
                bucket_id,
                access_key_id,
                permissions,
            },
        )
        .await
    }
}
