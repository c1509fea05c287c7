//! The calls of the admin API.

use std::time::Duration;

use hayloft_api::Secret;
use hayloft_api::agent::AdminAddress;
use hayloft_api::question::BlockName;
use hayloft_garage::admin::{
    AdminError, Change, Client, Permissions, Quotas, Repair, Requests, Scrub, Variable, Whom, WorkerState,
};
use hayloft_garage_fixture::{BUCKET, Garage};
use jiff::Timestamp;

use crate::support::{client, until};

#[tokio::test]
async fn nodes_tell_their_queues_and_workers_and_take_settings_and_repairs() {
    let garage = Garage::start(3).await.unwrap();
    let admin = client(&garage, 0);
    let ids: Vec<_> = admin
        .layout()
        .await
        .unwrap()
        .roles
        .iter()
        .map(|role| role.id)
        .collect();

    let statistics = admin.node_statistics(Whom::All).await.unwrap();
    assert_eq!(statistics.success.len(), 3);
    assert!(statistics.error.is_empty());
    for node in statistics.success.values() {
        assert_eq!(node.block_manager_stats.unwrap().resync_errors, 0);
        assert!(
            node.table_stats
                .iter()
                .any(|table| table.table_name == "block_ref")
        );
    }

    for id in &ids {
        admin.set_variable(*id, Variable::ResyncWorkers, 4).await.unwrap();
        admin
            .set_variable(*id, Variable::ResyncTranquility, 0)
            .await
            .unwrap();
    }
    let workers = admin.variable(Whom::All, Variable::ResyncWorkers).await.unwrap();
    assert!(workers.success.len() == 3 && workers.success.values().all(|value| value == "4"));
    let own = admin
        .variable(Whom::Itself, Variable::ScrubCorruptions)
        .await
        .unwrap();
    assert_eq!(own.success.values().collect::<Vec<_>>(), ["0"]);
    let refused = admin.set_variable(ids[1], Variable::ResyncWorkers, 99).await;
    assert!(matches!(refused, Err(AdminError::Node { .. })), "{refused:?}");

    let repair_of = |id, name: &'static str| {
        let admin = &admin;
        async move {
            let listed = admin.workers(Whom::One(id)).await.unwrap().success;
            let mut workers = listed.into_values().next().unwrap();
            workers.retain(|worker| worker.name == name);
            workers
        }
    };
    for repair in [
        Repair::Blocks,
        Repair::Versions,
        Repair::MultipartUploads,
        Repair::BlockRefs,
        Repair::BlockRc,
        Repair::Rebalance,
    ] {
        let name = repair.worker().unwrap();
        admin.repair(ids[2], repair).await.unwrap();
        let worker = until(name, || async {
            let workers = repair_of(ids[2], name).await;
            workers
                .into_iter()
                .find(|worker| worker.state == WorkerState::Done)
        })
        .await;
        assert_eq!(worker.errors, 0);
        assert_eq!(admin.worker(ids[2], worker.id).await.unwrap().name, name);
    }
    for repair in [
        Repair::Tables,
        Repair::Aliases,
        Repair::ClearResyncQueue,
        Repair::Scrub(Scrub::Start),
        Repair::Scrub(Scrub::Cancel),
    ] {
        admin.repair(ids[1], repair).await.unwrap();
    }
    let unknown = admin.worker(ids[1], 9_999).await;
    assert!(matches!(unknown, Err(AdminError::Node { .. })), "{unknown:?}");
    assert!(
        admin
            .block_errors(Whom::All)
            .await
            .unwrap()
            .success
            .values()
            .all(Vec::is_empty)
    );
    for id in &ids {
        assert_eq!(admin.retry_blocks(*id).await.unwrap(), 0);
        // A node in front, and one behind it.
        assert_eq!(admin.block(*id, BlockName::new([7; 32])).await.unwrap(), None);
    }
}

#[tokio::test]
async fn snapshots_of_metadata_lie_on_the_nodes_disk_when_the_call_returns() {
    let garage = Garage::start(3).await.unwrap();
    let admin = client(&garage, 0);
    let status = admin.status().await.unwrap();
    let node = admin.layout().await.unwrap().roles[1].id;
    assert!(status.nodes.iter().any(|known| known.id == node));
    admin.snapshot_metadata(node).await.unwrap();
    let written: Vec<_> = (0..3)
        .filter_map(|index| std::fs::read_dir(garage.dir(index)?.join("meta/snapshots")).ok())
        .flatten()
        .map(|entry| entry.unwrap().path().join("db.lmdb"))
        .collect();
    assert_eq!(written.len(), 1);
    assert!(
        written[0].metadata().is_ok_and(|file| file.len() > 0),
        "{written:?}"
    );
}

