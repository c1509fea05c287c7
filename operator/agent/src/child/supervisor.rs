//! The life of one unit: starts it, watches it, starts it again when it dies, stops it.

use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use rand::rngs::StdRng;
use rustix::process::{Pid, Signal};
use tokio::process::Child;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::backoff::Backoff;
use super::door::Door;
use super::log::UnitLog;
use super::spawn::Spawner;
use crate::cause::Cause;
use crate::death::How;
use crate::driver::{Phase, UnitState, UnitStates};
use crate::files;
use crate::unit::{Ready, Unit, UnitName};

/// After a death, its last words are awaited for so long: a grandchild may hold the pipe open.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Clients wait at the door of a unit that died for so long at the most, until it is started again.
const PATIENCE: Duration = Duration::from_secs(2);

/// What supervises one unit.
pub(super) struct Supervisor {
    name: UnitName,
    spawner: Spawner,
    states: watch::Sender<UnitStates>,
    backoff: Backoff,
    random: StdRng,
    door: Door,
}

/// How one life of a unit ended.
enum End {
    /// It died by itself, or could not be started.
    Died {
        ran: Duration,
        why: String,
        cause: Option<Cause>,
    },
    /// It was stopped because the wish is another one now.
    Stopped,
}

/// A unit that could not be started.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("{error}: {}", error.source)]
    Files { error: files::WriteError },
    #[error("cannot remove the old socket {path}: {why}")]
    Socket { path: String, why: std::io::Error },
    #[error("cannot listen on {address}: {why}")]
    Door { address: String, why: std::io::Error },
    #[error("cannot start a process: {0}")]
    Spawn(std::io::Error),
}

/// Follows the wish until its sender is dropped; then stops the unit and ends.
pub(super) async fn run(mut supervisor: Supervisor, mut wish: watch::Receiver<Option<Unit>>) {
    loop {
        let unit = wish.borrow_and_update().clone();
        let Some(unit) = unit else {
            supervisor.door.close();
            supervisor.tell(|state| *state = UnitState::stopped());
            if wish.changed().await.is_err() {
                return;
            }
            continue;
        };
        match supervisor.live(&unit, &mut wish).await {
            End::Stopped => supervisor.backoff.reset(),
            End::Died { ran, why, cause } => {
                let wait = supervisor.backoff.after_death(ran, &mut supervisor.random);
                if wait > PATIENCE {
                    // To be refused is better than to wait for something that may not come back.
                    supervisor.door.close();
                }
                tracing::warn!(unit = %supervisor.name, ran_s = ran.as_secs(), %why, wait_ms = wait.as_millis(), "a unit died");
                supervisor.tell(|state| {
                    state.phase = Phase::BackingOff { wait };
                    state.restarts = state.restarts.saturating_add(1);
                    state.last_error = Some(why);
                    state.cause = cause;
                    state.listening = None;
                });
                wait_unless_changed(wait, &unit, &mut wish).await;
            }
        }
        if wish.has_changed().is_err() {
            supervisor.tell(|state| *state = UnitState::stopped());
            return;
        }
    }
}

/// Waits out a back-off; a wish that would restart the unit ends the wait at once, for it may be the remedy.
async fn wait_unless_changed(wait: Duration, unit: &Unit, wish: &mut watch::Receiver<Option<Unit>>) {
    let end = Instant::now() + wait;
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(end) => return,
            changed = wish.changed() => {
                let remedy = changed.is_err()
                    || wish.borrow_and_update().as_ref().is_none_or(|new| unit.asks_for_restart(new));
                if remedy {
                    return;
                }
            }
        }
    }
}

impl Supervisor {
    pub(super) fn new(
        name: UnitName,
        spawner: Spawner,
        states: watch::Sender<UnitStates>,
        random: StdRng,
    ) -> Self {
        Self {
            name,
            spawner,
            states,
            backoff: Backoff::default(),
            random,
            door: Door::default(),
        }
    }

    fn tell(&self, change: impl FnOnce(&mut UnitState)) {
        self.states
            .send_modify(|states| change(states.entry(self.name).or_insert_with(UnitState::stopped)));
    }

    /// Makes ready what a unit needs, and starts it.
    async fn start(&mut self, unit: &Unit) -> Result<Child, StartError> {
        prepare(unit)?;
        let address = unit.door.as_deref();
        let input = self.door.open(address).map_err(|why| StartError::Door {
            address: address.unwrap_or_default().to_owned(),
            why,
        })?;
        self.spawner
            .spawn(&unit.launch, input)
            .await
            .map_err(StartError::Spawn)
    }

