//! Anything in any order: pushes, pulls, pins, time that passes, collections, crashes. Whatever happens, what must be
//! there is there byte for byte, and in the end nothing is left of what nobody keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use hayloft_store::object::memory::Fault;
use jiff::Timestamp;
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::*;

const DAY: i64 = 86_400;
const RETENTION: i64 = 30 * DAY;
const PATHS: u32 = 12;

#[derive(Clone, Debug)]
enum Act {
    /// Pushes a path; those before it that the mask names are its references. Contents are shared by neighbours.
    Push(u32, u8),
    Pull(u32),
    Pin(u32, i64),
    Unpin,
    Pass(i64),
    Collect,
    /// The process dies, after so many more writes, while it collects; another goes on.
    Crash(usize, bool),
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..PATHS, any::<u8>()).prop_map(|(n, refs)| Act::Push(n, refs)),
        2 => (0..PATHS).prop_map(Act::Pull),
        1 => (0..PATHS, 1..80_i64).prop_map(|(n, days)| Act::Pin(n, days)),
        1 => Just(Act::Unpin),
        3 => (1..25_i64).prop_map(Act::Pass),
        3 => Just(Act::Collect),
        1 => (0..8_usize, any::<bool>()).prop_map(|(write, heard)| Act::Crash(write, heard)),
        1 => Just(Act::Restart),
    ]
}

/// What must be there, by what was done.
#[derive(Default)]
struct Expected {
    /// When each path was wanted last, and what it refers to.
    paths: BTreeMap<u32, (i64, Vec<u32>)>,
    pin: Option<(u32, i64)>,
}

impl Expected {
    /// The paths that must be there: wanted in time or pinned, and what these refer to.
    fn kept(&self, now: i64) -> BTreeSet<u32> {
        let recent = self.paths.iter().filter(|(_, (last, _))| now - last <= RETENTION);
        let mut frontier: Vec<u32> = recent.map(|(n, _)| *n).collect();
        frontier.extend(self.pin.filter(|(_, until)| *until > now).map(|(n, _)| n));
        let mut kept = BTreeSet::new();
        while let Some(n) = frontier.pop() {
            if kept.insert(n)
                && let Some((_, references)) = self.paths.get(&n)
            {
                // A reference that was never pushed, or went before, is not there to be kept.
                frontier.extend(references.iter().filter(|n| self.paths.contains_key(n)));
            }
        }
        kept
    }
}

struct Garden {
    world: World,
    now: Arc<AtomicI64>,
    depot: Depot,
    folders: u32,
    expected: Expected,
}

fn contents(n: u32) -> Vec<u8> {
    // Halves are shared with the neighbours.
    let mut bytes = noise(u64::from(n), 150_000);
    bytes.extend(noise(u64::from(n + 1), 150_000));
    bytes
}

impl Garden {
    async fn new() -> Self {
        let world = World::new();
        let now = Arc::new(AtomicI64::new(20_000 * DAY));
        let depot = open(&world, &now, "0").await;
        let mut cache = new_cache("main");
        cache.retention = Some(u32::try_from(RETENTION).unwrap());
        depot.create_cache(cache).await.unwrap();
        Self {
            world,
            now,
            depot,
            folders: 0,
            expected: Expected::default(),
        }
    }

    fn now(&self) -> i64 {
        self.now.load(Ordering::Relaxed)
    }

    fn path(n: u32, references: &[u32]) -> Sample {
        let mut sample = sample(&hash(n), contents(n));
        sample.info.references = references
            .iter()
            .map(|n| format!("{}-sample", hash(*n)))
            .collect();
        sample.info.references.sort();
        sample
    }

    async fn note(&self) {
        let inner = &self.depot.inner;
        inner.uses.note(&inner.index, &inner.committer).await;
        inner.collector.note_age().await.unwrap();
    }

    async fn collect(&self) {
        self.depot
            .collect(false, &CancellationToken::new(), &(Arc::new(|_| {}) as _))
            .await
            .unwrap();
    }

