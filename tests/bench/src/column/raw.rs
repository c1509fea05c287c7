//! A bare client: the bytes that the gateway sends, as objects of about 8 MiB, each decompressed and hashed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use hayloft_store::object::ObjectStore as _;
use hayloft_store::object::s3::S3Store;

use super::Bucket;
use crate::client::{Check, all};
use crate::corpus::sha256;

/// What an object holds, at least.
const SIZE: usize = 8 * 1024 * 1024;

/// An object, and what it decompresses to.
#[derive(Clone, Debug)]
pub struct Object {
    key: String,
    bytes: Bytes,
    sha256: String,
    size: u64,
}

/// Cuts `bodies`, which are zstd frames, into objects of whole frames.
///
/// # Errors
/// When they are no zstd.
pub fn objects(bodies: &[Bytes]) -> Result<Vec<Object>> {
    let mut objects = Vec::new();
    let mut open = Vec::with_capacity(SIZE + SIZE / 4);
    for body in bodies {
        let mut rest = body.as_ref();
        while !rest.is_empty() {
            let length = zstd::zstd_safe::find_frame_compressed_size(rest)
                .map_err(|_| anyhow!("a body is not made of zstd frames"))?;
            let (frame, behind) = rest.split_at_checked(length).context("a frame is cut short")?;
            open.extend_from_slice(frame);
            rest = behind;
            if open.len() >= SIZE {
                objects.push(object(objects.len(), std::mem::take(&mut open))?);
            }
        }
    }
    if !open.is_empty() {
        objects.push(object(objects.len(), open)?);
    }
    Ok(objects)
}

fn object(index: usize, bytes: Vec<u8>) -> Result<Object> {
    let raw = zstd::decode_all(bytes.as_slice())?;
    Ok(Object {
        key: format!("object/{index:06}"),
        sha256: sha256(&raw),
        size: raw.len() as u64,
        bytes: Bytes::from(bytes),
    })
}

/// Puts them, `clients` at a time; how long it took.
///
/// # Errors
/// When Garage does not take one.
pub async fn put(bucket: &Bucket, objects: &[Object], clients: usize) -> Result<Duration> {
    let store = Arc::new(bucket.store());
    all(clients, objects.to_vec(), move |object| {
        let store: Arc<S3Store> = Arc::clone(&store);
        async move { Ok(store.put(&object.key, object.bytes).await?) }
    })
    .await
}

/// Gets, decompresses and hashes them.
///
/// # Errors
/// When one is not what was put.
pub async fn get(bucket: &Bucket, objects: &[Object], clients: usize) -> Result<Duration> {
    let store = Arc::new(bucket.store());
    all(clients, objects.to_vec(), move |object| {
        let store: Arc<S3Store> = Arc::clone(&store);
        async move {
            let bytes = store.get(&object.key).await?;
            let mut check = Check::new()?;
            // In pieces, as they would come from a connection.
            for piece in bytes.chunks(256 * 1024) {
                check.feed(piece)?;
                tokio::task::yield_now().await;
            }
            check.finish(&object.key, &object.sha256, object.size)
        }
    })
    .await
}
