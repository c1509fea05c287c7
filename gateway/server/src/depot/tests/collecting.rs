//! Collection: what nothing keeps goes, what anything needs stays, whatever happens meanwhile.

use std::sync::Mutex;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use hayloft_store::object::memory::Fault;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::depot::collect::{CollectError, CollectReport};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// A gateway whose clock the test sets.
struct Timed {
    world: World,
    now: Arc<AtomicI64>,
    grace: Duration,
}

impl Timed {
    fn new() -> Self {
        Self {
            world: World::new(),
            now: Arc::new(AtomicI64::new(20_000 * DAY)),
            grace: Duration::ZERO,
        }
    }

    fn pass(&self, seconds: i64) {
        self.now.fetch_add(seconds, Ordering::Relaxed);
    }

    async fn open(&self, folder: &str) -> Depot {
        let now = Arc::clone(&self.now);
        let effects = Effects {
            clock: Arc::new(move || Timestamp::from_second(now.load(Ordering::Relaxed)).unwrap()),
            seed: [SEEDS.fetch_add(1, Ordering::Relaxed); 32],
        };
        let store: SharedStore = Arc::clone(&self.world.bucket) as SharedStore;
        let key = ClusterKey::from_random([5; 32]);
        let dir = self.world.dir.path().join(folder);
        let mut settings = settings();
        settings.collect.grace = self.grace;
        let depot = Depot::open_on(store, &dir, &key, MEMORY, settings, effects)
            .await
            .unwrap();
        if depot.cache(&main()).await.unwrap().is_none() {
            let mut cache = new_cache("main");
            cache.retention = Some(30 * 86_400);
            depot.create_cache(cache).await.unwrap();
        }
        depot
    }

    fn packs(&self) -> usize {
        let keys = self.world.bucket.keys();
        keys.iter().filter(|key| key.starts_with("pack/")).count()
    }

    fn pack_bytes(&self) -> usize {
        let keys = self.world.bucket.keys();
        let packs = keys.iter().filter(|key| key.starts_with("pack/"));
        packs.map(|key| self.world.bucket.size(key)).sum()
    }
}

async fn look(depot: &Depot) -> CollectReport {
    collect_once(depot, true).await.unwrap()
}

async fn collect_all(depot: &Depot) -> CollectReport {
    collect_once(depot, false).await.unwrap()
}

async fn collect_once(depot: &Depot, dry_run: bool) -> Result<CollectReport, CollectError> {
    depot
        .collect(dry_run, &CancellationToken::new(), &(Arc::new(|_| {}) as _))
        .await
}

/// A path that refers to others.
fn referring(n: u32, length: usize, to: &[u32]) -> Sample {
    let mut sample = sample(&hash(n), noise(u64::from(n), length));
    sample.info.references = to.iter().map(|n| format!("{}-sample", hash(*n))).collect();
    sample.info.references.sort();
    sample
}

async fn is_there(depot: &Depot, sample: &Sample) -> bool {
    let hashes = [sample.info.store_path_hash];
    // Asking the index: asking the depot would be a use.
    depot.inner.index.present(&main(), &hashes).await.unwrap().len() == 1
}

