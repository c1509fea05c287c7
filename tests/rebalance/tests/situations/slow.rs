//! The one test that lives through Garage's fixed delay of 610 seconds.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use hayloft_api::document::HostState;
use hayloft_api::status::ConditionType;
use hayloft_rebalance::{Change, host, ready};

use crate::scene::Scene;

/// Garage's delay, the time that the transfer takes, and patience.
const LONG: Duration = Duration::from_secs(900);

/// One look at the host that leaves.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: Duration,
    blocks: usize,
    runs: bool,
    same: bool,
    empty: bool,
    placed: bool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_a_drained_host_is_called_empty_only_when_its_disk_is_and_is_retired_only_then() -> Result<()> {
    let mut scene = Scene::set(4).await?;
    let leaver = host(4)?;
    let id = scene.cluster.host(&leaver)?.id();
    scene.load.end().await;
    let mut change = Change::begin(&scene.cluster, "one of four is drained until it is empty")?;
    let before = change.version();
    scene
        .cluster
        .declare(|document| {
            for host in &mut document.spec.hosts {
                if host.name == leaver {
                    host.state = HostState::Drained;
                }
            }
        })
        .await?;
    change.settled(&scene.cluster).await?;
    let began = Instant::now();
    let looks: Arc<Mutex<Vec<Look>>> = Arc::default();
    let retired = async {
        loop {
            let left = scene.cluster.host(&leaver)?;
            // What is claimed is read first: whatever the disk shows later was there when it was claimed.
            let status = scene.cluster.status()?;
            let holds = |kind| status.condition(kind).is_some_and(|condition| condition.status);
            let look = Look {
                at: began.elapsed(),
                empty: holds(ConditionType::Emptied) && status.layout.version > before,
                placed: holds(ConditionType::Placed) && status.layout.version > before,
                blocks: left.blocks().count(),
                runs: left.garage_pid().is_some(),
                same: left.id() == id,
            };
            looks.lock().unwrap_or_else(PoisonError::into_inner).push(look);
            if look.blocks == 0 && !look.runs && !look.same {
                return Ok::<_, anyhow::Error>(());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let outcome = tokio::time::timeout(LONG, retired).await;
    let looks = looks.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let last = looks.last().context("nobody looked")?;
    outcome.with_context(|| format!("it was never retired: {last:?}; {:?}", scene.cluster.status()))??;
    for look in &looks {
        let held = look.blocks > 0;
        assert!(
            !(held && look.empty),
            "called empty while it held blocks: {look:?}"
        );
        assert!(!held || look.runs, "stopped while it held blocks: {look:?}");
        assert!(look.same || !held, "another node while it held blocks: {look:?}");
    }
    let placed = looks.iter().find(|look| look.placed).context("never placed")?;
    assert!(placed.blocks > 0, "the two facts came at once: nothing was shown");
    let empty = looks
        .iter()
        .find(|look| look.blocks == 0)
        .context("never empty")?;
    println!(
        "placed after {:?} with {} blocks still on the leaver; its disk empty after {:?}; retired after {:?}",
        placed.at, placed.blocks, empty.at, last.at
    );
    scene.cluster.until("ready", ready).await?;
    assert_eq!(change.missing(&scene.cluster)?, Vec::<String>::new());
    scene.close().await
}
