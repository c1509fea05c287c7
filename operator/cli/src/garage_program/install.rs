//! Building the pinned Garage with `cargo install`, where people can see that it goes on.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use hayloft_agent::child::log::UnitLog;
use hayloft_agent::child::spawn::{Launch, Spawner};
use indicatif::{ProgressBar, ProgressStyle};
use rustix::fs::FlockOperation;
use rustix::process::{Pid, Signal};
use tokio::sync::mpsc;

use super::{GarageError, PINNED, find};
use crate::context::{Context, Env};
use crate::signals;
use crate::words;

/// About so many packages are compiled.
const PACKAGES: u64 = 500;
/// Where there is no terminal, a line for every so many packages.
const LINE_EVERY: u64 = 50;

/// Builds Garage below `root` (it will be `root/bin/garage`). What was compiled before an interruption is kept.
pub(super) async fn install(context: &Context, root: &Path, spawner: &Spawner) -> Result<(), GarageError> {
    let cached = root.join("bin/garage");
    let cargo = find::in_path(&context.env, "cargo").ok_or(GarageError::NoCargo {
        cached: cached.clone(),
    })?;
    let building = root.with_added_extension("building");
    let (target, out) = (building.join("target"), building.join("out"));
    for folder in [&target, &out, &root.join("bin")] {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(file_error(folder))?;
    }
    let _lock = wait_for_turn(context, &building.join("lock")).await?;
    if cached.exists() {
        return Ok(());
    }
    context.note(&format!(
        "Garage {PINNED} is not here yet; it is built now, once, which takes about ten minutes."
    ));
    let log = building.join("build.log");
    run_cargo(context, spawner, &cargo, &target, &out, &log).await?;
    // Renamed when it is whole, so that a program in that place always is.
    fs::rename(out.join("bin/garage"), &cached).map_err(file_error(&cached))?;
    let _ = fs::remove_dir_all(&building);
    Ok(())
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> GarageError {
    let path = path.to_owned();
    move |why| GarageError::File { path, why }
}

/// Two builds at once would only slow each other down.
async fn wait_for_turn(context: &Context, path: &Path) -> Result<File, GarageError> {
    let lock = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map_err(file_error(path))?;
    let mut told = false;
    let mut interrupt = signals::interrupts().map_err(file_error(path))?;
    loop {
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(lock),
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(error) => return Err(file_error(path)(error.into())),
        }
        if !told {
            context.note("Another hayloft is building Garage; waiting for it.");
            told = true;
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            () = interrupt.next() => return Err(GarageError::Interrupted),
        }
    }
}

async fn run_cargo(
    context: &Context,
    spawner: &Spawner,
    cargo: &Path,
    target: &Path,
    out: &Path,
    log: &Path,
) -> Result<(), GarageError> {
    let failed = |why: String| GarageError::Build {
        why,
        log: log.to_owned(),
    };
    let args: Vec<OsString> = vec![
        "install".into(),
        "garage".into(),
        "--version".into(),
        PINNED.into(),
        "--locked".into(),
        "--root".into(),
        out.into(),
        "--target-dir".into(),
        target.into(),
    ];
    let launch = Launch {
        program: cargo.to_owned(),
        args,
        env: environment(&context.env),
        dir: out.to_owned(),
    };
    let mut interrupt = signals::interrupts().map_err(|error| failed(error.to_string()))?;
    let mut child = spawner
        .spawn(&launch, None)
        .await
        .map_err(|error| failed(error.to_string()))?;
    let pid = child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(Pid::from_raw);
    let output = UnitLog::new(log.to_owned());
    let (say, mut lines) = mpsc::unbounded_channel();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let readers = async {
        let out = async {
            if let Some(stdout) = stdout {
                output.clone().follow(stdout, |_| {}).await;
            }
        };
        let err = async {
            if let Some(stderr) = stderr {
                let see = |line: &str| drop(say.send(line.to_owned()));
                output.clone().follow(stderr, see).await;
            }
        };
        tokio::join!(out, err);
    };
    tokio::pin!(readers);
    let mut progress = Progress::new(context);
    let status = loop {
        tokio::select! {
            () = &mut readers => break child.wait().await.map_err(|error| failed(error.to_string()))?,
            Some(line) = lines.recv() => progress.see(context, &line),
            () = interrupt.next() => {
                if let Some(pid) = pid {
                    let _ = rustix::process::kill_process_group(pid, Signal::TERM);
                }
                let _ = child.wait().await;
                progress.finish();
                return Err(GarageError::Interrupted);
            }
        }
    };
    // It may have ended before all that it said was looked at.
    while let Ok(line) = lines.try_recv() {
        progress.see(context, &line);
    }
    progress.finish();
    if status.success() {
        Ok(())
    } else {
        Err(failed(output.last_words().unwrap_or_else(|| status.to_string())))
    }
}

/// What cargo needs of our environment; what an outer cargo set for its own build is left out.
fn environment(env: &Env) -> Vec<(OsString, OsString)> {
    const OF_THE_OUTER_BUILD: [&str; 4] = [
        "CARGO_TARGET_DIR",
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTFLAGS",
        "CARGO",
    ];
    env.iter()
        .filter(|(name, _)| {
            let name = name.to_string_lossy();
            !OF_THE_OUTER_BUILD.contains(&&*name)
                && !name.starts_with("CARGO_PKG_")
                && !name.starts_with("CARGO_MANIFEST")
        })
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// A bar on a terminal, lines elsewhere.
struct Progress {
    bar: Option<ProgressBar>,
    compiled: u64,
    began: tokio::time::Instant,
}

impl Progress {
    fn new(context: &Context) -> Self {
        let bar = context.terminal.stderr.then(|| {
            let bar = ProgressBar::new(PACKAGES);
            if let Ok(style) = ProgressStyle::with_template(
                "{spinner} Building Garage [{bar:30}] {pos}/~{len} {msg} ({elapsed})",
            ) {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self {
            bar,
            compiled: 0,
            began: tokio::time::Instant::now(),
        }
    }

    fn see(&mut self, context: &Context, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["Compiling", name, ..] => {
                self.compiled += 1;
                if let Some(bar) = &self.bar {
                    bar.set_position(self.compiled.min(PACKAGES));
                    bar.set_message((*name).to_owned());
                } else if self.compiled.is_multiple_of(LINE_EVERY) {
                    let took = words::duration(self.began.elapsed());
                    context.note(&format!(
                        "  Building Garage: {} of about {PACKAGES} packages ({took})",
                        self.compiled
                    ));
                }
            }
            ["Updating" | "Downloading" | "Downloaded", ..] => {
                if let Some(bar) = &self.bar {
                    bar.set_message(line.trim().to_owned());
                }
            }
            _ => {}
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outer_build_does_not_leak_into_this_one() {
        let env: Env = [
            ("PATH", "/bin"),
            ("CARGO_PKG_NAME", "x"),
            ("RUSTFLAGS", "-x"),
            ("HTTPS_PROXY", "p"),
        ]
        .into_iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)))
        .collect();
        let kept: Vec<_> = environment(&env).into_iter().map(|(name, _)| name).collect();
        assert_eq!(kept, ["HTTPS_PROXY", "PATH"]);
    }
}
