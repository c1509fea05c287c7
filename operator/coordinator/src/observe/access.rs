//! Bucket, key and token, as they are.

use std::collections::BTreeSet;

use hayloft_api::Bytes;
use hayloft_engine::{Access, AdminTokenFacts, BucketFacts};
use hayloft_garage::admin::{AdminError, BucketInfo, Client};
use jiff::{SignedDuration, Timestamp};

use crate::BUCKET;
use crate::memory::Memory;

/// How old what is known of the bucket may be. Counting is cheap for Garage; the question's cost is its token.
const BUCKET_AGE: SignedDuration = SignedDuration::from_secs(20);

/// Looks for the key and the bucket, or remembers them. Without a quorum for their tables that is not known, which
/// must not hide the rest.
pub(super) async fn ask(
    memory: &mut Memory,
    client: &Client,
    key_id: &str,
    now: Timestamp,
) -> Result<(Option<Access>, Option<BucketInfo>), AdminError> {
    if let Some((at, access, bucket)) = &memory.access
        && access.ready()
        && now.duration_since(*at).abs() < BUCKET_AGE
    {
        let access = Access {
            token: token(memory),
            ..access.clone()
        };
        return Ok((Some(access), bucket.clone()));
    }
    match look(memory, client, key_id).await {
        Ok((access, bucket)) => {
            memory.access = Some((now, access.clone(), bucket.clone()));
            Ok((Some(access), bucket))
        }
        Err(AdminError::LayoutNotReady { .. } | AdminError::Refused { status: 500.., .. }) => {
            Ok((None, None))
        }
        Err(error) => Err(error),
    }
}

async fn look(
    memory: &Memory,
    client: &Client,
    key_id: &str,
) -> Result<(Access, Option<BucketInfo>), AdminError> {
    let by_name = client.bucket(BUCKET).await?;
    let bucket = match (by_name, &memory.bucket_id) {
        // One that was made once and has lost its name is found by its id: a new one would be empty.
        (None, Some(id)) => client.bucket_by_id(id).await?,
        (found, _) => found,
    };
    let key = client.key(key_id).await?;
    let rights = bucket
        .as_ref()
        .and_then(|bucket| bucket.keys.iter().find(|key| key.access_key_id == key_id))
        .map(|key| key.permissions);
    let facts = bucket.as_ref().map(|bucket| BucketFacts {
        allowed: rights.is_some_and(|rights| rights.read && rights.write),
        owner: rights.is_some_and(|rights| rights.owner),
        alias: bucket.global_aliases.iter().any(|alias| alias == BUCKET),
        quota: bucket.quotas.max_size.map(Bytes),
        object_quota: bucket.quotas.max_objects.is_some(),
        website: bucket.website_access,
        lifecycle: !bucket.lifecycle_rules.is_empty(),
        cors: !bucket.cors_rules.is_empty(),
        bytes: Bytes(bucket.bytes),
    });
    let access = Access {
        key: key.as_ref().is_some_and(|key| !key.expired),
        key_creates: key.as_ref().is_some_and(|key| key.permissions.create_bucket),
        bucket: facts,
        strangers: strangers(memory, bucket.as_ref(), key_id),
        token: token(memory),
    };
    Ok((access, bucket))
}

/// Keys that may do something with the bucket, but for our own and the one that is being replaced.
fn strangers(memory: &Memory, bucket: Option<&BucketInfo>, key_id: &str) -> BTreeSet<String> {
    let old = memory.rotation.as_ref().map(|rotation| rotation.old_key.as_str());
    let ours = |id: &str| id == key_id || Some(id) == old;
    let keys = bucket.iter().flat_map(|bucket| &bucket.keys);
    keys.filter(|key| {
        let may = key.permissions;
        (may.read || may.write || may.owner) && !ours(&key.access_key_id)
    })
    .map(|key| key.access_key_id.clone())
    .collect()
}

fn token(memory: &Memory) -> AdminTokenFacts {
    match &memory.token {
        // One that is refused is as good as none.
        Some(token) if token.is_usable() => AdminTokenFacts::Held {
            expires: token.expires,
            scoped: true,
        },
        Some(_) | None => AdminTokenFacts::Missing,
    }
}
