//! The client of every column: attic's wire to push, Nix's to pull. It decompresses and hashes all that it pulls.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;

use crate::corpus::Nar;

/// The cache that all columns have.
pub const CACHE: &str = "bench";
/// Bytes of a body that are handed to the connection at once.
const PIECE: usize = 256 * 1024;

/// A client of one server.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Client {
    /// For the server at `base`, such as `http://127.0.0.1:8080`.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(base: &str, token: &str) -> Result<Self> {
        Ok(Self {
            http: reqwest::Client::builder()
                .http1_only()
                .connect_timeout(Duration::from_secs(10))
                .timeout(Duration::from_secs(900))
                // A server may leave an upload unread while it is busy with others; the library would cut it after 30 s.
                .tcp_user_timeout(None)
                .build()?,
            base: base.to_owned(),
            token: token.to_owned(),
        })
    }

    /// Makes the cache, public.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn create_cache(&self) -> Result<()> {
        let body = json!({
            "keypair": "Generate", "is_public": true, "store_dir": "/nix/store", "priority": 41,
            "upstream_cache_key_names": [],
        });
        let request = self
            .http
            .post(format!("{}/_api/v1/cache-config/{CACHE}", self.base));
        let answer = request.bearer_auth(&self.token).json(&body).send().await?;
        ensure!(answer.status().is_success(), "{}", answer.text().await?);
        Ok(())
    }

    /// Pushes a NAR.
    ///
    /// # Errors
    /// When the server does not take it.
    pub async fn push(&self, nar: &Nar, bytes: &Bytes) -> Result<()> {
        let count = bytes.len().div_ceil(PIECE);
        let bytes = bytes.clone();
        let pieces = (0..count)
            .map(move |index| Ok(bytes.slice(index * PIECE..((index + 1) * PIECE).min(bytes.len()))));
        self.push_stream(nar, stream::iter(pieces)).await
    }

    /// Pushes a NAR that is made while it is sent.
    ///
    /// # Errors
    /// When the server does not take it.
    pub async fn push_stream(
        &self,
        nar: &Nar,
        pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<()> {
        let info = json!({
            "cache": CACHE,
            "store_path_hash": nar.hash(),
            "store_path": format!("/nix/store/{}", nar.base_name),
            "references": nar.references,
            "system": null, "deriver": null, "sigs": [], "ca": null,
            "nar_hash": format!("sha256:{}", nar.sha256),
            "nar_size": nar.size,
        });
        let answer = self
            .http
            .put(format!("{}/_api/v1/upload-path", self.base))
            .bearer_auth(&self.token)
            .header("X-Attic-Nar-Info", info.to_string())
            .body(reqwest::Body::wrap_stream(pieces))
            .send()
            .await?;
        let status = answer.status();
        if !status.is_success() {
            bail!(
                "{} was not taken: {status}: {}",
                nar.base_name,
                answer.text().await?
            );
        }
        Ok(())
    }

    /// The narinfo of a NAR.
    ///
    /// # Errors
    /// When there is none.
    pub async fn narinfo(&self, nar: &Nar) -> Result<String> {
        let url = format!("{}/{CACHE}/{}.narinfo", self.base, nar.hash());
        let answer = self.http.get(url).send().await?.error_for_status()?;
        Ok(answer.text().await?)
    }

    /// The body of a NAR as it is sent.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn body(&self, narinfo: &str) -> Result<impl Stream<Item = Result<Bytes>> + use<>> {
        let url = narinfo
            .lines()
            .find_map(|line| line.strip_prefix("URL: "))
            .context("no URL in the narinfo")?;
        let answer = self
            .http
            .get(format!("{}/{CACHE}/{url}", self.base))
            .send()
            .await?;
        Ok(answer
            .error_for_status()?
            .bytes_stream()
            .map_err(anyhow::Error::from))
    }

    /// Pulls a NAR, decompresses and hashes it, and compares.
    ///
    /// # Errors
    /// When anything of it is not what was pushed.
    pub async fn pull(&self, nar: &Nar) -> Result<()> {
        let narinfo = self.narinfo(nar).await?;
        let mut check = Check::new()?;
        let mut body = std::pin::pin!(self.body(&narinfo).await?);
        while let Some(bytes) = body.next().await {
            check.feed(&bytes?)?;
        }
        check.finish(&nar.base_name, &nar.sha256, nar.size)
    }
}

/// Decompresses and hashes.
pub struct Check(zstd::stream::write::Decoder<'static, Hasher>);

impl Check {
    /// For one stream of zstd frames.
    ///
    /// # Errors
    /// When no decoder can be made.
    pub fn new() -> Result<Self> {
        Ok(Self(zstd::stream::write::Decoder::new(Hasher {
            context: Context::new(&SHA256),
            size: 0,
        })?))
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// When they are no zstd.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.0.write_all(bytes)?)
    }

    /// Compares.
    ///
    /// # Errors
    /// When it is something else.
    pub fn finish(mut self, name: &str, sha256: &str, size: u64) -> Result<()> {
        self.0.flush()?;
        let hasher = self.0.into_inner();
        let actual = hex::encode(hasher.context.finish());
        ensure!(
            hasher.size == size && actual == sha256,
            "{name}: {} bytes with hash {actual} came instead of {size} with {sha256}",
            hasher.size
        );
        Ok(())
    }
}

struct Hasher {
    context: Context,
    size: u64,
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.context.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Does `work` for every item, `clients` at a time, largest first as they are given; the time it took.
///
/// # Errors
/// The first error of any.
pub async fn all<T, F>(
    clients: usize,
    items: Vec<T>,
    work: impl Fn(T) -> F + Send + Sync + 'static,
) -> Result<Duration>
where
    T: Send + Sync + Clone + 'static,
    F: Future<Output = Result<()>> + Send + 'static,
{
    let next = Arc::new(AtomicUsize::new(0));
    let (items, work) = (Arc::new(items), Arc::new(work));
    let begin = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|_| {
            let (next, items, work) = (Arc::clone(&next), Arc::clone(&items), Arc::clone(&work));
            tokio::spawn(async move {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(item.clone()).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(begin.elapsed())
}
