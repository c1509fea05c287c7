//! Hosts die while clients push and pull, and everything is restarted.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use hayloft_e2e::attic_wire::{Attic, InfoIn};
use hayloft_e2e::home::{Home, Place};
use hayloft_e2e::process;
use hayloft_e2e::synthetic_nar::SyntheticNar;

const MIB: u64 = 1024 * 1024;

fn nars(from: u64, count: u64, size: u64) -> Vec<SyntheticNar> {
    (from..from + count)
        .map(|seed| SyntheticNar { size, seed })
        .collect()
}

async fn push(attic: &Attic, cache: &str, nar: SyntheticNar) -> Result<()> {
    let answer = attic
        .upload(&nar.upload(cache), nar.stream(), InfoIn::AsClient)
        .await?;
    let status = answer.status();
    ensure!(
        status.is_success(),
        "push of {}: {status} {}",
        nar.seed,
        answer.text().await?
    );
    Ok(())
}

async fn pull(attic: &Attic, cache: &str, nar: SyntheticNar) -> Result<()> {
    let pulled = attic
        .pull(cache, &nar.hash())
        .await
        .with_context(|| format!("pull of {}", nar.seed))?;
    ensure!(
        pulled.nar_hash == nar.upload(cache).nar_hash,
        "{} came with other bytes",
        nar.seed
    );
    Ok(())
}

async fn restarted(home: &Home, host: usize, before: u32) -> Result<()> {
    process::eventually(
        "the killed Garage daemon is started again",
        Duration::from_secs(40),
        async || {
            home.ready_now()
                .is_ok_and(|ready| ready.hosts[host].pid != before)
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_while_clients_push_and_pull_costs_them_nothing() -> Result<()> {
    let place = Place::new()?;
    let home = place.up(&[]).await?;
    let attic = Attic::new(&home.ready.gateway, Some(&home.ready.token))?;
    let cache = home.ready.cache.clone();

    // Pushing: the daemon of the gateway's own host, which is the one it speaks to first.
    let pushed = nars(0, 6, 24 * MIB);
    let killed = home.ready.hosts[0].pid;
    let pushes = try_join_all(pushed.iter().map(|nar| push(&attic, &cache, *nar)));
    let kill = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        home.kill_garage(0)
    };
    tokio::try_join!(pushes, kill)?;
    restarted(&home, 0, killed).await?;

    // Pulling: each of the other two, one after the other.
    for host in [1, 2] {
        let killed = home.ready_now()?.hosts[host].pid;
        let pulls = try_join_all(pushed.iter().map(|nar| pull(&attic, &cache, *nar)));
        let kill = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            home.kill_garage(host)
        };
        tokio::try_join!(pulls, kill)?;
        restarted(&home, host, killed).await?;
    }
    ensure!(
        home.printed().contains("host-1"),
        "the death of a child was not reported:\n{}",
        home.printed()
    );
    home.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_sigkill_of_everything_what_was_acknowledged_is_there_and_nothing_is_left_running()
-> Result<()> {
    let place = Place::new()?;
    let home = place.up(&[]).await?;
    let attic = Attic::new(&home.ready.gateway, Some(&home.ready.token))?;
    let cache = home.ready.cache.clone();
    let pushed = nars(100, 3, 5 * MIB);
    for nar in &pushed {
        push(&attic, &cache, *nar).await?;
    }
    let before = home.ready.clone();
    home.kill()?;
    let dir = place.dir();
    process::eventually("no child outlives hayloft", Duration::from_secs(5), async || {
        process::naming(&dir).is_empty()
    })
    .await?;

    let home = place.up(&[]).await?;
    assert_eq!(home.ready.public_key, before.public_key);
    let ids = |ready: &hayloft_e2e::home::Ready| {
        ready
            .hosts
            .iter()
            .map(|h| (h.name.clone(), h.garage_id.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&home.ready), ids(&before));
    for nar in &pushed {
        pull(&attic, &cache, *nar).await?;
    }
    let (status, took) = home.stop().await?;
    ensure!(status.success(), "hayloft up ended with {status}");
    ensure!(took < Duration::from_secs(10), "stopping took {took:?}");
    Ok(())
}
