//! Looking for Garage: what `HAYLOFT_GARAGE` names, then `PATH`, then what an earlier start built.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hayloft_agent::child::spawn::{Launch, Spawner};
use hayloft_garage::GarageVersion;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::{GarageError, GarageProgram};
use crate::context::Env;

/// A program that has not told its version by then is not Garage.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// More output than this is not a version.
const LONGEST_ANSWER: u64 = 64 * 1024;
/// Letters of an answer that is not Garage's that are shown.
const SHOWN: usize = 80;

/// The first Garage there is; `None` when there is none at all. One that is there and cannot be used is an error: whoever
/// put it there shall know.
pub(super) async fn find(
    env: &Env,
    root: &Path,
    spawner: &Spawner,
) -> Result<Option<GarageProgram>, GarageError> {
    if let Some(named) = env.get("HAYLOFT_GARAGE") {
        // Asked for in a folder of its own, so a relative path would lead elsewhere there.
        let path = std::path::absolute(named).unwrap_or_else(|_| named.into());
        if !path.exists() {
            return Err(GarageError::Missing { path });
        }
        if !is_program(&path) {
            return Err(GarageError::NoProgram { path });
        }
        return examine(&path, spawner).await.map(Some);
    }
    let in_path = in_path(env, "garage");
    let built = Some(root.join("bin/garage")).filter(|path| is_program(path));
    for candidate in [in_path, built].into_iter().flatten() {
        match examine(&candidate, spawner).await {
            // Something else of that name; ours may still be there.
            Err(GarageError::Silent { path, why }) => {
                tracing::warn!(path = %path.display(), %why, "not Garage");
            }
            found => return found.map(Some),
        }
    }
    Ok(None)
}

/// A program in `PATH`.
pub(super) fn in_path(env: &Env, name: &str) -> Option<PathBuf> {
    std::env::split_paths(env.get("PATH")?)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(name))
        .find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Asks a program for its version and judges it.
pub(super) async fn examine(path: &Path, spawner: &Spawner) -> Result<GarageProgram, GarageError> {
    let silent = |why: String| GarageError::Silent {
        path: path.to_owned(),
        why,
    };
    let output = version_output(path, spawner)
        .await
        .map_err(|error| silent(error.to_string()))?;
    let version = GarageVersion::from_output(&output).map_err(|_| silent(said(&output)))?;
    match version.fit() {
        Ok(()) => Ok(GarageProgram {
            path: path.to_owned(),
            version,
        }),
        Err(unfit) => Err(GarageError::Unfit {
            path: path.to_owned(),
            why: unfit.to_string(),
        }),
    }
}

/// What a program said that is not Garage, short enough for one line.
fn said(output: &str) -> String {
    let Some(line) = output.lines().map(str::trim).find(|line| !line.is_empty()) else {
        return "it says nothing when it is asked for its version".to_owned();
    };
    // A program may print anything, also what a terminal takes for commands.
    let mut shown: String = line.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
    if shown.len() < line.len() {
        shown.push('…');
    }
    format!("asked for its version it says `{shown}`")
}

async fn version_output(path: &Path, spawner: &Spawner) -> std::io::Result<String> {
    let launch = Launch {
        program: path.to_owned(),
        args: vec!["--version".into()],
        env: vec![],
        dir: "/".into(),
    };
    let mut child = spawner.spawn(&launch, None).await?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let answer = async {
        let mut text = Vec::new();
        if let Some(stdout) = stdout {
            stdout.take(LONGEST_ANSWER).read_to_end(&mut text).await?;
        }
        if text.is_empty()
            && let Some(stderr) = stderr
        {
            stderr.take(LONGEST_ANSWER).read_to_end(&mut text).await?;
        }
        child.wait().await?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    timeout(ANSWER_WITHIN, answer)
        .await
        .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut)))
}