    async fn live(&mut self, unit: &Unit, wish: &mut watch::Receiver<Option<Unit>>) -> End {
        let mut child = match self.start(unit).await {
            Ok(child) => child,
            Err(error) => {
                let why = error.to_string();
                return End::Died {
                    ran: Duration::ZERO,
                    cause: Cause::of_line(&why),
                    why,
                };
            }
        };
        let born = Instant::now();
        let pid = child.id().unwrap_or_default();
        let log = UnitLog::new(unit.log.clone());
        let (mut readers, mut listening) = follow_outputs(&mut child, &log);
        self.tell(|state| {
            state.phase = match unit.ready {
                Ready::AtOnce => Phase::Running { pid },
                Ready::SaysListening => Phase::Starting { pid },
            };
        });
        let mut heard = unit.ready == Ready::AtOnce;
        // Files that it may have read before they were renewed.
        let mut unread = false;
        let mut current = unit.clone();
        loop {
            tokio::select! {
                status = child.wait() => {
                    let _ = timeout(LAST_WORDS, async { while readers.join_next().await.is_some() {} }).await;
                    let cause = log.cause();
                    let why = why_it_died(status, cause, log.last_words().as_deref());
                    return End::Died { ran: born.elapsed(), why, cause };
                }
                () = log.crippled() => {
                    tracing::warn!(unit = %self.name, "it goes on without something that it is there for, and is started again");
                    let _ = child.start_kill();
                }
                address = &mut listening, if !heard => {
                    heard = true;
                    if let Ok(address) = address {
                        self.tell(|state| {
                            state.phase = Phase::Running { pid };
                            state.listening = Some(address);
                        });
                    }
                    if std::mem::take(&mut unread) {
                        hang_up(&child);
                    }
                }
                changed = wish.changed() => {
                    let new = if changed.is_ok() { wish.borrow_and_update().clone() } else { None };
                    match new {
                        Some(new) if !current.asks_for_restart(&new) => {
                            if let Err(error) = write_files(&new) {
                                tracing::warn!(unit = %self.name, %error, "files of a running unit could not be renewed");
                            } else if new.rereads && new.files != current.files {
                                // Before it is ready, the signal would end it.
                                if heard {
                                    hang_up(&child);
                                } else {
                                    unread = true;
                                }
                            }
                            current = new;
                        }
                        _ => {
                            self.tell(|state| state.phase = Phase::Stopping { pid });
                            stop(&mut child, current.grace).await;
                            let _ = timeout(LAST_WORDS, async { while readers.join_next().await.is_some() {} }).await;
                            return End::Stopped;
                        }
                    }
                }
            }
        }
    }
}

/// Makes folders and files and removes what a killed predecessor left.
fn prepare(unit: &Unit) -> Result<(), StartError> {
    for folder in &unit.folders {
        files::private_dir(folder).map_err(|error| StartError::Files { error })?;
    }
    write_files(unit)?;
    for socket in &unit.sockets {
        remove_socket(socket)?;
    }
    Ok(())
}

fn write_files(unit: &Unit) -> Result<(), StartError> {
    for file in &unit.files {
        files::replace(&file.path, &file.content, 0o600).map_err(|error| StartError::Files { error })?;
    }
    Ok(())
}

fn remove_socket(path: &Path) -> Result<(), StartError> {
    match std::fs::remove_file(path) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => Err(StartError::Socket {
            path: path.display().to_string(),
            why,
        }),
        _ => Ok(()),
    }
}

/// Sends both outputs to the log; gives the readers, and the address that the unit says it listens at.
fn follow_outputs(child: &mut Child, log: &UnitLog) -> (JoinSet<()>, oneshot::Receiver<String>) {
    let mut readers = JoinSet::new();
    let (say, listening) = oneshot::channel();
    let mut say = Some(say);
    log.begin();
    if let Some(stdout) = child.stdout.take() {
        readers.spawn(log.clone().follow(stdout, move |line| {
            if say.is_some()
                && let Some(address) = listening_address(line)
                && let Some(say) = say.take()
            {
                let _ = say.send(address);
            }
        }));
    }
    if let Some(stderr) = child.stderr.take() {
        readers.spawn(log.clone().follow(stderr, |_| {}));
    }
    (readers, listening)
}

/// The address in a line such as `{"listening":"127.0.0.1:8080"}`.
fn listening_address(line: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    Some(value.get("listening")?.as_str()?.to_owned())
}

/// Asks the process to read its files anew.
fn hang_up(child: &Child) {
    if let Some(pid) = pid_of(child) {
        let _ = rustix::process::kill_process(pid, Signal::HUP);
    }
}

/// The process, which is still ours: `wait` has not reaped it, so the number cannot belong to another one.
fn pid_of(child: &Child) -> Option<Pid> {
    child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(Pid::from_raw)
}

/// Asks the process to end, and kills it with all it started when it does not within `grace`.
async fn stop(child: &mut Child, grace: Duration) {
    let Some(pid) = pid_of(child) else { return };
    let _ = rustix::process::kill_process(pid, Signal::TERM);
    tokio::select! {
        _ = child.wait() => {}
        () = sleep(grace) => {
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
            let _ = child.wait().await;
        }
    }
}

/// One line on a death.
fn why_it_died(
    status: std::io::Result<ExitStatus>,
    cause: Option<Cause>,
    last_words: Option<&str>,
) -> String {
    use std::os::unix::process::ExitStatusExt;
    let how = match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => How::Exited(code),
            (None, Some(signal)) => How::Killed(signal),
            (None, None) => How::Unknown("it ended".to_owned()),
        },
        Err(error) => How::Unknown(error.to_string()),
    };
    how.in_words(cause, last_words)
}
