//! Clients that push and pull steadily, through the client that the gateway uses, and remember what was acknowledged.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use hayloft_api::agent::{HostDesired, S3Desired};
use hayloft_store::object::s3::{S3Config, S3Store};
use hayloft_store::object::{ObjectError, ObjectStore as _};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

/// The smallest object that Garage keeps as a block, and not beside its metadata, is a little over 3 KiB.
const SMALLEST: f64 = 4096.0;
const LARGEST: f64 = 2.0 * 1024.0 * 1024.0;
const WRITERS: u64 = 2;
const READERS: u64 = 2;
/// The longest that a gateway takes to hear of another key and to restart.
const RESTART: Duration = Duration::from_secs(10);
/// Each client waits so long between two requests, unless it is told to be gentle.
const REST: Duration = Duration::from_millis(120);

/// What clients met.
#[derive(Debug, Clone, Default)]
pub struct Score {
    /// Objects that were acknowledged.
    pub objects: Vec<u64>,
    /// Their bytes.
    pub bytes: u64,
    /// Reads that gave what was written.
    pub reads: u64,
    /// Requests that failed, also after the gateway's own retries, and reads that gave something else.
    pub failures: Vec<String>,
    /// The longest time that a request took.
    pub slowest: Duration,
}

impl Score {
    /// All requests.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.objects.len() as u64 + self.reads + self.failures.len() as u64
    }
}

struct Shared {
    score: Mutex<Score>,
    store: watch::Sender<Arc<S3Store>>,
    next: Mutex<u64>,
    /// Whether clients only pull for a while.
    quiet: AtomicBool,
    /// Times that each client rests longer.
    gentle: AtomicU32,
    began: Instant,
}

/// Clients at work.
pub struct Load {
    shared: Arc<Shared>,
    stop: CancellationToken,
    followers: CancellationToken,
    clients: JoinSet<()>,
}

impl Drop for Load {
    fn drop(&mut self) {
        self.followers.cancel();
    }
}

impl Load {
    /// Nobody is at work yet.
    #[must_use]
    pub fn new(config: &S3Config) -> Self {
        Self {
            shared: Arc::new(Shared {
                score: Mutex::default(),
                store: watch::Sender::new(Arc::new(S3Store::new(config))),
                next: Mutex::new(0),
                quiet: AtomicBool::new(false),
                gentle: AtomicU32::new(1),
                began: Instant::now(),
            }),
            stop: CancellationToken::new(),
            followers: CancellationToken::new(),
            clients: JoinSet::new(),
        }
    }

    /// Writes `count` objects before anything happens.
    ///
    /// # Errors
    /// When one is not taken.
    pub async fn fill(&self, count: usize) -> Result<()> {
        for _ in 0..count {
            self.shared.push().await;
        }
        let score = self.score();
        ensure!(score.failures.is_empty(), "{:?}", score.failures);
        Ok(())
    }

    /// From now on clients push and pull.
    pub fn begin(&mut self) {
        for n in 0..WRITERS + READERS {
            let (shared, stop) = (self.shared.clone(), self.stop.clone());
            self.clients.spawn(async move {
                let mut random = StdRng::seed_from_u64(n);
                while !stop.is_cancelled() {
                    if n < WRITERS {
                        if !shared.quiet.load(Ordering::Relaxed) {
                            shared.push().await;
                        }
                    } else {
                        shared.pull(random.random()).await;
                    }
                    tokio::time::sleep(REST * shared.gentle.load(Ordering::Relaxed)).await;
                }
            });
        }
    }

