//! Several gateways on one bucket in memory, with real links between them.

mod forged;
mod versions;

use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use hayloft_store::log::object::VERSION;
use hayloft_store::object::{Answer, ObjectError, ObjectStore};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::*;
use crate::depot::{Fleet, LinkFiles, LinkTls, Naming, PeerConfig, Rule};
use crate::serve::Server;

/// A bucket as one gateway reaches it: its requests are counted, and it can be cut off.
struct Reach {
    bucket: Arc<MemoryStore>,
    cut: AtomicBool,
    requests: AtomicUsize,
}

impl Reach {
    fn pass<'a, T: Send + 'a>(&'a self, key: &'a str, answer: Answer<'a, T>) -> Answer<'a, T> {
        async move {
            self.requests.fetch_add(1, Ordering::Relaxed);
            if self.cut.load(Ordering::Relaxed) {
                return Err(ObjectError::Unavailable {
                    what: "reach",
                    key: key.to_owned(),
                    source: "cut off".into(),
                });
            }
            answer.await
        }
        .boxed()
    }
}

impl ObjectStore for Reach {
    fn put<'a>(&'a self, key: &'a str, body: Bytes) -> Answer<'a, ()> {
        self.pass(key, self.bucket.put(key, body))
    }
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Bytes> {
        self.pass(key, self.bucket.get(key))
    }
    fn get_range<'a>(&'a self, key: &'a str, range: Range<u64>) -> Answer<'a, Bytes> {
        self.pass(key, self.bucket.get_range(key, range))
    }
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
    ) -> Answer<'a, hayloft_store::object::Page> {
        self.pass(prefix, self.bucket.list(prefix, after))
    }
    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        self.pass(key, self.bucket.delete(key))
    }
}

/// A place for gateways that know each other.
struct Town {
    world: World,
    gateways: Vec<(String, SocketAddr)>,
}

/// A gateway in a runtime of its own, which can be killed.
struct Gateway {
    depot: Depot,
    reach: Arc<Reach>,
    naming: watch::Sender<Naming>,
    runtime: Option<Runtime>,
}

