//! One NAR of 1 GiB: the gateway's memory does not grow with it.

use std::time::Instant;

use anyhow::{Result, ensure};
use hayloft_e2e::attic_wire::{Attic, InfoIn};
use hayloft_e2e::home::Place;
use hayloft_e2e::process;
use hayloft_e2e::synthetic_nar::SyntheticNar;

const MIB: u64 = 1024 * 1024;
/// The default document gives the gateway 256 MiB of cache; what it needs beside it does not depend on the NAR.
const LIMIT: u64 = (256 + 300) * MIB;

#[tokio::test(flavor = "multi_thread")]
async fn a_nar_of_one_gib_goes_in_and_comes_out_in_bounded_memory() -> Result<()> {
    let place = Place::new()?;
    let home = place.up(&[]).await?;
    let attic = Attic::new(&home.ready.gateway, Some(&home.ready.token))?;
    let gateway = home.gateway_pid()?;
    let nar = SyntheticNar {
        size: 1024 * MIB,
        seed: 1,
    };
    let upload = nar.upload(&home.ready.cache);

    let started = Instant::now();
    let answer = attic.upload(&upload, nar.stream(), InfoIn::AsClient).await?;
    let status = answer.status();
    ensure!(status.is_success(), "{status} {}", answer.text().await?);
    let pushed = started.elapsed();
    let after_push = process::peak_memory(gateway)?;

    let started = Instant::now();
    let pulled = attic.pull(&home.ready.cache, &nar.hash()).await?;
    let pull = started.elapsed();
    let after_pull = process::peak_memory(gateway)?;
    assert_eq!(pulled.nar_hash, upload.nar_hash);
    eprintln!(
        "1 GiB: pushed in {:.1} s, pulled in {:.1} s ({} MiB on the wire); gateway's peak memory {} MiB after the push, {} MiB after the pull; ready in {:.1} s",
        pushed.as_secs_f64(),
        pull.as_secs_f64(),
        pulled.length / MIB,
        after_push / MIB,
        after_pull / MIB,
        home.took.as_secs_f64(),
    );
    ensure!(
        after_push < LIMIT && after_pull < LIMIT,
        "peak memory {} MiB",
        after_pull.max(after_push) / MIB
    );
    home.stop().await?;
    Ok(())
}
