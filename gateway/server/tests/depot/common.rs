//! A depot on a Garage of its own, and NARs made on the fly.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use hayloft_garage_fixture::{BUCKET, Garage, REGION};
use hayloft_nixcache::{CacheName, NarHash, StorePathHash, UploadInfo};
use hayloft_server::depot::{
    BoxError, Depot, DepotConfig, Effects, NewCache, ReadError, Upkeep, UploadError, Uploaded,
};
use hayloft_store::cluster_key::ClusterKey;
use hayloft_store::object::s3::S3Config;

pub(crate) struct World {
    pub(crate) garage: Garage,
    pub(crate) dir: tempfile::TempDir,
}

pub(crate) fn main_cache() -> CacheName {
    "main".parse().unwrap()
}

impl World {
    pub(crate) async fn start(nodes: usize) -> Self {
        Self {
            garage: Garage::start(nodes).await.unwrap(),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn s3(&self) -> S3Config {
        S3Config {
            endpoints: self.garage.endpoints(),
            region: REGION.to_owned(),
            bucket: BUCKET.to_owned(),
            access_key_id: self.garage.access_key_id().to_owned(),
            secret_access_key: self.garage.secret_access_key().to_owned().into(),
        }
    }

    pub(crate) fn config(&self, folder: &str) -> DepotConfig {
        DepotConfig {
            s3: self.s3().fixed(),
            state_dir: self.dir.path().join(folder),
            key: ClusterKey::from_random([3; 32]),
            memory: 16 * 1024 * 1024,
            upkeep: Upkeep::default(),
        }
    }

    /// Opens a gateway's depot and makes the cache `main`, unless it is there.
    pub(crate) async fn open(&self, folder: &str) -> Depot {
        self.open_at(folder, 0).await
    }

    /// As [`World::open`], on a host where this node is the nearest.
    pub(crate) async fn open_at(&self, folder: &str, nearest: usize) -> Depot {
        let mut seed = [0; 32];
        aws_lc_rs::rand::fill(&mut seed).unwrap();
        #[expect(
            clippy::disallowed_methods,
            reason = "a test has no main that gives it a clock"
        )]
        let effects = Effects {
            clock: Arc::new(jiff::Timestamp::now),
            seed,
        };
        let mut config = self.config(folder);
        let mut s3 = self.s3();
        s3.endpoints.rotate_left(nearest);
        config.s3 = s3.fixed();
        let depot = Depot::open(config, effects).await.unwrap();
        if depot.cache(&main_cache()).await.unwrap().is_none() {
            let cache = NewCache {
                name: main_cache(),
                keypair: None,
                is_public: true,
                store_dir: "/nix/store".to_owned(),
                priority: 40,
                upstream_cache_key_names: vec![],
                retention: None,
            };
            depot.create_cache(cache).await.unwrap();
        }
        depot
    }
}

/// A NAR of one file, that is made while it is read: `size` bytes of contents, of which about a third can be
/// compressed away.
#[derive(Clone)]
pub(crate) struct Sample {
    pub(crate) info: UploadInfo,
    seed: u64,
    size: u64,
}

const PORTION: u64 = 64 * 1024;

impl Sample {
    /// The `seed`th sample.
    pub(crate) fn new(seed: u64, size: u64) -> Self {
        let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        let mut nar_size = 0;
        for part in parts(seed, size) {
            nar_size += part.len() as u64;
            context.update(&part);
        }
        let digest = context.finish();
        let hash = hash(seed);
        let info = UploadInfo {
            cache: main_cache(),
            store_path_hash: hash,
            store_path: format!("/nix/store/{}-sample", hash.as_str()).parse().unwrap(),
            references: vec![],
            system: None,
            deriver: None,
            sigs: vec![],
            ca: None,
            nar_hash: NarHash::new(digest.as_ref().try_into().unwrap()),
            nar_size,
        };
        Self { info, seed, size }
    }

    pub(crate) async fn push(&self, depot: &Depot) -> Result<Uploaded, UploadError> {
        let body = stream::iter(parts(self.seed, self.size).map(Ok::<Bytes, BoxError>));
        depot.upload(self.info.clone(), None, body).await
    }

    /// Pulls, decompresses and compares, without keeping the NAR. `false`: it is not there.
    pub(crate) async fn pull(&self, depot: &Depot) -> Result<bool, ReadError> {
        let Some(entry) = depot
            .path(&main_cache(), &self.info.store_path_hash)
            .await
            .unwrap()
        else {
            return Ok(false);
        };
        let body = depot.nar(&entry).await?;
        let mut decoder = zstd::stream::write::Decoder::new(Check::default()).unwrap();
        let mut stream = body.stream;
        let mut length = 0;
        while let Some(part) = stream.try_next().await? {
            length += part.len() as u64;
            std::io::Write::write_all(&mut decoder, &part).unwrap();
        }
        std::io::Write::flush(&mut decoder).unwrap();
        let check = decoder.into_inner();
        assert_eq!(length, body.length);
        assert_eq!(check.finish(), (self.info.nar_hash, self.info.nar_size));
        Ok(true)
    }
}

/// Hashes what is written to it.
struct Check {
    context: aws_lc_rs::digest::Context,
    length: u64,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            context: aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256),
            length: 0,
        }
    }
}

impl Check {
    fn finish(self) -> (NarHash, u64) {
        (
            NarHash::new(self.context.finish().as_ref().try_into().unwrap()),
            self.length,
        )
    }
}

impl std::io::Write for Check {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.context.update(bytes);
        self.length += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn hash(n: u64) -> StorePathHash {
    const DIGITS: &[u8] = b"0123456789abcdfghijklmnpqrsvwxyz";
    let mut hash = [b'0'; 32];
    let mut rest = n;
    for digit in hash.iter_mut().rev() {
        *digit = DIGITS[usize::try_from(rest % 32).unwrap()];
        rest /= 32;
    }
    StorePathHash::from_bytes(&hash).unwrap()
}

fn string(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
    out.extend_from_slice(text);
    out.resize(out.len() + text.len().next_multiple_of(8) - text.len(), 0);
}

/// The NAR in portions.
fn parts(seed: u64, size: u64) -> impl Iterator<Item = Bytes> + Send + use<> {
    let mut head = Vec::new();
    for text in ["nix-archive-1", "(", "type", "regular", "contents"] {
        string(text.as_bytes(), &mut head);
    }
    head.extend_from_slice(&size.to_le_bytes());
    let mut tail = vec![0; usize::try_from(size.next_multiple_of(8) - size).unwrap()];
    string(b")", &mut tail);
    let contents = (0..size.div_ceil(PORTION)).map(move |portion| {
        let length = usize::try_from((size - portion * PORTION).min(PORTION)).unwrap();
        let mut bytes = vec![b'x'; length];
        let noise = length * 2 / 3;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes()).update(&portion.to_le_bytes());
        hasher.finalize_xof().fill(&mut bytes[..noise]);
        Bytes::from(bytes)
    });
    std::iter::once(Bytes::from(head))
        .chain(contents)
        .chain(std::iter::once(Bytes::from(tail)))
}

/// Runs the samples through `act`, `at_once` at a time, and wants all to succeed.
pub(crate) async fn all<'a, F, R>(samples: &'a [Sample], at_once: usize, act: F)
where
    F: Fn(&'a Sample) -> R,
    R: Future<Output = ()> + 'a,
{
    stream::iter(samples)
        .map(act)
        .buffer_unordered(at_once)
        .collect::<()>()
        .await;
}
