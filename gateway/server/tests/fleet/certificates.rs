//! The certificates of links: renewed while they are in use, and of an authority that is not the fleet's.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::support::authority::Authority;
use crate::support::town::{Gateway, NAMES, Path, Town, metric, until};

const RENEWED: &str = "the link's certificate was renewed";

/// Waits until all have taken what lies in their files for the `times`th time.
async fn all_renewed(gateways: &[Gateway], times: usize) {
    for gateway in gateways {
        until(gateway, async || gateway.times(RENEWED) >= times).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_and_their_authority_are_renewed_under_pushes_and_none_fails() {
    let town = Arc::new(Town::new().await);
    let gateways = Arc::new(town.three().await);
    let stop = Arc::new(AtomicBool::new(false));
    let next = Arc::new(AtomicU32::new(0));
    let pushing: Vec<_> = (0..NAMES.len())
        .map(|at| {
            let (town, gateways) = (Arc::clone(&town), Arc::clone(&gateways));
            let (stop, next) = (Arc::clone(&stop), Arc::clone(&next));
            tokio::spawn(async move {
                let mut paths = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let path = Path::new(next.fetch_add(1, Ordering::Relaxed));
                    if let Err(said) = path.push(&gateways[at], &town.token).await {
                        panic!("a push at {} fails: {said}", NAMES[at]);
                    }
                    paths.push(path);
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                paths
            })
        })
        .collect();
    let ca = town.dir.path().join("ca.pem");
    let newer = Authority::new();
    // New certificates of the authority that there is; a second one beside it; certificates of that; it alone.
    for step in 1..=4 {
        match step {
            1 => NAMES.map(|name| town.authority.sign(town.dir.path(), name)),
            2 => {
                fs::write(&ca, format!("{}{}", town.authority.pem, newer.pem)).unwrap();
                [(); 3]
            }
            3 => NAMES.map(|name| newer.sign(town.dir.path(), name)),
            _ => {
                fs::write(&ca, &newer.pem).unwrap();
                [(); 3]
            }
        };
        all_renewed(&gateways[..], step).await;
    }
    stop.store(true, Ordering::Relaxed);
    for pushed in pushing {
        let paths = pushed.await.unwrap();
        assert!(paths.len() > 10, "hardly anything was pushed");
        for path in paths {
            for gateway in &gateways[..] {
                path.assert_at(gateway).await;
            }
        }
    }
    for gateway in &gateways[..] {
        assert_eq!(gateway.health().await, (200, "ok\n".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_another_authority_signed_is_not_taken_and_the_old_one_is_used_on() {
    let town = Town::new().await;
    let [lyon, nantes, mut paris] = town.three().await;
    Authority::new().sign(town.dir.path(), NAMES[2]);
    until(&paris, async || {
        paris.says("the link's new certificate is not used")
    })
    .await;
    assert!(paris.says("is not signed by the authority in"));
    let path = Path::new(1);
    path.push(&paris, &town.token).await.unwrap();
    for gateway in [&lyon, &nantes, &paris] {
        path.assert_at(gateway).await;
        assert_eq!(gateway.health().await, (200, "ok\n".to_owned()));
    }
    // With nothing else to use it does not start, and says why.
    paris.child.kill().unwrap();
    let mut paris = town.spawn(2, "auto", None);
    let begin = Instant::now();
    while paris.runs() {
        assert!(
            begin.elapsed() < Duration::from_secs(30),
            "it starts all the same"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let log = fs::read_to_string(&paris.log).unwrap();
    let last = log.trim().lines().last().unwrap();
    assert!(
        last.contains("paris.pem is not signed by the authority in"),
        "{last}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_with_another_authority_is_shut_out_says_so_and_serves_what_the_bucket_shows() {
    let mut town = Town::new().await;
    let foreign = Authority::new();
    let ca = town.dir.path().join("foreign.pem");
    fs::write(&ca, &foreign.pem).unwrap();
    foreign.sign(town.dir.path(), NAMES[2]);
    town.trusts[2] = "foreign.pem";
    let [lyon, nantes, paris] = town.three().await;
    let path = Path::new(1);
    path.push(&lyon, &town.token).await.unwrap();
    path.assert_at(&nantes).await;
    until(&paris, async || path.is_at(&paris).await).await;
    path.assert_at(&paris).await;
    // Nobody who could order its push hears of it.
    let refused = Path::new(2);
    let said = refused.push(&paris, &town.token).await.unwrap_err();
    assert!(said.starts_with("503"), "{said}");
    let both = "ok\nno link to the gateway lyon\nno link to the gateway nantes\n";
    until(&paris, async || paris.health().await == (200, both.to_owned())).await;
    until(&lyon, async || {
        lyon.health().await.1.contains("no link to the gateway paris")
    })
    .await;
    until(&paris, async || {
        metric(town.metrics[2], "hayloft_gateway_links_lost").await == Some(2.0)
    })
    .await;
    assert!(paris.says("the link to another gateway is lost"));
    assert!(
        lyon.says("the link to another gateway is lost") && !lyon.says("orders now, and this one follows")
    );
    assert!(lyon.says("somebody who is no gateway of this bucket tried the link"));
    // It gets what it lacked.
    fs::write(&ca, &town.authority.pem).unwrap();
    town.authority.sign(town.dir.path(), NAMES[2]);
    until(&paris, async || refused.push(&paris, &town.token).await.is_ok()).await;
    for gateway in [&lyon, &nantes, &paris] {
        refused.assert_at(gateway).await;
        until(gateway, async || gateway.health().await.1 == "ok\n").await;
    }
    until(&paris, async || {
        metric(town.metrics[2], "hayloft_gateway_links_lost").await == Some(0.0)
    })
    .await;
}
