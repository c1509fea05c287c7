//! One run of one column: a fresh server on a fresh bucket, and all rows that need what was pushed to it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt as _;
use hayloft_garage_fixture::Garage;
use hayloft_store::object::ObjectStore as _;

use crate::client::{CACHE, Client, all};
use crate::column::{Bucket, Nginx, Running, Server};
use crate::corpus::{Corpora, Nar};
use crate::plan::{Plan, Row};
use crate::probe::{Apart, p99, rate};
use crate::process::drop_caches;
use crate::results::{Results, median};
use crate::say;

/// NARs in memory, largest first.
pub type Loaded = Vec<(Nar, Bytes)>;

/// What all cycles share.
pub struct Bench {
    /// What to measure.
    pub plan: Plan,
    /// Whether this Garage flushes.
    pub fsync: bool,
    /// The cluster.
    pub garage: Garage,
    /// First version.
    pub first: Loaded,
    /// Second version.
    pub second: Loaded,
    /// Mass rebuild.
    pub rebuilt: Loaded,
    /// The big one.
    pub large: Loaded,
    /// What was found.
    pub results: Results,
}

impl Bench {
    /// Loads what the plan needs.
    ///
    /// # Errors
    /// When a corpus was changed.
    pub fn new(plan: Plan, fsync: bool, garage: Garage, corpora: &Corpora) -> Result<Self> {
        let load = |generation: &[Nar], needed: bool| -> Result<Loaded> {
            if !needed {
                return Ok(Vec::new());
            }
            let mut loaded = corpora.load(generation)?;
            loaded.sort_by_key(|(nar, _)| std::cmp::Reverse(nar.size));
            Ok(loaded)
        };
        let generations = plan.has(Row::Stored) || plan.has(Row::Rebuild);
        Ok(Self {
            first: load(&corpora.first, true)?,
            second: load(&corpora.second, plan.has(Row::Stored) || plan.has(Row::Scale))?,
            rebuilt: load(&corpora.rebuilt, generations)?,
            large: load(&corpora.large, plan.has(Row::Big))?,
            plan,
            fsync,
            garage,
            results: Results::default(),
        })
    }

    /// Notes a number.
    pub fn note(&mut self, row: &'static str, column: &str, unit: &'static str, value: f64) {
        let fsync = if self.fsync { ", fsync" } else { "" };
        say(&format!("  {column}: {row}{fsync}: {value:.1} {unit}"));
        self.results.add(row, self.fsync, column, unit, value);
    }

    /// One run of a server; `first` is the first of its runs.
    ///
    /// # Errors
    /// When anything goes wrong: a number from a run that failed is none.
    pub async fn cycle(&mut self, server: &impl Server, bucket: &Bucket, first: bool) -> Result<()> {
        let column = server.name();
        let clients = self.plan.clients;
        let mut running = server.start().await?;
        drop_caches();
        let took = push_all(&running.client, &self.first, clients).await?;
        self.note("push", column, "MB/s", speed(&self.first, took));
        self.note_cpu("push", column, &running, &self.first.clone())?;
        // Sizes are the same every time.
        if self.plan.has(Row::Stored) && first {
            let mut before = self.stored("stored, first version", column, bucket, 0.0).await?;
            push_all(&running.client, &self.second.clone(), clients).await?;
            before += self
                .stored("stored more, second version", column, bucket, before)
                .await?;
            let took = push_all(&running.client, &self.rebuilt.clone(), clients).await?;
            self.note("push of the rebuild", column, "MB/s", speed(&self.rebuilt, took));
            self.stored("stored more, mass rebuild", column, bucket, before)
                .await?;
        } else if self.plan.has(Row::Rebuild) {
            let took = push_all(&running.client, &self.rebuilt.clone(), clients).await?;
            self.note("push of the rebuild", column, "MB/s", speed(&self.rebuilt, took));
        }
        if self.plan.has(Row::Ack) {
            self.acknowledge(column, &running.client).await?;
        }
        if self.plan.has(Row::Big) {
            drop_caches();
            let took = push_all(&running.client, &self.large, 1).await?;
            self.note("big NAR, push", column, "MB/s", speed(&self.large, took));
        }
        if self.plan.reads() {
            running = self.pulls(server, running).await?;
        }
        if self.plan.has(Row::Narinfo) {
            self.narinfo(column, &running).await?;
        }
        running.process.stop().await
    }