#[tokio::test]
async fn what_nobody_asks_for_goes_with_its_bytes_and_what_is_referred_to_stays() {
    let timed = Timed::new();
    let depot = timed.open("a").await;
    let library = referring(1, 200_000, &[]);
    let old = referring(2, 200_000, &[]);
    push(&depot, &library).await.unwrap();
    push(&depot, &old).await.unwrap();
    depot.inner.collector.note_age().await.unwrap();
    timed.pass(20 * DAY);
    let program = referring(3, 200_000, &[1, 3]);
    push(&depot, &program).await.unwrap();
    timed.pass(15 * DAY);
    let before = timed.pack_bytes();
    let looked = look(&depot).await;
    assert!(is_there(&depot, &old).await, "looking changes nothing");
    let done = collect_all(&depot).await;
    assert_eq!(looked.caches, done.caches);
    assert_eq!((done.caches[0].kept.count, done.caches[0].expired.count), (2, 1));
    assert_eq!(looked.packs.dead, done.packs.dead);
    assert_eq!(done.packs.dead.count, 1);
    assert_eq!(done.packs.deleted.count, 1);
    assert_eq!(timed.packs(), 2);
    assert!(timed.pack_bytes() < before * 7 / 10);
    assert!(!is_there(&depot, &old).await);
    assert_there(&depot, &library).await;
    assert_there(&depot, &program).await;
    // The next one finds nothing to do, and another gateway sees the same.
    assert_eq!(collect_all(&depot).await.packs.dead.count, 0);
    depot.close().await;
    let depot = timed.open("b").await;
    assert!(!is_there(&depot, &old).await);
    assert_there(&depot, &program).await;
    // What went can be pushed again, with the same NAR hash only.
    push(&depot, &old).await.unwrap();
    assert_there(&depot, &old).await;
    let mut other = referring(2, 100, &[]);
    other.info.store_path = old.info.store_path.clone();
    assert!(matches!(
        push(&depot, &other).await,
        Err(UploadError::OtherNarHash { .. })
    ));
}

#[tokio::test]
async fn what_is_asked_for_stays_and_every_gateway_knows_of_it() {
    let timed = Timed::new();
    let depot = timed.open("a").await;
    let library = referring(1, 1000, &[]);
    let program = referring(2, 1000, &[1]);
    let other = referring(3, 1000, &[]);
    for sample in [&library, &program, &other] {
        push(&depot, sample).await.unwrap();
    }
    timed.pass(25 * DAY);
    let hash = &program.info.store_path_hash;
    for _ in 0..3 {
        depot.path(&main(), hash).await.unwrap().unwrap();
    }
    let log = |timed: &Timed| {
        timed
            .world
            .bucket
            .keys()
            .iter()
            .filter(|key| key.starts_with("log/"))
            .count()
    };
    let before = log(&timed);
    depot
        .inner
        .uses
        .note(&depot.inner.index, &depot.inner.committer)
        .await;
    depot.path(&main(), hash).await.unwrap().unwrap();
    depot
        .inner
        .uses
        .note(&depot.inner.index, &depot.inner.committer)
        .await;
    assert_eq!(log(&timed), before + 1, "a use is noted once a day");
    depot.close().await;
    timed.pass(20 * DAY);
    let depot = timed.open("another").await;
    collect_all(&depot).await;
    assert!(is_there(&depot, &program).await && is_there(&depot, &library).await);
    assert!(!is_there(&depot, &other).await);
}

#[tokio::test]
async fn what_was_asked_for_just_now_stays_although_it_is_not_noted_yet() {
    let timed = Timed::new();
    let depot = timed.open("a").await;
    let program = referring(2, 1000, &[]);
    push(&depot, &program).await.unwrap();
    timed.pass(40 * DAY);
    let asked = [program.info.store_path_hash];
    assert!(depot.missing(&main(), &asked).await.unwrap().is_empty());
    collect_all(&depot).await;
    assert!(is_there(&depot, &program).await);
}

#[tokio::test]
async fn a_pin_keeps_a_closure_until_its_time_is_over() {
    let timed = Timed::new();
    let depot = timed.open("a").await;
    let samples: Vec<Sample> = (1..=4).map(|n| referring(n, 1000, &[n - 1])).collect();
    for sample in &samples {
        push(&depot, sample).await.unwrap();
    }
    let until = Timestamp::from_second(timed.now.load(Ordering::Relaxed) + 100 * DAY).unwrap();
    let release = [samples[2].info.store_path_hash];
    depot
        .pin(&main(), "release", &release, Some(until))
        .await
        .unwrap();
    assert!(matches!(
        depot.pin(&main(), "x", &[hash(77).parse().unwrap()], None).await,
        Err(crate::depot::DepotError::Invalid(text)) if text.contains("push them first")
    ));
    timed.pass(50 * DAY);
    collect_all(&depot).await;
    for sample in &samples[..3] {
        assert_there(&depot, sample).await;
    }
    assert!(!is_there(&depot, &samples[3]).await);
    timed.pass(60 * DAY);
    // What was pulled above counts as asked for.
    collect_all(&depot).await;
    assert!(!is_there(&depot, &samples[2]).await);
    assert!(depot.unpin(&main(), "release").await.unwrap());
    assert!(!depot.unpin(&main(), "release").await.unwrap());
}

