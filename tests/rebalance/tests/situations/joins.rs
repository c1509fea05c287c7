//! Hosts that join.

use anyhow::Result;
use hayloft_rebalance::{Change, Cluster, host, ready, storage_host};

use crate::{CHILD, TABLE};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_host_joins_while_clients_push_and_pull() -> Result<()> {
    let mut cluster = Cluster::start(CHILD, 3).await?;
    let mut load = cluster.load(&[1, 2, 3], 60).await?;
    load.begin();
    cluster.arrive(&host(4)?).await?;
    let mut change = Change::begin(&cluster, "one host joins three")?;
    let fourth = storage_host(4, "zone-4")?;
    cluster
        .declare(|document| document.spec.hosts.push(fourth))
        .await?;
    let status = change.settled(&cluster).await?;
    assert_eq!(
        status.layout.version,
        change.version() + 1,
        "one version for one join"
    );
    change.placed(&cluster).await?;
    cluster.until("ready", ready).await?;
    let score = load.end().await;
    let row = change.row(&cluster, &score)?;
    row.keep(TABLE)?;
    assert_eq!(score.failures, Vec::<String>::new());
    assert_eq!(row.partitions_moved, row.partitions_least);
    load.read_all().await?;
    cluster.stop().await;
    Ok(())
}
