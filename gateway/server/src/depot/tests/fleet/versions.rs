//! Gateways that are one version apart: the older reads only the format of the log before.

use super::*;

const OLDER: u32 = VERSION - 1;

/// The formats of all log objects, in their order.
async fn formats(world: &World) -> Vec<u32> {
    let store = Arc::clone(&world.bucket) as SharedStore;
    let mut formats = Vec::new();
    for key in world.bucket.keys().iter().filter(|key| key.starts_with("log/")) {
        let bytes = store.get(key).await.unwrap();
        formats.push(u32::from_le_bytes(bytes[8..12].try_into().unwrap()));
    }
    formats
}

/// Does all that a gateway does at one time or another.
async fn live(gateway: &Gateway, first: u32) -> Vec<Sample> {
    let samples: Vec<Sample> = (first..first + 3)
        .map(|n| sample(&hash(n), noise(u64::from(n), 5000)))
        .collect();
    for sample in &samples {
        push(&gateway.depot, sample).await.unwrap();
        assert_there(&gateway.depot, sample).await;
    }
    gateway.depot.write_checkpoint().await.unwrap();
    samples
}

/// The pin that it sets is in a record that the older cannot read.
async fn pins(gateway: &Gateway, sample: &Sample) -> Result<(), String> {
    let paths = [sample.info.store_path_hash];
    let pinned = gateway.depot.pin(&main(), "release", &paths, None).await;
    pinned.map_err(|error| crate::error::chain(&error))
}

async fn all_show(gateways: &[&Gateway], samples: &[Sample]) {
    for gateway in gateways {
        for sample in samples {
            until(async || shows(gateway, sample).await).await;
            assert_there(&gateway.depot, sample).await;
        }
    }
}

#[test]
fn nothing_is_written_that_the_older_of_two_gateways_cannot_read_until_it_is_renewed() {
    let driver = Runtime::new().unwrap();
    driver.block_on(async {
        let town = Town::new(&["a", "b"]);
        let a = town.start("a", Rule::Yes).await;
        let b = town.start_that_reads(OLDER, "b", Rule::Auto, &[]).await;
        a.depot.create_cache(new_cache("main")).await.unwrap();
        let mut samples = live(&a, 0).await;
        all_show(&[&a, &b], &samples).await;
        // Whoever asks hears why, of the newer and of the older.
        for gateway in [&a, &b] {
            let said = pins(gateway, &samples[0]).await.unwrap_err();
            assert!(said.contains("may be too old to read such a change"), "{said}");
        }
        assert!(formats(&town.world).await.iter().all(|format| *format <= OLDER));

        // The older one orders: it writes what it can read, whatever the newer asks for.
        a.kill();
        let second = sample(&hash(10), noise(10, 5000));
        until(async || push(&b.depot, &second).await.is_ok()).await;
        samples.push(second);
        let a = town.start("a", Rule::Auto).await;
        samples.extend(live(&a, 20).await);
        samples.extend(live(&b, 30).await);
        pins(&a, &samples[0]).await.unwrap_err();
        all_show(&[&a, &b], &samples).await;
        assert!(formats(&town.world).await.iter().all(|format| *format <= OLDER));

        // Renewed, one after the other.
        b.kill();
        let b = town.start("b", Rule::Auto).await;
        until(async || pins(&a, &samples[0]).await.is_ok()).await;
        samples.extend(live(&b, 40).await);
        all_show(&[&a, &b], &samples).await;
        let formats = formats(&town.world).await;
        assert!(formats.contains(&VERSION), "{formats:?}");
    });
}

#[test]
fn a_gateway_that_nobody_has_heard_of_yet_counts_as_older() {
    let driver = Runtime::new().unwrap();
    driver.block_on(async {
        let town = Town::new(&["a", "b"]);
        let a = town.start("a", Rule::Yes).await;
        a.depot.create_cache(new_cache("main")).await.unwrap();
        let samples = live(&a, 0).await;
        pins(&a, &samples[0]).await.unwrap_err();
        assert!(formats(&town.world).await.iter().all(|format| *format <= OLDER));
        let _b = town.start("b", Rule::No).await;
        until(async || pins(&a, &samples[0]).await.is_ok()).await;
    });
}