impl Gateway {
    /// Ends it as a power cut would.
    fn kill(mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    fn leads(&self) -> bool {
        self.depot.inner.committer.is_leading()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Town {
    fn new(names: &[&str]) -> Self {
        let world = World::new();
        certificates(world.dir.path());
        let gateways = names
            .iter()
            .map(|name| {
                let port = hayloft_garage_fixture::free_port().unwrap();
                ((*name).to_owned(), ([127, 0, 0, 1], port).into())
            })
            .collect();
        Self { world, gateways }
    }

    fn files(&self) -> LinkFiles {
        let at = |name: &str| self.world.dir.path().join(name);
        LinkFiles {
            cert: at("cert.pem"),
            key: at("key.pem"),
            ca: at("ca.pem"),
        }
    }

    /// Starts a gateway that knows all others but those in `strangers`.
    async fn start_apart(&self, name: &str, committer: Rule, strangers: &[&str]) -> Gateway {
        self.start_that_reads(VERSION, name, committer, strangers).await
    }

    /// As [`Town::start_apart`], one that reads only this format of log objects.
    async fn start_that_reads(
        &self,
        format: u32,
        name: &str,
        committer: Rule,
        strangers: &[&str],
    ) -> Gateway {
        let peers = self
            .gateways
            .iter()
            .filter(|(other, _)| other != name && !strangers.contains(&other.as_str()))
            .map(|(other, addr)| PeerConfig {
                name: other.clone(),
                url: format!("https://{addr}").parse().unwrap(),
            })
            .collect();
        let listen = self.gateways.iter().find(|(own, _)| own == name).unwrap().1;
        let tls = LinkTls::load(self.files()).unwrap();
        let (naming, named) = watch::channel(Naming {
            committer,
            epoch_floor: 0,
        });
        let seed = [SEEDS.fetch_add(1, Ordering::Relaxed); 32];
        let fleet =
            Fleet::new(Some(name.to_owned()), u64::from(seed[0]), peers, &tls, named).that_reads(format);
        let reach = Arc::new(Reach {
            bucket: Arc::clone(&self.world.bucket),
            cut: AtomicBool::new(false),
            requests: AtomicUsize::new(0),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let store: SharedStore = Arc::clone(&reach) as SharedStore;
        let dir: PathBuf = self.world.dir.path().join(name);
        let begin = Instant::now();
        let opening = async move {
            // The one before it may still be ending.
            let server = loop {
                let router = fleet.doors(axum::Router::new());
                match Server::start_link(listen, router, tls.clone()).await {
                    Ok(server) => break server,
                    Err(error) => assert!(begin.elapsed() < Duration::from_secs(20), "{error}"),
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            };
            let effects = Effects {
                clock: Arc::new(|| jiff::Timestamp::UNIX_EPOCH),
                seed,
            };
            let key = ClusterKey::from_random([5; 32]);
            let depot = Depot::open_among(store, &dir, &key, MEMORY, settings(), Some(fleet), effects).await;
            (server, depot.unwrap())
        };
        let (server, depot) = runtime.spawn(opening).await.unwrap();
        runtime.spawn(async move {
            let _server = server;
            std::future::pending::<()>().await;
        });
        Gateway {
            depot,
            reach,
            naming,
            runtime: Some(runtime),
        }
    }

    async fn start(&self, name: &str, committer: Rule) -> Gateway {
        self.start_apart(name, committer, &[]).await
    }

    /// A committer `a` with the cache `main`, and followers `b` and `c`.
    async fn three() -> (Self, Gateway, Gateway, Gateway) {
        let town = Self::new(&["a", "b", "c"]);
        let a = town.start("a", Rule::Yes).await;
        let b = town.start("b", Rule::Auto).await;
        let c = town.start("c", Rule::Auto).await;
        a.depot.create_cache(new_cache("main")).await.unwrap();
        for follower in [&b, &c] {
            until(async || follower.depot.cache(&main()).await.unwrap().is_some()).await;
        }
        (town, a, b, c)
    }
}

fn certificates(dir: &Path) {
    let mut ca = CertificateParams::new(vec![]).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    std::fs::write(dir.join("ca.pem"), ca.self_signed(&ca_key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(ca, ca_key);
    let mut leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    leaf.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let key = KeyPair::generate().unwrap();
    std::fs::write(dir.join("cert.pem"), leaf.signed_by(&key, &issuer).unwrap().pem()).unwrap();
    std::fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
}

async fn until(mut reached: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(40);
    while !reached().await {
        assert!(Instant::now() < deadline, "not reached in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn shows(gateway: &Gateway, sample: &Sample) -> bool {
    gateway
        .depot
        .path(&main(), &sample.info.store_path_hash)
        .await
        .unwrap()
        .is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_anywhere_is_shown_everywhere_at_once() {
    let (_town, a, b, c) = Town::three().await;
    // The links are warm when something was told over them.
    push(&a.depot, &sample(&hash(100), noise(100, 10))).await.unwrap();
    for follower in [&b, &c] {
        until(async || shows(follower, &sample(&hash(100), vec![])).await).await;
    }
    for n in 0..6 {
        let sample = sample(&hash(n), noise(u64::from(n), 40_000));
        let at = [&a, &b, &c][n as usize % 3];
        push(&at.depot, &sample).await.unwrap();
        for gateway in [&a, &b, &c] {
            assert_there(&gateway.depot, &sample).await;
        }
    }
    assert!(a.leads() && !b.leads() && !c.leads());
    assert!(b.depot.healthy().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_refuses_in_the_same_words_as_the_committer() {
    let (_town, _a, b, _c) = Town::three().await;
    let first = sample(&hash(1), noise(1, 1000));
    push(&b.depot, &first).await.unwrap();
    let other = sample(&hash(1), noise(2, 1000));
    let refused = push(&b.depot, &other).await;
    assert!(
        matches!(refused, Err(UploadError::OtherNarHash { .. })),
        "{refused:?}"
    );
    let refused = b.depot.create_cache(new_cache("main")).await;
    assert!(matches!(refused, Err(super::super::DepotError::CacheExists(_))));
    b.depot.create_cache(new_cache("other")).await.unwrap();
    assert!(b.depot.cache(&"other".parse().unwrap()).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_links_a_follower_shows_what_the_bucket_shows_and_asks_it_once_a_second() {
    let town = Town::new(&["a", "b"]);
    let a = town.start_apart("a", Rule::Yes, &["b"]).await;
    // Something must remind the committer that others cannot hear it.
    let _ = &a;
    a.depot.create_cache(new_cache("main")).await.unwrap();
    let b = town.start_apart("b", Rule::No, &["a"]).await;
    let sample = sample(&hash(1), noise(1, 1000));
    push(&a.depot, &sample).await.unwrap();
    // It knows of no other gateway, so it writes nothing behind the last object, and that is not shown.
    push(&a.depot, &super::sample(&hash(2), noise(2, 1000)))
        .await
        .unwrap();
    until(async || shows(&b, &sample).await).await;
    let before = b.reach.requests.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let asked = b.reach.requests.load(Ordering::Relaxed) - before;
    assert!((3..=6).contains(&asked), "{asked} requests in 5 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_path_is_shown_within_two_seconds_by_one_who_only_reaches_the_bucket() {
    let town = Town::new(&["a", "b"]);
    let a = town.start("a", Rule::Yes).await;
    a.depot.create_cache(new_cache("main")).await.unwrap();
    // The committer knows of it and cannot reach it, for it listens elsewhere.
    let apart = Town {
        world: World {
            bucket: Arc::clone(&town.world.bucket),
            dir: tempfile::tempdir().unwrap(),
        },
        gateways: Town::new(&["b"]).gateways,
    };
    certificates(apart.world.dir.path());
    let b = apart.start("b", Rule::No).await;
    until(async || b.depot.cache(&main()).await.unwrap().is_some()).await;
    for n in 0..4 {
        let sample = sample(&hash(n), noise(u64::from(n), 1000));
        push(&a.depot, &sample).await.unwrap();
        let begin = Instant::now();
        until(async || shows(&b, &sample).await).await;
        println!("shown after {:?}", begin.elapsed());
        tokio::time::sleep(Duration::from_millis(137)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_committer_is_killed_another_takes_over_and_nothing_is_lost() {
    let (_town, a, b, c) = Town::three().await;
    let mut there = Vec::new();
    for n in 0..5 {
        let sample = sample(&hash(n), noise(u64::from(n), 5000));
        push(&b.depot, &sample).await.unwrap();
        there.push(sample);
    }
    a.kill();
    let begin = Instant::now();
    let late = sample(&hash(50), noise(50, 5000));
    until(async || {
        // Reads go on meanwhile.
        for sample in &there {
            assert_there(&b.depot, sample).await;
            assert_there(&c.depot, sample).await;
        }
        push(&c.depot, &late).await.is_ok()
    })
    .await;
    let took = begin.elapsed();
    println!("pushes succeed again after {took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert!(b.leads() != c.leads());
    there.push(late);
    for sample in &there {
        assert_there(&b.depot, sample).await;
        assert_there(&c.depot, sample).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_named_takes_over_and_the_old_committer_follows() {
    let (_town, a, b, c) = Town::three().await;
    let first = sample(&hash(1), noise(1, 5000));
    push(&a.depot, &first).await.unwrap();
    b.naming.send_replace(Naming {
        committer: Rule::Yes,
        epoch_floor: 40,
    });
    until(async || b.leads() && !a.leads()).await;
    // The old one takes pushes on, and shows what others take.
    let second = sample(&hash(2), noise(2, 5000));
    push(&a.depot, &second).await.unwrap();
    let third = sample(&hash(3), noise(3, 5000));
    push(&c.depot, &third).await.unwrap();
    for gateway in [&a, &b, &c] {
        for sample in [&first, &second, &third] {
            until(async || shows(gateway, sample).await).await;
            assert_there(&gateway.depot, sample).await;
        }
    }
    let epochs = _town.world.bucket.keys();
    assert!(
        epochs
            .iter()
            .any(|key| key.starts_with("epoch/0000000000000028-"))
    );
    assert!(!a.depot.is_deposed() && a.depot.healthy().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_committer_that_is_cut_off_from_the_bucket_is_replaced_when_named_and_comes_back_as_a_follower() {
    let (_town, a, b, _c) = Town::three().await;
    a.reach.cut.store(true, Ordering::Relaxed);
    b.naming.send_replace(Naming {
        committer: Rule::Yes,
        epoch_floor: 0,
    });
    until(async || b.leads()).await;
    let sample = sample(&hash(1), noise(1, 5000));
    push(&b.depot, &sample).await.unwrap();
    a.reach.cut.store(false, Ordering::Relaxed);
    until(async || !a.leads() && shows(&a, &sample).await).await;
    assert_there(&a.depot, &sample).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_not_let_in() {
    let (town, _a, _b, _c) = Town::three().await;
    let strange = tempfile::tempdir().unwrap();
    certificates(strange.path());
    let at = |name: &str| strange.path().join(name);
    // It trusts the others' authority beside its own, and they trust theirs alone.
    let mut trusted = std::fs::read(at("ca.pem")).unwrap();
    trusted.extend(std::fs::read(town.files().ca).unwrap());
    std::fs::write(at("ca.pem"), trusted).unwrap();
    let tls = LinkTls::load(LinkFiles {
        cert: at("cert.pem"),
        key: at("key.pem"),
        ca: at("ca.pem"),
    })
    .unwrap();
    let (_naming, named) = watch::channel(Naming::default());
    let peers = vec![PeerConfig {
        name: "a".to_owned(),
        url: format!("https://{}", town.gateways[0].1).parse().unwrap(),
    }];
    let stranger = Fleet::new(None, 1, peers.clone(), &tls, named.clone());
    assert!(stranger.survey(Duration::from_secs(5)).await.is_empty());
    let known = Fleet::new(None, 1, peers, &LinkTls::load(town.files()).unwrap(), named);
    assert_eq!(known.survey(Duration::from_secs(5)).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_committer_that_loses_the_bucket_is_replaced_by_itself() {
    let (_town, a, b, c) = Town::three().await;
    let first = sample(&hash(1), noise(1, 5000));
    push(&a.depot, &first).await.unwrap();
    a.reach.cut.store(true, Ordering::Relaxed);
    let begin = Instant::now();
    // It notices when it has something to order.
    let lost = tokio::spawn({
        let depot = a.depot.clone();
        async move { depot.create_cache(new_cache("other")).await }
    });
    until(async || b.leads() || c.leads()).await;
    println!("another leads after {:?}", begin.elapsed());
    let second = sample(&hash(2), noise(2, 5000));
    push(&b.depot, &second).await.unwrap();
    a.reach.cut.store(false, Ordering::Relaxed);
    // What it was to order is ordered by the other.
    lost.await.unwrap().unwrap();
    for gateway in [&a, &b, &c] {
        until(async || gateway.depot.caches().await.unwrap().len() == 2).await;
        assert_there(&gateway.depot, &second).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_committer_that_cannot_be_heard_but_reaches_the_bucket_is_left_in_office() {
    let town = Town::new(&["a", "b"]);
    let a = town.start("a", Rule::Yes).await;
    a.depot.create_cache(new_cache("main")).await.unwrap();
    // Each knows the other, and listens where that one does not look.
    let apart = Town {
        world: World {
            bucket: Arc::clone(&town.world.bucket),
            dir: tempfile::tempdir().unwrap(),
        },
        gateways: Town::new(&["x", "b"]).gateways,
    };
    certificates(apart.world.dir.path());
    let b = apart.start("b", Rule::Auto).await;
    tokio::time::sleep(Duration::from_secs(14)).await;
    assert!(a.leads() && !b.leads());
    let sample = sample(&hash(1), noise(1, 5000));
    push(&a.depot, &sample).await.unwrap();
    until(async || shows(&b, &sample).await).await;
    // When it is gone, the signs of life end.
    a.kill();
    until(async || b.leads()).await;
    assert_there(&b.depot, &sample).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_that_many_restarts_left_are_removed() {
    let world = World::new();
    for n in 1..=70_u64 {
        let key = format!("epoch/{n:016x}-0000000000000001");
        world.bucket.tamper(&key, Some("HayEpoch".into()));
    }
    let depot = world.open("a").await.unwrap();
    let claims = || {
        let keys = world.bucket.keys().into_iter();
        keys.filter(|key| key.starts_with("epoch/")).count()
    };
    until(async || claims() == 1).await;
    let marks = world
        .bucket
        .keys()
        .into_iter()
        .filter(|key| key.starts_with("ended/"));
    assert_eq!(marks.count(), 70);
    push(&depot, &sample(&hash(1), noise(1, 10))).await.unwrap_err();
    depot.create_cache(new_cache("main")).await.unwrap();
    depot.close().await;
    let depot = world.open("a").await.unwrap();
    push(&depot, &sample(&hash(1), noise(1, 10))).await.unwrap();
    depot.close().await;
}
