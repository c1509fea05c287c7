//! What a document would do, asked of a running coordinator.

use hayloft_api::document::HostState;
use hayloft_api::status::EventKind;

use crate::home::{Home, document, is_ready, name};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preview_tells_what_would_move_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::start(dir.path(), 4).await;
    let before = home
        .until("ready with four", |status| {
            is_ready(status) && status.layout.storage_hosts == 4
        })
        .await;
    let coordinator = home.coordinator.as_ref().unwrap();
    let nothing = coordinator.preview(&document(4)).await.unwrap();
    assert!(nothing.is_none(), "{nothing:?}");

    let mut drained = document(4);
    drained.spec.hosts[3].state = HostState::Drained;
    let preview = coordinator.preview(&drained).await.unwrap().unwrap();
    assert_eq!(preview.version, before.layout.version + 1);
    let mut leaver = None;
    for host in &preview.hosts {
        if host.host == name(4).to_string() {
            leaver = Some(host.partitions_after);
        }
    }
    assert_eq!(leaver.map(|after| after.most), Some(0), "{preview:?}");
    assert!(preview.partitions.is_some_and(|moved| moved > 0), "{preview:?}");
    assert_eq!(preview.refusals, Vec::<String>::new());

    // Nobody applied anything, and nothing is staged.
    let layout = home.admin(1).await.layout().await.unwrap();
    assert_eq!(layout.version, before.layout.version);
    assert!(layout.staged_role_changes.is_empty());
    let status = home.until("ready still", is_ready).await;
    let failed = |event: &&hayloft_api::status::Event| event.kind == EventKind::Failed;
    assert_eq!(
        status.events.iter().filter(failed).count(),
        0,
        "{:?}",
        status.events
    );
    home.stop().await;
}
