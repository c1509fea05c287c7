//! Snapshots of metadata, kept on other hosts.

use std::path::Path;

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

/// Whether a folder of that name lies somewhere below.
fn mentions(dir: &Path, name: &str) -> bool {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return false;
    };
    entries.filter_map(Result::ok).any(|entry| {
        entry.path().is_dir() && (entry.file_name().to_str() == Some(name) || mentions(&entry.path(), name))
    })
}