    async fn pulls(&mut self, server: &impl Server, mut running: Running) -> Result<Running> {
        let column = server.name();
        let clients = self.plan.clients;
        if self.plan.has(Row::Pull) || self.plan.has(Row::Hot) {
            running = again(server, running).await?;
            let took = pull_all(&running.client, &self.first, clients).await?;
            self.note("pull, cold", column, "MB/s", speed(&self.first, took));
            self.note_cpu("pull, cold", column, &running, &self.first.clone())?;
        }
        if self.plan.has(Row::Hot) {
            let mut best = Vec::new();
            for _ in 0..2 {
                best.push(speed(
                    &self.first,
                    pull_all(&running.client, &self.first, clients).await?,
                ));
            }
            self.note("pull, hot", column, "MB/s", median(&best));
        }
        if !self.rebuilt.is_empty() {
            running = again(server, running).await?;
            let took = pull_all(&running.client, &self.rebuilt, clients).await?;
            self.note(
                "pull of the rebuild, cold",
                column,
                "MB/s",
                speed(&self.rebuilt, took),
            );
            if column == "hayloft"
                && let Some(pull) = self
                    .results
                    .measures
                    .iter()
                    .find(|m| m.row == "pull, cold" && m.column == column && m.fsync == self.fsync)
                && let Some(latest) = pull.runs.last().copied()
            {
                let fsync = self.fsync;
                self.results.add(
                    "pull of the rebuild, cold",
                    fsync,
                    "first version",
                    "MB/s",
                    latest,
                );
            }
        }
        if self.plan.has(Row::Big) {
            running = again(server, running).await?;
            let took = pull_all(&running.client, &self.large, 1).await?;
            self.note("big NAR, pull, cold", column, "MB/s", speed(&self.large, took));
        }
        Ok(running)
    }

    /// Processor time of the server alone, for each GB of NAR.
    fn note_cpu(
        &mut self,
        row: &'static str,
        column: &str,
        running: &Running,
        loaded: &Loaded,
    ) -> Result<()> {
        let name = match row {
            "push" => "server's processor time, push",
            _ => "server's processor time, cold pull",
        };
        let cpu = running.process.cpu()? / (total(loaded) / 1e9);
        self.note(name, column, "s/GB", cpu);
        Ok(())
    }

    async fn stored(&mut self, row: &'static str, column: &str, bucket: &Bucket, before: f64) -> Result<f64> {
        // Garage counts a little behind.
        let mut bytes = 0;
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let now = self.garage.bucket_bytes(&bucket.name).await?;
            if now == bytes && now > 0 {
                break;
            }
            bytes = now;
        }
        #[expect(clippy::cast_precision_loss, reason = "a size for people")]
        let more = bytes as f64 / 1e6 - before;
        self.note(row, column, "MB", more);
        Ok(more)
    }

    async fn acknowledge(&mut self, column: &str, client: &Client) -> Result<()> {
        let mut times = Vec::new();
        for index in 0..self.plan.acknowledgements {
            let (nar, bytes) = small(column, self.plan.salt + index, 10_000)?;
            let begin = Instant::now();
            client.push(&nar, &bytes).await?;
            times.push(begin.elapsed().as_secs_f64() * 1000.0);
        }
        self.plan.salt += self.plan.acknowledgements;
        self.note("one 10 KB path", column, "ms", median(&times));
        Ok(())
    }

    /// The same with nothing but Garage.
    ///
    /// # Errors
    /// When Garage does not take an object.
    pub async fn garage_put(&mut self, bucket: &Bucket) -> Result<()> {
        let store = bucket.store();
        let mut times = Vec::new();
        for index in 0..self.plan.acknowledgements {
            let (_, bytes) = small("put", index, 10_000)?;
            let begin = Instant::now();
            store.put(&format!("put/{index}"), bytes).await?;
            times.push(begin.elapsed().as_secs_f64() * 1000.0);
        }
        self.note("one 10 KB path", "Garage PUT", "ms", median(&times));
        Ok(())
    }

    async fn narinfo(&mut self, column: &str, running: &Running) -> Result<()> {
        let path = |hash: &str| format!("/{CACHE}/{hash}.narinfo");
        let hits: Vec<String> = self.first.iter().map(|(nar, _)| path(nar.hash())).collect();
        let misses: Vec<String> = missing_hashes(1000)?.iter().map(|hash| path(hash)).collect();
        let (time, connections) = (self.plan.narinfo_time, 16);
        let address = running.address.clone();
        for (row, paths, status) in [
            ("narinfo, hits", hits.clone(), 200),
            ("narinfo, misses", misses, 404),
        ] {
            let address = address.clone();
            let ask = move || rate(&address, &paths, status, connections, time);
            let rate = tokio::task::spawn_blocking(ask).await??;
            self.note(row, column, "1/s", rate);
        }
        let probe = Apart::start(&address, &hits)?;
        pull_all(&running.client, &self.first, self.plan.clients).await?;
        let times = tokio::task::spawn_blocking(move || probe.stop()).await??;
        self.note("narinfo p99 beside a pull", column, "ms", p99(times));
        Ok(())
    }

    /// Writes what the server sends for the first version as files, for nginx; the bodies in order.
    ///
    /// # Errors
    /// When the disk is full.
    pub async fn save_bodies(&self, client: &Client, files: &Path) -> Result<Vec<Bytes>> {
        fs::create_dir_all(files.join(CACHE).join("nar"))?;
        fs::write(files.join("ready"), "ready\n")?;
        let mut bodies = Vec::new();
        for (nar, _) in &self.first {
            let narinfo = client.narinfo(nar).await?;
            let pieces: Vec<Bytes> = client.body(&narinfo).await?.try_collect().await?;
            let mut body = BytesMut::new();
            pieces.iter().for_each(|piece| body.extend_from_slice(piece));
            fs::write(Nginx::narinfo(files, nar.hash()), narinfo)?;
            fs::write(Nginx::nar(files, nar.hash()), &body)?;
            bodies.push(body.freeze());
        }
        Ok(bodies)
    }

    /// nginx on those files.
    ///
    /// # Errors
    /// When a file is not what was saved.
    pub async fn static_files(&mut self, server: &Nginx) -> Result<()> {
        let clients = self.plan.clients;
        let running = server.start().await?;
        drop_caches();
        let took = pull_all(&running.client, &self.first, clients).await?;
        self.note("pull, cold", "nginx", "MB/s", speed(&self.first, took));
        let mut best = Vec::new();
        for _ in 0..2 {
            best.push(speed(
                &self.first,
                pull_all(&running.client, &self.first, clients).await?,
            ));
        }
        self.note("pull, hot", "nginx", "MB/s", median(&best));
        if self.plan.has(Row::Narinfo) {
            self.narinfo("nginx", &running).await?;
        }
        running.process.stop().await
    }
}

