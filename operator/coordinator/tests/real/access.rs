//! Bucket, key and token: drift is undone and told, what is foreign is left alone.

use hayloft_api::Secret;
use hayloft_api::status::{ConditionType, EventKind, Status};
use hayloft_coordinator::BUCKET;
use hayloft_garage::admin::{AdminError, Change, Permissions, Quotas};

use crate::home::{Home, is_ready};

fn drifts(status: &Status) -> Vec<String> {
    let events = status
        .events
        .iter()
        .filter(|event| event.kind == EventKind::Drift);
    events.map(|event| event.text.clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_changed_at_the_bucket_is_undone_and_told_and_foreign_buckets_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::start(dir.path(), 1).await;
    home.until("ready", is_ready).await;
    let admin = home.admin(1).await;
    let foreign = admin.create_bucket("somebody-elses").await.unwrap();
    let limited = Change {
        quotas: Some(Quotas {
            max_size: Some(1 << 20),
            max_objects: Some(7),
        }),
        ..Change::default()
    };
    admin.update_bucket(&foreign.id, limited).await.unwrap();

    let bucket = admin.bucket(BUCKET).await.unwrap().unwrap();
    let key = bucket.keys[0].access_key_id.clone();
    admin.update_bucket(&bucket.id, limited).await.unwrap();
    let owner = Permissions {
        read: false,
        write: false,
        owner: true,
    };
    admin.allow(&bucket.id, &key, owner).await.unwrap();
    let status = home
        .until("told of both", |status| drifts(status).len() >= 2)
        .await;
    assert!(
        drifts(&status).iter().any(|text| text.contains("limit")),
        "{:?}",
        drifts(&status)
    );
    assert!(
        drifts(&status).iter().any(|text| text.contains("administer")),
        "{:?}",
        drifts(&status)
    );
    let mended = admin.bucket(BUCKET).await.unwrap().unwrap();
    assert_eq!((mended.quotas.max_size, mended.quotas.max_objects), (None, None));
    let rights = mended.keys[0].permissions;
    assert!(rights.read && rights.write && !rights.owner);

    // Without its name a bucket is found by its id: a new one would be empty.
    admin.add_alias(&bucket.id, "kept").await.unwrap();
    admin.remove_alias(&bucket.id, BUCKET).await.unwrap();
    home.until("told of the name", |status| {
        drifts(status).iter().any(|text| text.contains("name"))
    })
    .await;
    let found = admin.bucket(BUCKET).await.unwrap().unwrap();
    assert_eq!(found.id, bucket.id);

    let left = admin.bucket("somebody-elses").await.unwrap().unwrap();
    assert_eq!(
        (left.quotas.max_size, left.quotas.max_objects),
        (Some(1 << 20), Some(7))
    );
    assert_eq!(left.keys, []);
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_key_is_replaced_by_another_one_and_the_gateway_gets_it() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::start(dir.path(), 1).await;
    home.until("ready", is_ready).await;
    let admin = home.admin(1).await;
    let old = admin.bucket(BUCKET).await.unwrap().unwrap().keys[0]
        .access_key_id
        .clone();
    let told = home.report(1).generation.unwrap();
    admin.delete_key(&old).await.unwrap();
    home.until("told of the new key", |status| {
        drifts(status).iter().any(|text| text.contains("new one"))
    })
    .await;
    home.until("ready", |status| {
        is_ready(status)
            && home
                .report(1)
                .generation
                .is_some_and(|generation| generation.n > told.n)
    })
    .await;
    let keys = admin.bucket(BUCKET).await.unwrap().unwrap().keys;
    assert_eq!(keys.len(), 1);
    assert_ne!(keys[0].access_key_id, old);
    let desired = std::fs::read_to_string(home.dir.join("host-1/ledger.json")).unwrap();
    assert!(desired.contains(&keys[0].access_key_id), "the host was not told");
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_coordinators_token_expires_and_may_not_make_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::start(dir.path(), 1).await;
    home.until("ready", is_ready).await;
    let admin = home.admin(1).await;
    let tokens = admin.tokens().await.unwrap();
    let ours: Vec<_> = tokens
        .iter()
        .filter(|token| token.name == "hayloft coordinator")
        .collect();
    assert_eq!(ours.len(), 1, "{tokens:?}");
    assert!(ours[0].expiration.is_some());
    assert!(
        !ours[0]
            .scope
            .iter()
            .any(|call| call == "*" || call.contains("AdminToken") && call.contains("ate"))
    );

    // When somebody deletes it, the static one makes another.
    admin.delete_token(ours[0].id.as_deref().unwrap()).await.unwrap();
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let tokens = admin.tokens().await.unwrap();
        if tokens.iter().any(|token| token.name == "hayloft coordinator") {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "no new token");
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
    home.until("ready again", is_ready).await;
    let stranger = admin.delete_token("0123456789abcdef").await;
    assert!(
        matches!(
            stranger,
            Err(AdminError::NotFound { .. } | AdminError::Refused { .. })
        ),
        "{stranger:?}"
    );
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_somebody_else_made_is_named_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::start(dir.path(), 1).await;
    let status = home.until("ready", is_ready).await;
    let known = status.condition(ConditionType::KeysKnown).unwrap();
    assert!(known.status, "{}", known.message);
    let admin = home.admin(1).await;
    let bucket = admin.bucket(BUCKET).await.unwrap().unwrap();
    let stranger = "GK0123456789abcdef01234567";
    let secret = Secret::new("0123456789abcdef0123456789abcdef");
    admin.import_key(stranger, &secret, "who knows").await.unwrap();
    let reads = Permissions {
        read: true,
        write: false,
        owner: false,
    };
    admin.allow(&bucket.id, stranger, reads).await.unwrap();
    let status = home
        .until("named", |status| {
            let known = status.condition(ConditionType::KeysKnown);
            known.is_some_and(|known| !known.status)
        })
        .await;
    let told = &status.condition(ConditionType::KeysKnown).unwrap().message;
    assert!(told.contains(&format!("garage key delete {stranger}")), "{told}");
    assert_eq!(
        status.phase,
        hayloft_api::status::Phase::Ready,
        "nothing is broken"
    );
    assert!(admin.key(stranger).await.unwrap().is_some(), "it was touched");

    admin.delete_key(stranger).await.unwrap();
    home.until("known again", |status| {
        let known = status.condition(ConditionType::KeysKnown);
        known.is_some_and(|known| known.status)
    })
    .await;
    home.stop().await;
}