    /// From now on clients use what the host is told for its gateway.
    pub fn follow(&self, mut desired: watch::Receiver<Option<HostDesired>>) {
        let shared = self.shared.clone();
        let stop = self.followers.clone();
        tokio::spawn(async move {
            let mut known = desired.borrow().as_ref().and_then(bucket);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    changed = desired.changed() => if changed.is_err() { return },
                }
                let told = desired.borrow_and_update().as_ref().and_then(bucket);
                if let Some(config) = &told
                    && told != known
                {
                    shared.store.send_replace(Arc::new(S3Store::new(&S3Config {
                        endpoints: config.endpoints.clone(),
                        region: config.region.clone(),
                        bucket: config.bucket.clone(),
                        access_key_id: config.access_key_id.clone(),
                        secret_access_key: Zeroizing::new(config.secret_access_key.expose().to_owned()),
                    })));
                    known = told;
                }
            }
        });
    }

    /// Where the bucket is from now on, as a gateway is told.
    pub fn use_config(&self, config: &S3Config) {
        self.shared.store.send_replace(Arc::new(S3Store::new(config)));
    }

    /// Clients rest so many times longer from now on: for many daemons on few processors.
    pub fn be_gentle(&self, times: u32) {
        self.shared.gentle.store(times, Ordering::Relaxed);
    }

    /// Whether clients push nothing from now on. They go on pulling.
    pub fn only_pull(&self, only: bool) {
        self.shared.quiet.store(only, Ordering::Relaxed);
    }

    /// What was met so far.
    #[must_use]
    pub fn score(&self) -> Score {
        self.shared.score().clone()
    }

    /// Lets clients finish what they do.
    pub async fn end(&mut self) -> Score {
        self.stop.cancel();
        while self.clients.join_next().await.is_some() {}
        self.stop = CancellationToken::new();
        self.score()
    }

    /// Reads every object that was ever acknowledged, byte for byte.
    ///
    /// # Errors
    /// With the first that is not what it was.
    pub async fn read_all(&self) -> Result<usize> {
        let objects = self.shared.score().objects.clone();
        let store = self.shared.store.borrow().clone();
        for n in &objects {
            let read = store
                .get(&key(*n))
                .await
                .with_context(|| format!("object {n} was acknowledged"))?;
            ensure!(read == content(*n), "object {n} is not what was written");
        }
        Ok(objects.len())
    }
}

impl Shared {
    fn score(&self) -> std::sync::MutexGuard<'_, Score> {
        self.score.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self) -> Arc<S3Store> {
        self.store.borrow().clone()
    }

    /// A gateway that is told another key restarts, and its clients try once more. Whether it was.
    async fn gateway_restarts(&self) -> bool {
        let mut store = self.store.subscribe();
        let told = tokio::time::timeout(RESTART, store.changed()).await;
        matches!(told, Ok(Ok(())))
    }

    fn number(&self) -> u64 {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        *next += 1;
        *next
    }

    async fn push(&self) {
        let n = self.number();
        let body = content(n);
        let length = body.len() as u64;
        let began = Instant::now();
        let mut outcome = self.store().put(&key(n), body.clone()).await;
        if let Err(ObjectError::Refused { .. }) = outcome
            && self.gateway_restarts().await
        {
            outcome = self.store().put(&key(n), body).await;
        }
        let mut score = self.score();
        score.slowest = score.slowest.max(began.elapsed());
        match outcome {
            Ok(()) => {
                score.objects.push(n);
                score.bytes += length;
            }
            Err(error) => {
                let at = self.began.elapsed();
                let error = anyhow::Error::new(error);
                score
                    .failures
                    .push(format!("at {at:.1?}: push of object {n}: {error:#}"));
            }
        }
    }

    async fn pull(&self, dice: u64) {
        let n = {
            let score = self.score();
            match usize::try_from(dice)
                .ok()
                .and_then(|dice| dice.checked_rem(score.objects.len()))
            {
                Some(index) => score.objects.get(index).copied(),
                None => None,
            }
        };
        let Some(n) = n else { return };
        let began = Instant::now();
        let mut outcome = self.store().get(&key(n)).await;
        if let Err(ObjectError::Refused { .. }) = outcome
            && self.gateway_restarts().await
        {
            outcome = self.store().get(&key(n)).await;
        }
        let took = began.elapsed();
        let right = outcome.as_ref().is_ok_and(|body| *body == content(n));
        let mut score = self.score();
        score.slowest = score.slowest.max(took);
        if right {
            score.reads += 1;
            return;
        }
        let what = match outcome {
            Ok(_) => "it is not what was written".to_owned(),
            Err(error) => format!("{:#}", anyhow::Error::new(error)),
        };
        let at = self.began.elapsed();
        score
            .failures
            .push(format!("at {at:.1?}: pull of object {n}: {what}"));
    }
}

fn bucket(desired: &HostDesired) -> Option<S3Desired> {
    Some(desired.gateway.as_ref()?.s3.clone())
}

fn key(n: u64) -> String {
    format!("load/{n:06}")
}

/// The content of an object follows from its number. Sizes are spread evenly over orders of magnitude.
fn content(n: u64) -> Bytes {
    let mut random = StdRng::seed_from_u64(n);
    let size = SMALLEST * (LARGEST / SMALLEST).powf(random.random::<f64>());
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 4 KiB and 2 MiB"
    )]
    let mut bytes = vec![0; size as usize];
    random.fill(bytes.as_mut_slice());
    bytes.into()
}
