//! No room left where the index lies.

use std::fs;
use std::io::Write as _;
use std::path::Path as FilePath;

use super::{Path, Pulled, token, until};
use crate::support::program::World;

/// Leaves no room on the disk.
fn fill(ballast: &FilePath) {
    let mut file = fs::File::create(ballast).unwrap();
    for size in [65536, 4096, 512, 1] {
        let block = vec![0x5a; size];
        let mut written = 0;
        while file.write_all(&block).is_ok() {
            written += size;
            assert!(written < 1 << 26, "the disk is larger than it should be");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_pushes_loses_nothing_and_is_mended_by_room() {
    let mut world = World::new("hs256").await;
    let token = token(&world);
    world.disk = Some("8M");
    let gateway = world.serve().await;
    let mut acknowledged = Vec::new();
    for number in 0..3 {
        let path = Path::new(number);
        assert!(path.push(&gateway.url, &token).await);
        acknowledged.push(path);
    }
    let ballast = gateway.sees(&world.dir.path().join("state/ballast"));
    fill(&ballast);
    let mut refused = None;
    for number in 3..50 {
        let path = Path::new(number);
        match path.try_push_to("main", &gateway.url, &token).await {
            Ok(()) => acknowledged.push(path),
            Err(said) => {
                refused = Some((path, said));
                break;
            }
        }
    }
    let (refused, (status, said)) = refused.unwrap();
    assert_eq!(status, 503, "{said}");
    assert!(said.contains("disk is full"), "{said}");
    // What is there is served on.
    for path in &acknowledged {
        assert_eq!(path.pull(&gateway.url).await, Pulled::Whole);
    }
    fs::remove_file(&ballast).unwrap();
    until("pushes succeed when there is room again", async || {
        refused.push(&gateway.url, &token).await
    })
    .await;
    acknowledged.push(refused);
    for path in &acknowledged {
        assert_eq!(path.pull(&gateway.url).await, Pulled::Whole);
    }
    // Its disk goes with it, and all that was acknowledged comes back from the bucket.
    gateway.terminate();
    let gateway = world.serve().await;
    for path in &acknowledged {
        assert_eq!(path.pull(&gateway.url).await, Pulled::Whole);
    }
    gateway.terminate();
}
