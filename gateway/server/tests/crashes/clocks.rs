//! Clocks that are an hour apart.

use rustix::process::Signal;

use crate::support::town::{Gateway, Path, Town, until};

/// Pushes a path to each gateway; all of them show and give all paths.
async fn push_and_show(town: &Town, gateways: &[&Gateway], paths: &mut Vec<Path>, first: u32) {
    for (number, gateway) in (first..).zip(gateways) {
        let path = Path::new(number);
        until(gateway, async || path.push(gateway, &town.token).await.is_ok()).await;
        paths.push(path);
    }
    for gateway in gateways {
        for path in &*paths {
            until(gateway, async || path.is_at(gateway).await).await;
            path.assert_at(gateway).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_gateways_whose_clocks_are_an_hour_apart_order_succeed_and_lose_nothing() {
    let mut town = Town::new().await;
    // A token is not good before the time at which it was made, so none is behind that.
    town.clocks = [7200, 3600, 0];
    let [lyon, nantes, paris] = town.three().await;
    let mut paths = Vec::new();
    push_and_show(&town, &[&lyon, &nantes, &paris], &mut paths, 0).await;
    // From the clock that is furthest ahead to one that is behind it.
    lyon.signal(Signal::KILL);
    push_and_show(&town, &[&nantes, &paris], &mut paths, 10).await;
    let lyon = town.serve(0, "true").await;
    push_and_show(&town, &[&lyon, &nantes, &paris], &mut paths, 20).await;
}