    /// Another process goes on: with the same index, or with none.
    async fn reopen(&mut self, lost: bool) {
        self.folders += u32::from(lost);
        self.depot = open(&self.world, &self.now, &self.folders.to_string()).await;
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::Push(n, mask) => {
                let references: Vec<u32> = (0..n.min(8)).filter(|m| mask & (1 << m) != 0).collect();
                push(&self.depot, &Self::path(n, &references)).await.unwrap();
                self.expected.paths.insert(n, (self.now(), references));
            }
            Act::Pull(n) => {
                let (hash, now) = (hash(n).parse().unwrap(), self.now());
                if pull(&self.depot, &hash).await.unwrap().is_some()
                    && let Some((last, _)) = self.expected.paths.get_mut(&n)
                {
                    *last = now;
                }
            }
            Act::Pin(n, days) => {
                let now = self.now();
                let until = now + days * DAY;
                let at = Timestamp::from_second(until).unwrap();
                let hashes = [hash(n).parse().unwrap()];
                if self.depot.pin(&main(), "pin", &hashes, Some(at)).await.is_ok() {
                    self.expected.pin = Some((n, until));
                    // Whoever pins asks whether it is there.
                    if let Some((last, _)) = self.expected.paths.get_mut(&n) {
                        *last = now;
                    }
                }
            }
            Act::Unpin => {
                self.depot.unpin(&main(), "pin").await.unwrap();
                self.expected.pin = None;
            }
            Act::Pass(days) => {
                self.note().await;
                self.now.fetch_add(days * DAY, Ordering::Relaxed);
            }
            Act::Collect => self.collect().await,
            Act::Crash(write, heard) => {
                self.note().await;
                self.now.fetch_add(2 * 3600, Ordering::Relaxed);
                let fault = if heard { Fault::Lost } else { Fault::Unheard };
                self.world
                    .bucket
                    .set_faults(Some(Box::new(move |number, _| match number.cmp(&write) {
                        std::cmp::Ordering::Less => Fault::None,
                        std::cmp::Ordering::Equal => fault,
                        std::cmp::Ordering::Greater => Fault::Lost,
                    })));
                let stop = CancellationToken::new();
                let listener: crate::depot::Listener = Arc::new(|_| {});
                let collecting = self.depot.collect(false, &stop, &listener);
                let _ = tokio::time::timeout(Duration::from_millis(60), collecting).await;
                self.world.bucket.set_faults(None);
                self.reopen(true).await;
            }
            Act::Restart => {
                self.depot.inner.collector.note_age().await.unwrap();
                self.depot.close().await;
                self.reopen(false).await;
            }
        }
        self.check().await;
    }

    /// Everything that must be there is, whatever else may be, too.
    async fn check(&mut self) {
        let kept = self.expected.kept(self.now());
        let mut gone = Vec::new();
        for (n, (_, references)) in &self.expected.paths {
            let sample = Self::path(*n, references);
            let hashes = [sample.info.store_path_hash];
            // Not through the depot: that would be a use.
            let index = &self.depot.inner.index;
            if !index.present(&main(), &hashes).await.unwrap().is_empty() {
                let manifest = index.manifest(&main(), &hashes[0]).await.unwrap().unwrap();
                let body = self
                    .depot
                    .inner
                    .reader
                    .nar(&main(), &hashes[0], None)
                    .await
                    .unwrap();
                let bytes = collect(body).await;
                assert!(
                    zstd::decode_all(bytes.as_slice()).unwrap() == sample.nar,
                    "path {n}"
                );
                drop(manifest);
            } else {
                assert!(!kept.contains(n), "path {n} must be there");
                gone.push(*n);
            }
        }
        for n in gone {
            self.expected.paths.remove(&n);
        }
    }

    fn stored(&self) -> usize {
        let keys = self.world.bucket.keys();
        let packs = keys.iter().filter(|key| key.starts_with("pack/"));
        packs.map(|key| self.world.bucket.size(key)).sum()
    }
}

async fn open(world: &World, now: &Arc<AtomicI64>, folder: &str) -> Depot {
    let now = Arc::clone(now);
    let effects = Effects {
        clock: Arc::new(move || Timestamp::from_second(now.load(Ordering::Relaxed)).unwrap()),
        seed: [SEEDS.fetch_add(1, Ordering::Relaxed); 32],
    };
    let store: SharedStore = Arc::clone(&world.bucket) as SharedStore;
    let key = ClusterKey::from_random([5; 32]);
    // Packs stay a while after they are given up, and an abandoned one is taken for that at once.
    let mut upkeep = settings();
    upkeep.collect.abandoned_after = Duration::from_secs(3600);
    Depot::open_on(
        store,
        &world.dir.path().join(folder),
        &key,
        MEMORY,
        upkeep,
        effects,
    )
    .await
    .unwrap()
}

async fn story(acts: Vec<Act>) {
    let mut garden = Garden::new().await;
    for act in acts {
        garden.act(act).await;
    }
    // Time passes and nobody asks for anything: all of it goes.
    garden.act(Act::Unpin).await;
    garden.note().await;
    for _ in 0..3 {
        garden.now.fetch_add(40 * DAY, Ordering::Relaxed);
        garden.collect().await;
    }
    assert_eq!(garden.stored(), 0, "bytes are left of what nobody keeps");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn what_must_be_there_is_there_and_what_nobody_keeps_goes(acts in proptest::collection::vec(act(), 5..30)) {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(story(acts));
    }
}