#[tokio::test]
async fn a_cache_that_is_too_large_loses_the_closures_first_that_nobody_asked_for_longest() {
    let timed = Timed::new();
    let depot = timed.open("a").await;
    let mut samples = Vec::new();
    for n in 0..10 {
        // Every second one is the library of the one before it.
        let to: &[u32] = if n % 2 == 0 { &[n + 1] } else { &[] };
        samples.push(referring(n, 10_000, to));
    }
    for sample in &samples {
        push(&depot, sample).await.unwrap();
        timed.pass(DAY);
    }
    // The first program is wanted again.
    depot
        .path(&main(), &samples[0].info.store_path_hash)
        .await
        .unwrap()
        .unwrap();
    let size = depot
        .path(&main(), &samples[9].info.store_path_hash)
        .await
        .unwrap()
        .unwrap()
        .file_size;
    timed.pass(DAY);
    depot.limit(&main(), Some(size * 5 + size / 2)).await.unwrap();
    let done = collect_all(&depot).await;
    assert_eq!(
        (done.caches[0].kept.count, done.caches[0].over_limit.count),
        (5, 5)
    );
    let mut there = Vec::new();
    for (n, sample) in samples.iter().enumerate() {
        if is_there(&depot, sample).await {
            there.push(n);
        }
    }
    // 9 and 0 were asked for last, with 1; then 8, and 7.
    assert_eq!(there, [0, 1, 7, 8, 9]);
    depot.limit(&main(), None).await.unwrap();
    assert_eq!(collect_all(&depot).await.caches[0].over_limit.count, 0);
}

#[tokio::test]
async fn what_is_left_of_packs_that_are_mostly_dead_is_moved_together() {
    let timed = Timed::new();
    let depot = timed.open("a").await;
    // Uploads under way together share packs.
    let samples: Vec<Sample> = (0..12).map(|n| referring(n, 300_000, &[])).collect();
    for together in samples.chunks(6) {
        let pushed = futures::future::join_all(together.iter().map(|sample| push(&depot, sample))).await;
        assert!(pushed.iter().all(Result::is_ok));
    }
    let wanted = || samples.iter().step_by(6);
    depot.inner.collector.note_age().await.unwrap();
    timed.pass(20 * DAY);
    for sample in wanted() {
        depot
            .path(&main(), &sample.info.store_path_hash)
            .await
            .unwrap()
            .unwrap();
    }
    timed.pass(20 * DAY);
    let before = timed.pack_bytes();
    let done = collect_all(&depot).await;
    assert_eq!(done.caches[0].expired.count, 10);
    assert!(
        timed.pack_bytes() < before * 2 / 10,
        "{before} {} {done:?}",
        timed.pack_bytes()
    );
    let depot = {
        depot.close().await;
        timed.open("fresh").await
    };
    for sample in wanted() {
        assert_there(&depot, sample).await;
    }
    // Damage to the new pack concerns the paths that were moved there.
    for key in timed.world.bucket.keys() {
        if key.starts_with("pack/") {
            timed.world.bucket.tamper(&key, None);
        }
    }
    depot.close().await;
    let depot = timed.open("again").await;
    for sample in wanted() {
        assert!(!matches!(
            pull(&depot, &sample.info.store_path_hash).await,
            Ok(Some(_))
        ));
        assert!(!is_there(&depot, sample).await);
        push(&depot, sample).await.unwrap();
        assert_there(&depot, sample).await;
    }
}

