//! What a node says of a block that an object has, and had.

use std::path::Path;

use hayloft_api::question::BlockName;
use hayloft_garage::admin::Backlink;
use hayloft_garage_fixture::{BUCKET, Garage};
use reqwest::Method;

use crate::s3::send;
use crate::support::{client, until};

/// The first block under a data folder.
fn block_in(dir: &Path) -> Option<BlockName> {
    for entry in std::fs::read_dir(dir).ok()?.flatten() {
        let path = entry.path();
        let name = path.file_stem().and_then(|name| name.to_str());
        let found = if path.is_dir() {
            block_in(&path)
        } else {
            name.and_then(|name| name.parse().ok())
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

#[tokio::test]
async fn a_block_is_referred_to_by_its_object_until_that_is_deleted() {
    let garage = Garage::start(3).await.unwrap();
    let admin = client(&garage, 0);
    assert!(
        send(&garage, Method::PUT, "object", vec![7; 50_000])
            .await
            .is_success()
    );
    let bucket = admin.bucket(BUCKET).await.unwrap().unwrap();
    let nodes: Vec<_> = admin
        .layout()
        .await
        .unwrap()
        .roles
        .iter()
        .map(|role| role.id)
        .collect();
    let block = until("the block is on every disk", || async {
        let found: Option<Vec<_>> = (0..3)
            .map(|index| block_in(&garage.dir(index)?.join("data")))
            .collect();
        found.map(|found| found[0])
    })
    .await;
    for node in &nodes {
        let info = until("the reference is known", || async {
            // It asks a quorum of the others, which may not all be connected yet.
            let info = admin.block(*node, block).await.ok().flatten();
            info.filter(|info| info.refcount == 1)
        })
        .await;
        let object = Backlink::Object {
            bucket_id: bucket.id.clone(),
            key: "object".to_owned(),
        };
        assert_eq!(info.versions[0].backlink, Some(object));
        assert!(!info.versions[0].ref_deleted && !info.versions[0].version_deleted);
    }

    assert!(send(&garage, Method::DELETE, "object", vec![]).await.is_success());
    for node in nodes {
        until("nothing refers to it", || async {
            let info = admin.block(node, block).await.ok()?;
            info.is_none_or(|info| info.refcount == 0).then_some(())
        })
        .await;
    }
}
