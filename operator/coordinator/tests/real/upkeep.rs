//! Snapshots of metadata, kept on other hosts.

use std::path::Path;

use hayloft_engine::AskedFor;

use crate::home::{Home, is_ready, name};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_each_hosts_metadata_comes_to_lie_on_a_host_of_another_zone() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::start(dir.path(), 3).await;
    home.until("ready", is_ready).await;
    // The first ones are due an hour after a host was first looked after.
    home.ahead.store(2 * 3600, std::sync::atomic::Ordering::Relaxed);
    let kept = home
        .until("kept all three", |status| {
            status.hosts.len() == 3 && status.hosts.iter().all(|host| host.watch.snapshot.is_some())
        })
        .await;
    assert!(
        kept.hosts
            .iter()
            .all(|host| host.watch.snapshot.unwrap() <= kept.observed_at)
    );
    for n in 1..=3 {
        let elsewhere = (1..=3).filter(|other| *other != n).any(|other| {
            let host = home.dir.join(format!("host-{other}"));
            mentions(&host, name(n).as_str())
        });
        assert!(elsewhere, "nobody keeps anything of {}", name(n));
    }
    home.until("ready", is_ready).await;
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_host_that_was_put_out_nobody_keeps_metadata_and_what_it_kept_is_kept_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::start(dir.path(), 4).await;
    home.until("ready with four", |status| {
        is_ready(status) && status.layout.storage_hosts == 4
    })
    .await;
    home.ahead.store(2 * 3600, std::sync::atomic::Ordering::Relaxed);
    home.until("kept all four", |status| {
        status.hosts.len() == 4 && status.hosts.iter().all(|host| host.watch.snapshot.is_some())
    })
    .await;
    let kept = |of: u8, on: u8| mentions(&home.dir.join(format!("host-{on}")), name(of).as_str());
    let of_the_fourth = (1..=3).filter(|on| kept(4, *on)).count();
    assert!(of_the_fourth > 0, "nobody kept anything of host-4");
    let on_the_fourth: Vec<u8> = (1..=3).filter(|of| kept(*of, 4)).collect();
    assert!(!on_the_fourth.is_empty(), "host-4 kept nothing");

    let coordinator = home.coordinator.as_ref().unwrap();
    coordinator.ask(&name(4), AskedFor::Evict).await.unwrap();
    home.until("deleted", |status| {
        let deleted = |text: &str| text.contains("metadata of host-4") && text.contains("deleted");
        status.events.iter().any(|event| deleted(&event.text)) && status.layout.storage_hosts == 3
    })
    .await;
    assert!((1..=3).all(|on| !kept(4, on)), "something is kept of host-4");
    // An hour after the last try at the latest.
    home.ahead.store(4 * 3600, std::sync::atomic::Ordering::Relaxed);
    let elsewhere = |of: u8| (1..=3).filter(|on| *on != of).any(|on| kept(of, on));
    home.until("kept elsewhere", |_| {
        on_the_fourth.iter().all(|of| elsewhere(*of))
    })
    .await;
    home.stop().await;
}

/// Whether a folder of that name lies somewhere below.
fn mentions(dir: &Path, name: &str) -> bool {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return false;
    };
    entries.filter_map(Result::ok).any(|entry| {
        entry.path().is_dir() && (entry.file_name().to_str() == Some(name) || mentions(&entry.path(), name))
    })
}
