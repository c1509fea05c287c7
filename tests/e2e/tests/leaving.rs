//! A host that holds data leaves. Garage keeps blocks for ten minutes, so this runs beside other long tests, in the rung `rebalance`.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hayloft_e2e::attic_wire::Attic;
use hayloft_e2e::community::{Community, all_up};
use hayloft_e2e::traffic::{pull, push};
use serde_json::Value;

/// Garage gives blocks away at once and removes them 610 s after that.
const PATIENCE: Duration = Duration::from_secs(1000);
/// Nobody may say that a disk is empty before.
const DELAY: Duration = Duration::from_secs(600);

/// How many blocks lie in a folder of Garage's: files that are called after a digest.
fn blocks(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let entries = entries.flatten().map(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let digest = name.split('.').next().unwrap_or_default();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => blocks(&entry.path()),
            Ok(_) => usize::from(digest.len() == 64),
            Err(_) => 0,
        }
    });
    entries.sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_a_host_that_holds_data_has_left_when_its_disk_is_empty_and_clients_noticed_nothing()
-> Result<()> {
    let mut community = Community::of(4)?;
    let (_, secret) = community.client().await?;
    let whole = |hosts: usize| {
        move |status: &Value| {
            all_up(status, hosts) && status["gateway"]["hosts"].as_array().map_or(0, Vec::len) == hosts
        }
    };
    community.until("whole", whole(4)).await?;
    let url = format!("http://{}:8080", community.address(1));
    let attic = Attic::new(&url, Some(&secret))?;
    for seed in 1..=6 {
        push(&attic, seed).await?;
    }
    let data = community.host_dir(4).join("data");
    ensure!(blocks(&data) > 0, "it holds nothing that it could give away");

    let began = Instant::now();
    let mut leave = community
        .hayloft()?
        .args(["leave", "--yes", "--dir"])
        .arg(community.host_dir(4))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // Clients go on meanwhile.
    let mut seed = 6;
    while leave.try_wait()?.is_none() {
        if began.elapsed() > PATIENCE {
            leave.kill()?;
            let left = leave.wait_with_output()?;
            let said = String::from_utf8_lossy(&left.stderr);
            anyhow::bail!("it has not left: {said} {}", community.logged("coordinator"));
        }
        seed += 1;
        push(&attic, seed).await?;
        pull(&attic, seed - 5).await?;
        tokio::time::sleep(Duration::from_secs(15)).await;
    }
    let left = leave.wait_with_output()?;
    let (said, noted) = (
        String::from_utf8_lossy(&left.stdout).into_owned(),
        String::from_utf8_lossy(&left.stderr).into_owned(),
    );
    println!("after {:?}:\n{noted}{said}", began.elapsed());
    ensure!(
        left.status.success() && said.contains("h4 has left the cluster commons"),
        "{said} {noted}"
    );
    ensure!(
        began.elapsed() > DELAY,
        "it was let go before Garage had deleted anything"
    );
    ensure!(blocks(&data) == 0, "{} blocks lie on its disk", blocks(&data));
    community.kill_agent(4)?;
    community.until("three are left", whole(3)).await?;
    for seed in 1..=seed {
        pull(&attic, seed).await?;
    }
    Ok(())
}
