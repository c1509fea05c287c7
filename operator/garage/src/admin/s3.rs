//! Buckets and keys.

use hayloft_api::Secret;
use jiff::Timestamp;
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
    /// Whether it is served as a website, to everyone.
    pub website_access: bool,
    /// Rules by which web pages of other sites may read it. Left out by daemons before 2.3.
    #[serde(default)]
    pub cors_rules: Vec<serde_json::Value>,
    /// Rules by which objects vanish. Left out by daemons before 2.3.
    #[serde(default)]
    pub lifecycle_rules: Vec<serde_json::Value>,
    /// Who may use it.
    pub keys: Vec<BucketKey>,
    /// Objects in it.
    pub objects: u64,
    /// Bytes in it, one copy counted.
    pub bytes: u64,
    /// What it may hold at most.
    pub quotas: Quotas,
}

/// What a bucket may hold at most; `None` for no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Quotas {
    /// Bytes.
    pub max_size: Option<u64>,
    /// Objects.
    pub max_objects: Option<u64>,
}

/// What a key may do with a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BucketKey {
    /// The key.
    pub access_key_id: String,
    /// What it may do.
    pub permissions: Permissions,
    /// The bucket's names that only this key knows.
    #[serde(default)]
    pub bucket_local_aliases: Vec<String>,
}

/// What may be done with a bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// When it ends.
    pub expiration: Option<Timestamp>,
    /// Whether it is no longer valid.
    pub expired: bool,
    /// What it may do beside what buckets allow it.
    pub permissions: KeyPermissions,
    /// The buckets that it may use or has a name for.
    pub buckets: Vec<KeyBucket>,
}

/// What a key may do beside what buckets allow it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyPermissions {
    /// Make buckets.
    #[serde(default)]
    pub create_bucket: bool,
}

/// A bucket that a key may use.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyBucket {
    /// The bucket.
    pub id: String,
    /// What the key may do with it.
    pub permissions: Permissions,
}

/// A key in a list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct KeyName {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it is no longer valid.
    pub expired: bool,
}

/// A bucket in a list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BucketName {
    /// Its id.
    pub id: String,
    /// Its names for everyone.
    pub global_aliases: Vec<String>,
    /// Its names that only some keys know.
    pub local_aliases: Vec<LocalAlias>,
}

/// A name of a bucket that only one key knows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalAlias {
    /// The key.
    pub access_key_id: String,
    /// The name.
    pub alias: String,
}

/// What shall become of a bucket's settings. What is not named stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Change {
    /// Both quotas, as they shall be.
    pub quotas: Option<Quotas>,
    /// It shall be no website.
    pub no_website: bool,
    /// It shall have no CORS rules.
    pub no_cors: bool,
    /// It shall have no lifecycle rules.
    pub no_lifecycle: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UpdateBucket {
    #[serde(skip_serializing_if = "Option::is_none")]
    website_access: Option<WebsiteAccess>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quotas: Option<Quotas>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cors_rules: Option<[(); 0]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lifecycle_rules: Option<[(); 0]>,
}

#[derive(Serialize)]
struct WebsiteAccess {
    enabled: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImportKey<'a> {
    access_key_id: &'a str,
    secret_access_key: &'a str,
    name: &'a str,
}

