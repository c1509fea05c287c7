//! Links that are cut: between any two gateways, and between each of them and the bucket.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bad_bucket::{BadBucket, Fault};
use crate::support::town::{Gateway, NAMES, Path, Town, status, until};

/// Three gateways behind doors that can be shut.
struct Land {
    town: Town,
    /// From each gateway to each other.
    links: Vec<Vec<Option<BadBucket>>>,
    /// From each gateway to the bucket.
    buckets: Vec<BadBucket>,
    gateways: Vec<Gateway>,
}

impl Land {
    async fn new() -> Self {
        let mut town = Town::new().await;
        let (mut links, mut buckets, mut gateways) = (Vec::new(), Vec::new(), Vec::new());
        for from in 0..NAMES.len() {
            let mut doors = Vec::new();
            for to in 0..NAMES.len() {
                if from == to {
                    doors.push(None);
                    continue;
                }
                let door = BadBucket::open(&format!("http://127.0.0.1:{}", town.link(to))).await;
                town.doors[from][to] = door.url.rsplit_once(':').unwrap().1.parse().unwrap();
                doors.push(Some(door));
            }
            links.push(doors);
            buckets.push(BadBucket::open(&town.garage.endpoints()[from]).await);
        }
        for (i, bucket) in buckets.iter().enumerate() {
            let committer = if i == 0 { "true" } else { "auto" };
            let gateway = town.spawn(i, committer, Some(&bucket.url));
            until(&gateway, async || {
                status(&format!("{}healthz", gateway.url)).await == Some(200)
                    && status(&format!("{}main/nix-cache-info", gateway.url)).await == Some(200)
            })
            .await;
            gateways.push(gateway);
        }
        Self {
            town,
            links,
            buckets,
            gateways,
        }
    }

    /// Shuts or opens both directions between two gateways.
    fn between(&self, one: usize, other: usize, fault: Fault) {
        for (from, to) in [(one, other), (other, one)] {
            self.links[from][to].as_ref().unwrap().set(fault);
        }
    }

    /// Pushes a path until it is acknowledged; every refusal must be one that says to try again.
    async fn push(&self, at: usize, path: &Path) {
        let begin = Instant::now();
        while let Err(said) = path.push(&self.gateways[at], &self.town.token).await {
            assert!(said.starts_with("503"), "{}: {said}", NAMES[at]);
            assert!(begin.elapsed() < Duration::from_secs(60), "{}: {said}", NAMES[at]);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// All gateways show and give these paths, soon.
    async fn show_all(&self, paths: &[Path], but: Option<usize>) {
        for (_, gateway) in self.gateways.iter().enumerate().filter(|(i, _)| Some(*i) != but) {
            for path in paths {
                until(gateway, async || path.is_at(gateway).await).await;
                path.assert_at(gateway).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_are_cut_between_any_two_gateways_lose_nothing_and_pushes_go_on_everywhere() {
    let land = Land::new().await;
    let mut paths = Vec::new();
    let mut number = 0;
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        land.between(one, other, Fault::Closed);
        for at in 0..NAMES.len() {
            let path = Path::new(number);
            number += 1;
            land.push(at, &path).await;
            paths.push(path);
        }
        // By the bucket, if not by a link.
        land.show_all(&paths, None).await;
        land.between(one, other, Fault::None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_cut_off_from_the_bucket_loses_nothing_and_comes_back_by_itself() {
    let land = Arc::new(Land::new().await);
    let mut paths = Vec::new();
    // The committer among them: another takes over.
    for (number, cut) in (0..).step_by(10).zip(0..NAMES.len()) {
        land.buckets[cut].set(Fault::Closed);
        for (number, at) in (number..).zip((0..NAMES.len()).filter(|at| *at != cut)) {
            let path = Path::new(number);
            land.push(at, &path).await;
            paths.push(path);
        }
        land.show_all(&paths, Some(cut)).await;
        land.buckets[cut].set(Fault::None);
        let path = Path::new(number + 5);
        land.push(cut, &path).await;
        paths.push(path);
        land.show_all(&paths, None).await;
    }
}