#[tokio::test]
async fn tokens_are_scoped_and_end() {
    let garage = Garage::start(1).await.unwrap();
    let admin = client(&garage, 0);
    let ends = "2099-01-01T00:00:00Z".parse::<Timestamp>().unwrap();
    let token = admin
        .create_token("hayloft", Some(ends), &["GetClusterStatus", "Metrics"])
        .await
        .unwrap();
    let id = token.info.id.clone().unwrap();
    assert_eq!(token.info.expiration, Some(ends));
    assert!(!format!("{token:?}").contains(token.secret.expose()));
    let address = AdminAddress::Url(garage.admin(0).unwrap());
    let scoped = Client::new(&address, token.secret.clone()).unwrap();
    scoped.status().await.unwrap();
    scoped.metrics().await.unwrap();
    assert_eq!(scoped.own_token().await.unwrap().id, Some(id.clone()));
    assert!(matches!(scoped.layout().await, Err(AdminError::Forbidden { .. })));

    let wider = admin
        .update_token(&id, "hayloft", None, &["GetClusterLayout"])
        .await
        .unwrap();
    assert_eq!(wider.expiration, None);
    scoped.layout().await.unwrap();
    let listed = admin.tokens().await.unwrap();
    assert!(
        listed.iter().any(|known| known.id.is_none()),
        "the one of the configuration is listed too"
    );
    assert!(listed.iter().any(|known| known.id.as_deref() == Some(&id)));
    admin.delete_token(&id).await.unwrap();
    assert!(matches!(scoped.layout().await, Err(AdminError::Forbidden { .. })));
    assert!(matches!(
        admin.delete_token(&id).await,
        Err(AdminError::NotFound { .. })
    ));

    let past = "2001-01-01T00:00:00Z".parse().unwrap();
    let ended = admin.create_token("late", Some(past), &["*"]).await.unwrap();
    assert!(ended.info.expired);
    let late = Client::new(&address, ended.secret).unwrap();
    assert!(matches!(late.status().await, Err(AdminError::Forbidden { .. })));
}

#[tokio::test]
async fn a_buckets_settings_names_and_rights_are_set_and_taken_back() {
    let garage = Garage::start(1).await.unwrap();
    let admin = client(&garage, 0);
    let bucket = admin.bucket(BUCKET).await.unwrap().unwrap();
    assert_eq!(bucket.quotas, Quotas::default());
    assert!(!bucket.website_access && bucket.cors_rules.is_empty() && bucket.lifecycle_rules.is_empty());
    let quotas = Quotas {
        max_size: Some(5_000_000_000),
        max_objects: None,
    };
    let change = Change {
        quotas: Some(quotas),
        no_website: true,
        no_cors: true,
        no_lifecycle: true,
    };
    assert_eq!(
        admin.update_bucket(&bucket.id, change).await.unwrap().quotas,
        quotas
    );
    let untouched = admin.update_bucket(&bucket.id, Change::default()).await.unwrap();
    assert_eq!(untouched.quotas, quotas);

    admin.add_alias(&bucket.id, "another").await.unwrap();
    assert_eq!(admin.bucket("another").await.unwrap().unwrap().id, bucket.id);
    admin.remove_alias(&bucket.id, "another").await.unwrap();
    assert_eq!(admin.bucket("another").await.unwrap(), None);
    let listed = admin.buckets().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].global_aliases, [BUCKET]);

    let (id, secret) = ("GK0123456789abcdef01234567", Secret::new("ab".repeat(32)));
    let key = admin.import_key(id, &secret, "one").await.unwrap();
    assert!(key.buckets.is_empty() && !key.permissions.create_bucket);
    let all = Permissions {
        read: true,
        write: true,
        owner: true,
    };
    admin.allow(&bucket.id, id, all).await.unwrap();
    let owner = Permissions {
        owner: true,
        ..Permissions::default()
    };
    let denied = admin.deny(&bucket.id, id, owner).await.unwrap();
    let left = denied.keys.iter().find(|key| key.access_key_id == id).unwrap();
    assert!(left.permissions.read && left.permissions.write && !left.permissions.owner);
    assert_eq!(admin.confine_key(id, "two").await.unwrap().name, "two");
    assert_eq!(admin.keys().await.unwrap().len(), 2);
    admin.delete_key(id).await.unwrap();
    assert_eq!(admin.key(id).await.unwrap(), None);
    let again = admin.import_key(id, &secret, "one").await;
    assert!(
        matches!(again, Err(AdminError::Conflict { .. })),
        "an id is used once: {again:?}"
    );
}

#[tokio::test]
async fn the_daemons_own_counters_tell_what_clients_asked() {
    let garage = Garage::start(1).await.unwrap();
    let admin = client(&garage, 0);
    let before = Requests::of(&admin.metrics().await.unwrap());
    let http = reqwest::Client::builder()
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    for _ in 0..3 {
        // Unsigned: refused, and counted.
        http.get(format!("{}/{BUCKET}", garage.endpoints()[0]))
            .send()
            .await
            .unwrap();
    }
    let after = Requests::of(&admin.metrics().await.unwrap());
    assert_eq!((after.s3 - before.s3, after.failed - before.failed), (3, 3));
}