#[tokio::test]
async fn many_small_packs_become_one() {
    let timed = Timed::new();
    let depot = timed.open("a").await;
    let samples: Vec<Sample> = (0..20).map(|n| referring(n, 5_000, &[])).collect();
    for sample in &samples {
        push(&depot, sample).await.unwrap();
    }
    assert_eq!(timed.packs(), 20);
    depot.inner.collector.note_age().await.unwrap();
    timed.pass(2 * HOUR);
    let done = collect_all(&depot).await;
    assert_eq!(done.packs.compacted.count, 20);
    assert_eq!(timed.packs(), 1);
    for sample in &samples {
        assert_there(&depot, sample).await;
    }
    timed.pass(2 * HOUR);
    assert_eq!(collect_all(&depot).await.packs.compacted.count, 0);
}

#[tokio::test]
async fn a_pack_of_no_record_is_given_up_after_its_time_and_deleted_again_when_it_comes_back() {
    let timed = Timed::new();
    let depot = timed.open("a").await;
    let key = format!("pack/{}", "ab".repeat(16));
    timed.world.bucket.tamper(&key, Some("left over".into()));
    collect_all(&depot).await;
    timed.pass(47 * HOUR);
    let done = collect_all(&depot).await;
    assert_eq!(done.packs.abandoned.count, 0);
    assert_eq!(timed.packs(), 1);
    timed.pass(2 * HOUR);
    assert_eq!(look(&depot).await.packs.abandoned.count, 1);
    let done = collect_all(&depot).await;
    assert_eq!((done.packs.abandoned.count, done.packs.deleted.count), (1, 1));
    assert_eq!(timed.packs(), 0);
    timed.world.bucket.tamper(&key, Some("late write".into()));
    assert_eq!(collect_all(&depot).await.packs.deleted.count, 1);
    assert_eq!(timed.packs(), 0);
}

#[tokio::test]
async fn an_object_stays_for_its_grace_after_its_pack_was_given_up() {
    let mut timed = Timed::new();
    timed.grace = Duration::from_secs(86_400);
    let depot = timed.open("a").await;
    push(&depot, &referring(1, 1000, &[])).await.unwrap();
    depot.inner.collector.note_age().await.unwrap();
    timed.pass(40 * DAY);
    let done = collect_all(&depot).await;
    assert_eq!(
        (
            done.packs.dead.count,
            done.packs.deleted.count,
            done.packs.waiting.count
        ),
        (1, 0, 1)
    );
    timed.pass(23 * HOUR);
    assert_eq!(collect_all(&depot).await.packs.deleted.count, 0);
    timed.pass(2 * HOUR);
    assert_eq!(collect_all(&depot).await.packs.deleted.count, 1);
    assert_eq!(timed.packs(), 0);
}

#[tokio::test]
async fn only_who_leads_collects() {
    let timed = Timed::new();
    let old = timed.open("old").await;
    push(&old, &referring(1, 1000, &[])).await.unwrap();
    let new = timed.open("new").await;
    let late = push(&old, &referring(2, 1000, &[])).await;
    assert!(late.is_err());
    timed.pass(40 * DAY);
    assert!(matches!(
        collect_once(&old, false).await,
        Err(CollectError::NotLeading)
    ));
    collect_all(&new).await;
}

