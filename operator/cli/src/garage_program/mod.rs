//! Garage itself: found on this machine, or built from its published source.

mod find;
mod install;

use std::path::PathBuf;

use hayloft_agent::child::spawn::Spawner;
use hayloft_garage::GarageVersion;

use crate::context::Context;

/// The version that is built when none is found.
pub(crate) const PINNED: &str = "2.5.0";

/// A Garage that can be run.
#[derive(Debug, Clone)]
pub(crate) struct GarageProgram {
    /// The file.
    pub(crate) path: PathBuf,
    /// Its version.
    pub(crate) version: GarageVersion,
}

/// Why there is no Garage to run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GarageError {
    /// One was named or found, and is not fit.
    #[error("{} cannot be used: {why}; set HAYLOFT_GARAGE to another Garage, or unset it and take that one off the PATH to have {PINNED} built", path.display())]
    Unfit { path: PathBuf, why: String },
    /// One was named, and is not there.
    #[error("HAYLOFT_GARAGE names {}, which does not exist; set it to the `garage` program, or unset it", path.display())]
    Missing { path: PathBuf },
    /// One was named, and cannot be run.
    #[error("HAYLOFT_GARAGE names {}, which is not a program; set it to the `garage` program, or unset it", path.display())]
    NoProgram { path: PathBuf },
    /// One was named, and does not answer.
    #[error("{} does not answer as Garage does: {why}; set HAYLOFT_GARAGE to the `garage` program, or unset it", path.display())]
    Silent { path: PathBuf, why: String },
    /// Neither the program nor a way to build it.
    #[error("Garage {PINNED} is not here (looked at HAYLOFT_GARAGE, PATH and {}), and there is no `cargo` to build it; install either of them", cached.display())]
    NoCargo { cached: PathBuf },
    /// No folder to keep it in.
    #[error("there is no folder to build Garage in; set HOME, or HAYLOFT_GARAGE to the `garage` program")]
    NoHome,
    /// The build failed.
    #[error("Garage {PINNED} could not be built: {why}; the whole output is in {}", log.display())]
    Build { why: String, log: PathBuf },
    /// The build was interrupted.
    #[error("stopped while Garage was being built; the next start goes on where this one was")]
    Interrupted,
    /// A folder or file cannot be used.
    #[error("cannot use {}: {why}", path.display())]
    File { path: PathBuf, why: std::io::Error },
}

/// Finds Garage, or builds it. Takes minutes in the second case, with visible progress.
pub(crate) async fn provide(context: &Context, spawner: &Spawner) -> Result<GarageProgram, GarageError> {
    let cache = context.env.xdg("XDG_CACHE_HOME", ".cache");
    let root = cache.map(|cache| cache.join("hayloft").join(format!("garage-{PINNED}")));
    // A service has no home, and needs none where Garage is named.
    let known = root.clone().unwrap_or_else(|| "/nonexistent".into());
    match find::find(&context.env, &known, spawner).await? {
        Some(program) => Ok(program),
        None => {
            let root = root.ok_or(GarageError::NoHome)?;
            install::install(context, &root, spawner).await?;
            find::examine(&root.join("bin/garage"), spawner).await
        }
    }
}
