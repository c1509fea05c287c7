//! How much memory the gateway takes when many push and pull at once.

use std::path::{Path, PathBuf};

use anyhow::Result;
use aws_lc_rs::digest::{Context, SHA256};
use bytes::{Bytes, BytesMut};
use futures::stream;
use hayloft_nixcache::nix32;

use crate::client::{Client, all};
use crate::column::{Bucket, Hayloft, Programs, Server as _};
use crate::corpus::{Nar, sha256};
use crate::cycle::Bench;
use crate::process::drop_caches;

/// The cache that the gateway may keep, in MiB.
const CACHE: u64 = 64;
const BLOCK: usize = 64 * 1024;

/// A NAR of one file: real bytes, made unlike any other's every few kilobytes.
#[derive(Clone, Debug)]
struct Salted {
    number: u64,
    size: u64,
    content: Bytes,
}

impl Salted {
    fn blocks(self) -> impl Iterator<Item = Bytes> + Send + 'static {
        let mut head = BytesMut::new();
        for word in ["nix-archive-1", "(", "type", "regular", "contents"] {
            put(&mut head, word.as_bytes());
        }
        head.extend_from_slice(&self.size.to_le_bytes());
        let padding = usize::try_from((8 - self.size % 8) % 8).unwrap_or(0);
        let mut tail = BytesMut::zeroed(padding);
        put(&mut tail, b")");
        let size = usize::try_from(self.size).unwrap_or(0);
        let body = (0..size.div_ceil(BLOCK)).map(move |index| {
            let length = BLOCK.min(size - index * BLOCK);
            let start = (index * BLOCK) % self.content.len().saturating_sub(BLOCK).max(1);
            let mut block = BytesMut::from(self.content.get(start..start + length).unwrap_or_default());
            block.resize(length, 0);
            for (place, word) in block.chunks_mut(4096).enumerate() {
                let salt = [self.number, (index * 16 + place) as u64];
                for (to, from) in word.iter_mut().zip(salt.iter().flat_map(|n| n.to_le_bytes())) {
                    *to = from;
                }
            }
            block.freeze()
        });
        std::iter::once(head.freeze())
            .chain(body)
            .chain(std::iter::once(tail.freeze()))
    }

    fn nar(&self) -> Nar {
        let mut context = Context::new(&SHA256);
        let mut size = 0;
        for block in self.clone().blocks() {
            context.update(&block);
            size += block.len() as u64;
        }
        let seed = sha256(&self.number.to_le_bytes());
        let digest = hex::decode(&seed[..40]).unwrap_or_default();
        Nar {
            base_name: format!("{}-crowd-{}", nix32::encode(&digest), self.number),
            references: Vec::new(),
            sha256: hex::encode(context.finish()),
            size,
            file: PathBuf::new(),
        }
    }
}

fn put(to: &mut BytesMut, word: &[u8]) {
    to.extend_from_slice(&(word.len() as u64).to_le_bytes());
    to.extend_from_slice(word);
    to.resize(to.len().next_multiple_of(8), 0);
}

/// Pushes and then pulls many at once.
///
/// # Errors
/// When anything of it fails.
pub async fn measure(bench: &mut Bench, programs: &Programs, dir: &Path) -> Result<()> {
    let (count, size) = bench.plan.crowd;
    let bucket = Bucket::make(&bench.garage, "memory").await?;
    let server = Hayloft::prepare(&programs.gateway, &dir.join("memory"), &bucket, CACHE)?;
    let content: BytesMut = bench
        .first
        .iter()
        .flat_map(|(_, bytes)| bytes.iter().copied())
        .take(100_000_000)
        .collect();
    let content = content.freeze();
    let crowd: Vec<(Salted, Nar)> = (0..count)
        .map(|number| {
            let salted = Salted {
                number: number as u64,
                size,
                content: content.clone(),
            };
            let nar = salted.nar();
            (salted, nar)
        })
        .collect();
    let running = server.start().await?;
    drop_caches();
    let client: Client = running.client.clone();
    all(count, crowd.clone(), move |(salted, nar)| {
        let client = client.clone();
        async move {
            client
                .push_stream(&nar, stream::iter(salted.blocks().map(Ok)))
                .await
        }
    })
    .await?;
    note(bench, "memory, 64 uploads", running.process.peak_memory()?);
    running.process.stop().await?;
    let running = server.start().await?;
    drop_caches();
    let client = running.client.clone();
    all(count, crowd, move |(_, nar)| {
        let client = client.clone();
        async move { client.pull(&nar).await }
    })
    .await?;
    note(bench, "memory, 64 pulls", running.process.peak_memory()?);
    running.process.stop().await
}

fn note(bench: &mut Bench, row: &'static str, bytes: u64) {
    #[expect(clippy::cast_precision_loss, reason = "a size for people")]
    let beside = bytes as f64 / 1e6 - (CACHE * 1024 * 1024) as f64 / 1e6;
    bench.note(row, "hayloft", "MB", beside);
}