/// A path that is pushed while its reference is being collected: either it is kept, or the pusher was told that it is
/// missing and pushes it again; never does a path lack what it refers to because of the collection.
#[tokio::test]
async fn what_comes_during_a_collection_keeps_what_it_refers_to() {
    let timed = Timed::new();
    let depot = timed.open("a").await;
    let libraries: Vec<Sample> = (0..400).map(|n| referring(n, 50, &[])).collect();
    for some in libraries.chunks(50) {
        futures::future::join_all(some.iter().map(|sample| push(&depot, sample))).await;
    }
    timed.pass(40 * DAY);
    // As soon as the first paths went, programs come that refer to the last ones. Nobody asked for these meanwhile.
    let (tell, heard) = tokio::sync::oneshot::channel();
    let tell = Mutex::new(Some(tell));
    let listener: crate::depot::Listener = Arc::new(move |stage| {
        if matches!(stage, crate::depot::Stage::Removed { .. })
            && let Some(tell) = tell.lock().unwrap().take()
        {
            let _ = tell.send(());
        }
    });
    let stop = CancellationToken::new();
    let collecting = depot.collect(false, &stop, &listener);
    let pushing = async {
        heard.await.unwrap();
        let mut programs = Vec::new();
        for n in 0..20 {
            let library = 399 - n;
            if is_there(&depot, &libraries[library as usize]).await {
                let program = referring(1000 + n, 50, &[library]);
                push(&depot, &program).await.unwrap();
                // It was there when the push was ordered: it stays.
                if is_there(&depot, &libraries[library as usize]).await {
                    programs.push((program, library));
                }
            }
        }
        programs
    };
    let (done, programs) = tokio::join!(collecting, pushing);
    let done = done.unwrap();
    assert!(!programs.is_empty(), "{done:?}");
    for (program, library) in programs {
        assert_there(&depot, &program).await;
        assert_there(&depot, &libraries[library as usize]).await;
    }
}

#[tokio::test]
async fn a_collection_that_is_told_to_stop_is_gone_on_with_by_the_next() {
    let timed = Timed::new();
    let depot = timed.open("a").await;
    for n in 0..30 {
        push(&depot, &referring(n, 2_000, &[])).await.unwrap();
    }
    depot.inner.collector.note_age().await.unwrap();
    timed.pass(40 * DAY);
    let stop = CancellationToken::new();
    let stopper = stop.clone();
    let listener: crate::depot::Listener = Arc::new(move |_| stopper.cancel());
    let done = depot.collect(false, &stop, &listener).await.unwrap();
    assert!(done.interrupted);
    let done = collect_all(&depot).await;
    assert!(!done.interrupted);
    assert_eq!(timed.packs(), 0);
}

/// From some write on nothing reaches the bucket, or the writer never hears of it; the process dies, another goes on.
async fn crash_at(write: usize, fault: Fault) {
    let timed = Timed::new();
    let depot = timed.open("a").await;
    let samples: Vec<Sample> = (0..6).map(|n| referring(n, 60_000, &[])).collect();
    let pushed = futures::future::join_all(samples.iter().map(|sample| push(&depot, sample))).await;
    assert!(pushed.iter().all(Result::is_ok));
    depot.inner.collector.note_age().await.unwrap();
    timed.pass(20 * DAY);
    depot
        .path(&main(), &samples[0].info.store_path_hash)
        .await
        .unwrap()
        .unwrap();
    depot
        .inner
        .uses
        .note(&depot.inner.index, &depot.inner.committer)
        .await;
    timed.pass(20 * DAY);
    timed
        .world
        .bucket
        .set_faults(Some(Box::new(move |number, _| match number.cmp(&write) {
            std::cmp::Ordering::Less => Fault::None,
            std::cmp::Ordering::Equal => fault,
            std::cmp::Ordering::Greater => Fault::Lost,
        })));
    let collecting = tokio::time::timeout(Duration::from_millis(400), collect_once(&depot, false)).await;
    drop(collecting);
    drop(depot);
    timed.world.bucket.set_faults(None);
    let depot = timed.open("b").await;
    assert_there(&depot, &samples[0]).await;
    timed.pass(2 * HOUR);
    depot.inner.collector.note_age().await.unwrap();
    for _ in 0..2 {
        timed.pass(50 * HOUR);
        collect_all(&depot).await;
        assert_there(&depot, &samples[0]).await;
    }
    assert!(
        timed.pack_bytes() < 150_000,
        "write {write} {fault:?}: {}",
        timed.pack_bytes()
    );
}

