//! The depot on a bucket in memory that can be made to fail.

mod checking;
mod checkpoints;
mod collecting;
mod contents;
mod crashes;
mod damage;
mod disk;
mod fleet;
mod following;
mod gardening;
mod storms;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use hayloft_nixcache::nar::{self, Node};
use hayloft_nixcache::{CacheName, NarHash, StorePathHash, UploadInfo};
use hayloft_store::cluster_key::ClusterKey;
use hayloft_store::object::SharedStore;
use hayloft_store::object::memory::MemoryStore;

use super::{
    BoxError, CollectSettings, Depot, Effects, NewCache, OpenError, ReadError, Upkeep, UploadError, Uploaded,
};

const MEMORY: u64 = 16 * 1024 * 1024;
static SEEDS: AtomicU8 = AtomicU8::new(1);

/// A bucket, and folders for gateways on it.
struct World {
    bucket: Arc<MemoryStore>,
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self {
            bucket: Arc::new(MemoryStore::default()),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// Opens a gateway with the index in this folder.
    async fn open(&self, folder: &str) -> Result<Depot, OpenError> {
        let seed = [SEEDS.fetch_add(1, Ordering::Relaxed); 32];
        let effects = Effects {
            clock: Arc::new(|| jiff::Timestamp::UNIX_EPOCH),
            seed,
        };
        let store: SharedStore = Arc::clone(&self.bucket) as SharedStore;
        let key = ClusterKey::from_random([5; 32]);
        Depot::open_on(
            store,
            &self.dir.path().join(folder),
            &key,
            MEMORY,
            settings(),
            effects,
        )
        .await
    }

    /// Opens a gateway and makes the cache `main`, unless it is there.
    async fn with_main(&self, folder: &str) -> Depot {
        let depot = self.open(folder).await.unwrap();
        if depot.cache(&main()).await.unwrap().is_none() {
            depot.create_cache(new_cache("main")).await.unwrap();
        }
        depot
    }

    /// The gateway in this folder opens, and gives all these.
    async fn opens_with(&self, folder: &str, samples: &[Sample]) -> Depot {
        let depot = self.open(folder).await.unwrap();
        for sample in samples {
            assert_there(&depot, sample).await;
        }
        depot
    }
}

/// Everything goes at once, as fast as it can.
fn settings() -> Upkeep {
    Upkeep {
        collect: CollectSettings {
            grace: std::time::Duration::ZERO,
            max_rate: 0,
            ..CollectSettings::default()
        },
        ..Upkeep::default()
    }
}

fn main() -> CacheName {
    "main".parse().unwrap()
}

fn new_cache(name: &str) -> NewCache {
    NewCache {
        name: name.parse().unwrap(),
        keypair: None,
        is_public: true,
        store_dir: "/nix/store".to_owned(),
        priority: 40,
        upstream_cache_key_names: vec![],
        retention: None,
    }
}

/// Bytes that look random, from a seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

/// A path with its NAR.
#[derive(Clone)]
struct Sample {
    info: UploadInfo,
    nar: Vec<u8>,
}

/// The NAR of one file that holds `contents`, for a path with this hash.
fn sample(hash: &str, contents: Vec<u8>) -> Sample {
    let mut nar = Vec::new();
    nar::write(
        &Node::File {
            executable: false,
            contents,
        },
        &mut nar,
    )
    .unwrap();
    let info = UploadInfo {
        cache: main(),
        store_path_hash: hash.parse().unwrap(),
        store_path: format!("/nix/store/{hash}-sample").parse().unwrap(),
        references: vec![],
        system: None,
        deriver: None,
        sigs: vec![],
        ca: None,
        nar_hash: NarHash::of(&nar),
        nar_size: nar.len() as u64,
    };
    Sample { info, nar }
}

/// The `n`th store path hash.
fn hash(n: u32) -> String {
    const DIGITS: &[u8] = b"0123456789abcdfghijklmnpqrsvwxyz";
    let mut hash = [b'0'; 32];
    let mut rest = n as usize;
    for digit in hash.iter_mut().rev() {
        *digit = DIGITS[rest % 32];
        rest /= 32;
    }
    String::from_utf8(hash.to_vec()).unwrap()
}

fn parts(
    nar: &[u8],
    size: usize,
) -> impl futures::Stream<Item = Result<Bytes, BoxError>> + Send + Unpin + use<> {
    let parts: Vec<_> = nar
        .chunks(size)
        .map(|part| Ok(Bytes::copy_from_slice(part)))
        .collect();
    stream::iter(parts)
}

async fn push(depot: &Depot, sample: &Sample) -> Result<Uploaded, UploadError> {
    depot
        .upload(
            sample.info.clone(),
            Some("me".to_owned()),
            parts(&sample.nar, 10_000),
        )
        .await
}

/// The compressed body of a path; none when the path is not there.
async fn pull(depot: &Depot, hash: &StorePathHash) -> Result<Option<Vec<u8>>, ReadError> {
    let Some(entry) = depot.path(&main(), hash).await.unwrap() else {
        return Ok(None);
    };
    let body = depot.nar(&entry).await?;
    let (length, etag) = (body.length, body.etag.clone());
    let bytes: Vec<Bytes> = body.stream.try_collect().await?;
    let bytes = bytes.concat();
    assert_eq!(bytes.len() as u64, length);
    assert_eq!(entry.file_size, length);
    assert_eq!(entry.etag, etag);
    Ok(Some(bytes))
}

/// Pulls, decompresses and compares.
async fn assert_there(depot: &Depot, sample: &Sample) {
    let body = pull(depot, &sample.info.store_path_hash)
        .await
        .unwrap()
        .expect("the path is there");
    assert!(
        zstd::decode_all(body.as_slice()).unwrap() == sample.nar,
        "another NAR came back"
    );
}

async fn collect(body: super::NarBody) -> Vec<u8> {
    let parts: Vec<Bytes> = body.stream.map(Result::unwrap).collect().await;
    parts.concat()
}
