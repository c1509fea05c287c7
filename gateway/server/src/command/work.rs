//! Commands that work on what is stored: the gateway that runs does it; where none runs, the command itself.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Outside;
use super::serve::make_private_folder;
use crate::config::{self, Config};
use crate::control::{AskError, FolderLock, Line, Outcome, Request, ask, perform};
use crate::depot::{Depot, DepotConfig, Effects};

/// How an outcome is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Output {
    /// For people
    #[default]
    Text,
    /// For programs; stays as it is
    Json,
}

/// Why a command does not do it itself.
#[derive(Debug, thiserror::Error)]
enum WorkError {
    /// Others may run.
    #[error(
        "no gateway runs here, and this one is one of several: start it, or run the command where the gateway runs that orders changes"
    )]
    OneOfSeveral,
    #[error("{0}")]
    Said(String),
}

/// Has it done, telling people on standard error how far it is.
pub(super) async fn run(
    path: &Path,
    request: Request,
    outside: &Outside,
) -> Result<Outcome, Box<dyn Error + Send + Sync>> {
    let config = config::load(path)?;
    let stop = CancellationToken::new();
    let asked = tokio::select! {
        asked = ask(&config.state_dir, &request, tell) => asked,
        _ = tokio::signal::ctrl_c() => return Err(WorkError::Said("stopped; what was done stays done".to_owned()).into()),
    };
    match asked {
        Ok(outcome) => Ok(outcome),
        Err(AskError::NotRunning { .. }) => Box::pin(alone(config, request, outside, stop)).await,
        Err(error) => Err(error.into()),
    }
}

/// Does it without a gateway that runs. Takes office, as a gateway that starts does.
async fn alone(
    config: Config,
    request: Request,
    outside: &Outside,
    stop: CancellationToken,
) -> Result<Outcome, Box<dyn Error + Send + Sync>> {
    if config.fleet.is_some() {
        return Err(WorkError::OneOfSeveral.into());
    }
    let Config {
        state_dir,
        key,
        s3,
        memory,
        upkeep,
        ..
    } = config;
    make_private_folder(&state_dir)?;
    let _lock = FolderLock::take(&state_dir, Duration::from_secs(2)).await?;
    let config = DepotConfig {
        s3: s3.fixed(),
        state_dir,
        key,
        memory: memory.0,
        upkeep,
    };
    let effects = Effects {
        clock: outside.clock.clone(),
        seed: StdRng::from_seed(outside.seed).random(),
    };
    let depot = Box::pin(Depot::open(config, effects)).await?;
    let (telling, mut told) = mpsc::channel(16);
    let mut work = std::pin::pin!(perform(&depot, request, &stop, telling));
    let last = loop {
        tokio::select! {
            line = &mut work => break line,
            Some(line) = told.recv() => {
                if let Line::Progress(text) = line {
                    tell(&text);
                }
            }
            _ = tokio::signal::ctrl_c(), if !stop.is_cancelled() => stop.cancel(),
        }
    };
    depot.close().await;
    match last {
        Line::Done(outcome) => Ok(outcome),
        Line::Failed(reason) | Line::Progress(reason) => Err(WorkError::Said(reason).into()),
    }
}

fn tell(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