#[tokio::test]
async fn a_crash_at_any_write_of_a_collection_loses_nothing_and_leaves_nothing() {
    for write in 0..6 {
        for fault in [Fault::Lost, Fault::Unheard] {
            crash_at(write, fault).await;
        }
    }
}

#[tokio::test]
async fn an_upload_saves_what_it_counted_on_when_that_is_given_up_meanwhile() {
    let mut timed = Timed::new();
    timed.grace = Duration::from_secs(3600);
    let depot = timed.open("a").await;
    let old = referring(1, 3_000_000, &[]);
    push(&depot, &old).await.unwrap();
    depot.inner.collector.note_age().await.unwrap();
    timed.pass(40 * DAY);
    // The same contents under another name: everything is known, and nothing is stored.
    let mut new = old.clone();
    new.info.store_path_hash = hash(2).parse().unwrap();
    new.info.store_path = format!("/nix/store/{}-sample", hash(2)).parse().unwrap();
    let (bytes, body) = tokio::sync::mpsc::channel::<Result<Bytes, BoxError>>(1);
    let uploading = tokio::spawn({
        let (depot, info) = (depot.clone(), new.info.clone());
        async move {
            let body = tokio_stream::wrappers::ReceiverStream::new(body);
            depot.upload(info, None, body).await
        }
    });
    let (most, rest) = new.nar.split_at(new.nar.len() - 10);
    for part in most.chunks(100_000) {
        bytes.send(Ok(Bytes::copy_from_slice(part))).await.unwrap();
    }
    let done = collect_all(&depot).await;
    assert_eq!((done.packs.dead.count, done.packs.waiting.count), (1, 1));
    bytes.send(Ok(Bytes::copy_from_slice(rest))).await.unwrap();
    drop(bytes);
    uploading.await.unwrap().unwrap();
    assert_there(&depot, &new).await;
    timed.pass(2 * HOUR);
    assert_eq!(collect_all(&depot).await.packs.deleted.count, 1);
    depot.close().await;
    assert_there(&timed.open("b").await, &new).await;
}

#[tokio::test]
async fn a_path_that_is_pushed_again_is_as_good_as_new() {
    let timed = Timed::new();
    let depot = timed.open("a").await;
    let program = referring(1, 1000, &[]);
    push(&depot, &program).await.unwrap();
    timed.pass(25 * DAY);
    assert!(push(&depot, &program).await.unwrap().deduplicated);
    timed.pass(25 * DAY);
    collect_all(&depot).await;
    assert!(is_there(&depot, &program).await);
}

#[tokio::test]
async fn another_nar_under_a_known_path_is_noted_once() {
    let timed = Timed::new();
    let depot = timed.open("a").await;
    let program = referring(1, 1000, &[]);
    push(&depot, &program).await.unwrap();
    let mut other = sample(&hash(1), noise(99, 1000));
    other.info.store_path = program.info.store_path.clone();
    let objects = |timed: &Timed| {
        timed
            .world
            .bucket
            .keys()
            .iter()
            .filter(|key| key.starts_with("log/"))
            .count()
    };
    let before = objects(&timed);
    for _ in 0..3 {
        assert!(matches!(
            push(&depot, &other).await,
            Err(UploadError::OtherNarHash { .. })
        ));
    }
    assert_eq!(objects(&timed), before + 1);
    depot.close().await;
    let depot = timed.open("b").await;
    let (path, given) = (program.info.store_path.as_str(), other.info.nar_hash.as_bytes());
    assert!(
        depot
            .inner
            .index
            .knows_conflict(&main(), path, given)
            .await
            .unwrap()
    );
    assert_there(&depot, &program).await;
}