#[derive(Serialize)]
struct UpdateKey<'a> {
    name: &'a str,
    deny: KeyPermissions,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GlobalAlias<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket_id: Option<&'a str>,
    global_alias: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rights<'a> {
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

    /// The bucket of that id, if there is one.
    ///
    /// # Errors
    /// When the member does not answer, or refuses.
    pub async fn bucket_by_id(&self, id: &str) -> Result<Option<BucketInfo>, AdminError> {
        found(self.get("GetBucketInfo", &[("id", id)]).await)
    }

    /// All buckets.
    ///
    /// # Errors
    /// When the member does not answer, or refuses.
    pub async fn buckets(&self) -> Result<Vec<BucketName>, AdminError> {
        self.get("ListBuckets", &[]).await
    }

    /// Makes a bucket of that global name.
    ///
    /// # Errors
    /// [`AdminError::Conflict`] when there is one; or when the member does not answer, or refuses.
    pub async fn create_bucket(&self, alias: &str) -> Result<BucketInfo, AdminError> {
        let body = GlobalAlias {
            bucket_id: None,
            global_alias: alias,
        };
        self.tell("CreateBucket", &body).await
    }

    /// Changes a bucket's settings.
    ///
    /// # Errors
    /// [`AdminError::NotFound`] when there is none; or when the member does not answer, or refuses.
    pub async fn update_bucket(&self, id: &str, change: Change) -> Result<BucketInfo, AdminError> {
        let Change {
            quotas,
            no_website,
            no_cors,
            no_lifecycle,
        } = change;
        let body = UpdateBucket {
            website_access: no_website.then_some(WebsiteAccess { enabled: false }),
            quotas,
            cors_rules: no_cors.then_some([]),
            lifecycle_rules: no_lifecycle.then_some([]),
        };
        self.tell_of("UpdateBucket", id, Some(&body)).await
    }

    /// Gives a bucket a (further) global name.
    ///
    /// # Errors
    /// [`AdminError::Conflict`] when another bucket has it; or when the member does not answer, or refuses.
    pub async fn add_alias(&self, bucket_id: &str, alias: &str) -> Result<BucketInfo, AdminError> {
        let body = GlobalAlias {
            bucket_id: Some(bucket_id),
            global_alias: alias,
        };
        self.tell("AddBucketAlias", &body).await
    }

    /// Takes a global name from a bucket, which must keep another.
    ///
    /// # Errors
    /// When the member does not answer, or refuses.
    pub async fn remove_alias(&self, bucket_id: &str, alias: &str) -> Result<BucketInfo, AdminError> {
        let body = GlobalAlias {
            bucket_id: Some(bucket_id),
            global_alias: alias,
        };
        self.tell("RemoveBucketAlias", &body).await
    }

    /// The key of that id, if there is one.
    ///
    /// # Errors
    /// When the member does not answer, or refuses.
    pub async fn key(&self, id: &str) -> Result<Option<KeyInfo>, AdminError> {
        found(self.get("GetKeyInfo", &[("id", id)]).await)
    }

    /// All keys.
    ///
    /// # Errors
    /// When the member does not answer, or refuses.
    pub async fn keys(&self) -> Result<Vec<KeyName>, AdminError> {
        self.get("ListKeys", &[]).await
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

    /// Gives a key this name, and takes from it what it may do beside what buckets allow it.
    ///
    /// # Errors
    /// [`AdminError::NotFound`] when there is none; or when the member does not answer, or refuses.
    pub async fn confine_key(&self, id: &str, name: &str) -> Result<KeyInfo, AdminError> {
        let body = UpdateKey {
            name,
            deny: KeyPermissions { create_bucket: true },
        };
        self.tell_of("UpdateKey", id, Some(&body)).await
    }

    /// Ends a key. Its id can never be used again.
    ///
    /// # Errors
    /// [`AdminError::NotFound`] when there is none; or when the member does not answer, or refuses.
    pub async fn delete_key(&self, id: &str) -> Result<(), AdminError> {
        let _: serde_json::Value = self.tell_of("DeleteKey", id, None::<&()>).await?;
        Ok(())
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
        let body = Rights {
            bucket_id,
            access_key_id,
            permissions,
        };
        self.tell("AllowBucketKey", &body).await
    }

    /// Takes from a key the permissions that are true here.
    ///
    /// # Errors
    /// When the member does not answer, or refuses.
    pub async fn deny(
        &self,
        bucket_id: &str,
        access_key_id: &str,
        permissions: Permissions,
    ) -> Result<BucketInfo, AdminError> {
        let body = Rights {
            bucket_id,
            access_key_id,
            permissions,
        };
        self.tell("DenyBucketKey", &body).await
    }
}
