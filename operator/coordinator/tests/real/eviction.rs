//! A host is put out without its help, and what it knew opens nothing any more.

use hayloft_api::status::{ConditionType, EventKind, SecretsRenewal};
use hayloft_engine::AskedFor;
use hayloft_garage::admin::{AdminError, Client};

use crate::home::{Home, is_ready, name};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_put_out_loses_its_role_and_knows_no_secret_that_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::start(dir.path(), 4).await;
    home.until("ready with four", |status| {
        is_ready(status) && status.layout.storage_hosts == 4
    })
    .await;
    let old = home.secrets().await;
    let evicted = home.report(4).garage_id;

    let coordinator = home.coordinator.as_ref().unwrap();
    coordinator.ask(&name(4), AskedFor::Evict).await.unwrap();
    let status = home
        .until("rid of it", |status| {
            let kept = status.condition(ConditionType::SecretsKept);
            let renewed = status.events.iter().any(|event| {
                event.kind == EventKind::Secrets && event.text.contains("nothing that host-4 knew")
            });
            renewed && kept.is_some_and(|kept| kept.status)
        })
        .await;
    let new = home.secrets().await;
    assert_ne!(old.rpc_secret, new.rpc_secret);
    assert_ne!(old.admin_token, new.admin_token);
    assert_ne!(old.access_key_id, new.access_key_id);
    assert!(
        status
            .events
            .iter()
            .any(|event| event.text.contains("connected again")),
        "it is not told how long that took"
    );
    // How long nobody could be served is measured, and told.
    let measured = status
        .events
        .iter()
        .find(|event| event.text.contains("no member reached a quorum"));
    assert!(measured.is_some(), "{:?}", status.events);
    assert!(status.secrets.last_down_ms.is_some(), "{:?}", status.secrets);
    assert_eq!(status.secrets.renewal, SecretsRenewal::None);
    let metrics = home.coordinator.as_ref().unwrap().metrics()();
    assert!(metrics.contains("\nhayloft_secrets_rotation_downtime_seconds "));
    assert!(metrics.contains("hayloft_garage_call_seconds_count{operation=\"GetClusterStatus\"}"));
    let admin = home.admin(1).await;
    let layout = admin.layout().await.unwrap();
    assert!(
        layout.roles.iter().all(|role| role.id != evicted),
        "it has a role still"
    );
    assert_eq!(admin.key(&old.access_key_id).await.unwrap(), None);
    let stale = Client::new(&home.report(1).admin, old.admin_token).unwrap();
    assert!(matches!(stale.status().await, Err(AdminError::Forbidden { .. })));
    home.stop().await;
}
