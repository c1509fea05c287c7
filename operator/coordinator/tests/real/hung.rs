//! A member that hangs: it keeps its connections, takes new ones, and says nothing.

use std::process::Command;

use hayloft_api::Bytes;
use hayloft_coordinator::BUCKET;

use crate::home::{Home, PATIENCE, document, garage_pid, is_ready};

fn signal(what: &str, pid: u32) {
    let sent = Command::new("kill")
        .args([what, &pid.to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_hangs_does_not_keep_the_coordinator_from_what_others_can_do() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::start(dir.path(), 3).await;
    home.until("ready", is_ready).await;
    // The member that was asked last would be asked first again.
    let through = home.asked_member();
    let pid = garage_pid(&home.report(through)).unwrap();
    signal("-STOP", pid);
    let limit = Bytes::gib(7);
    let mut limited = document(3);
    limited.spec.garage.quota = Some(limit);
    home.document.send_replace(limited);
    let others: Vec<u8> = (1..=3).filter(|n| *n != through).collect();
    let admin = home.admin(others[0]).await;
    let seen = async {
        loop {
            let bucket = admin.bucket(BUCKET).await;
            if let Ok(Some(bucket)) = bucket
                && bucket.quotas.max_size == Some(limit.0)
            {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    // Garage gives a member up that does not answer its pings after some 90 seconds; until then counts of a bucket wait for it.
    let done = tokio::time::timeout(PATIENCE * 2, seen).await;
    signal("-CONT", pid);
    assert!(done.is_ok(), "the limit was never set");
    home.until("ready again", is_ready).await;
    home.stop().await;
}