async fn again(server: &impl Server, running: Running) -> Result<Running> {
    running.process.stop().await?;
    let running = server.start().await?;
    drop_caches();
    Ok(running)
}

/// Pushes everything.
///
/// # Errors
/// When anything is not taken.
pub async fn push_all(client: &Client, loaded: &Loaded, clients: usize) -> Result<Duration> {
    let client = client.clone();
    all(clients, loaded.clone(), move |(nar, bytes)| {
        let client = client.clone();
        async move { client.push(&nar, &bytes).await }
    })
    .await
}

/// Pulls everything, and checks every byte.
///
/// # Errors
/// When anything is not what was pushed.
pub async fn pull_all(client: &Client, loaded: &Loaded, clients: usize) -> Result<Duration> {
    let client = client.clone();
    let nars: Vec<Nar> = loaded.iter().map(|(nar, _)| nar.clone()).collect();
    all(clients, nars, move |nar| {
        let client = client.clone();
        async move { client.pull(&nar).await.with_context(|| nar.base_name.clone()) }
    })
    .await
}

#[expect(clippy::cast_precision_loss, reason = "a size for people")]
fn total(loaded: &Loaded) -> f64 {
    loaded.iter().map(|(nar, _)| nar.size as f64).sum()
}

/// Megabytes of NAR a second.
#[must_use]
pub fn speed(loaded: &Loaded, took: Duration) -> f64 {
    total(loaded) / 1e6 / took.as_secs_f64()
}

/// Hashes that no path has.
///
/// # Errors
/// Never: a NAR in memory can be written.
pub fn missing_hashes(count: usize) -> Result<Vec<String>> {
    (0..count)
        .map(|index| Ok(small("missing", index, 500)?.0.hash().to_owned()))
        .collect()
}

/// A NAR of one small file whose content nobody has.
fn small(column: &str, index: usize, size: usize) -> Result<(Nar, Bytes)> {
    let seed = crate::corpus::sha256(format!("{column}/{index}").as_bytes());
    // Nothing that compresses: a server must not get away with less than it was sent.
    let contents = (0..size.div_ceil(32))
        .flat_map(|block| crate::corpus::digest(format!("{seed}/{block}").as_bytes()))
        .take(size)
        .collect();
    let mut bytes = Vec::new();
    let file = hayloft_nixcache::nar::Node::File {
        executable: false,
        contents,
    };
    hayloft_nixcache::nar::write(&file, &mut bytes)?;
    let digest = hex::decode(seed.get(..40).context("a short hash")?)?;
    let nar = Nar {
        base_name: format!("{}-small", hayloft_nixcache::nix32::encode(&digest)),
        references: Vec::new(),
        sha256: crate::corpus::sha256(&bytes),
        size: bytes.len() as u64,
        file: std::path::PathBuf::new(),
    };
    Ok((nar, Bytes::from(bytes)))
}
