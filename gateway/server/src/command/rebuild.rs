//! `rebuild`: makes the index from the bucket. Stop the gateway first.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use super::serve::make_private_folder;
use crate::config::{self, Config};
use crate::control::FolderLock;
use crate::depot::{self, DepotConfig};

/// It was told to stop.
#[derive(Debug, thiserror::Error)]
#[error("stopped; what was done stays done, and the same command goes on from there")]
struct Stopped;

pub(super) async fn run(path: &Path, from_log: bool) -> Result<(), Box<dyn Error + Send + Sync>> {
    let Config {
        state_dir,
        key,
        s3,
        memory,
        upkeep,
        ..
    } = config::load(path)?;
    make_private_folder(&state_dir)?;
    let _lock = FolderLock::take(&state_dir, Duration::from_secs(2)).await?;
    let config = DepotConfig {
        s3: s3.fixed(),
        state_dir,
        key,
        memory: memory.0,
        upkeep,
    };
    let rebuilt = tokio::select! {
        rebuilt = Box::pin(depot::rebuild(&config, from_log)) => rebuilt?,
        // What was applied is durable with its position.
        _ = tokio::signal::ctrl_c() => return Err(Stopped.into()),
    };
    let upto = rebuilt
        .position
        .map_or_else(|| "nothing".to_owned(), |position| position.place.to_string());
    let line = format!("made the index again up to {upto}; caches: {}", rebuilt.caches);
    writeln!(std::io::stdout().lock(), "{line}")?;
    Ok(())
}
