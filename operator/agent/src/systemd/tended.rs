//! One unit that systemd shall run.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use hayloft_api::agent::ProgramStanding;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::account::Account;
use super::driver::SystemdConfig;
use super::judge::{self, Tally};
use super::manager::{Manager, ManagerError};
use super::plan::{self, Activity, Seen, Step};
use super::prepare::{self, PrepareError};
use super::render::{FINGERPRINT, RenderError, Rendered, render, service_name, socket_name};
use super::shown::Shown;
use super::trial::{Build, Programs};
use crate::agent::one_line;
use crate::cause::Cause;
use crate::child::backoff::Backoff;
use crate::death::{How, last_words};
use crate::driver::{OtherProgram, Phase, UnitState};
use crate::files::{self, WriteError};
use crate::unit::{Unit, UnitName};

/// What is under way is looked at often for so long.
const HURRY: Duration = Duration::from_secs(10);

/// After so long it is looked whether a unit that came up is whole.
const EXAMINED_AFTER: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(60)];

/// What units stand in.
pub(super) struct Surroundings {
    pub(super) config: SystemdConfig,
    pub(super) manager: Manager,
    pub(super) random: StdRng,
}

/// A unit is not as it shall be.
#[derive(Debug, thiserror::Error)]
pub(super) enum TendError {
    #[error("the unit cannot be given to systemd")]
    Render(#[from] RenderError),
    #[error("no user is known as whom {0} shall run")]
    NoAccount(UnitName),
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    #[error("the unit file cannot be written")]
    UnitFile(#[from] WriteError),
    #[error("the unit file {} cannot be removed", path.display())]
    Remove {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Manager(#[from] ManagerError),
}

/// How a look at a unit ended.
pub(super) struct Outcome {
    pub(super) state: UnitState,
    /// Something is under way.
    pub(super) soon: bool,
}

/// What a process surely read of the files that it reads while it runs. Kept on disk, so that the next agent does not have it read
/// them again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Read {
    invocation: String,
    digest: String,
}

/// One unit.
#[derive(Debug)]
pub(super) struct Tended {
    unit: Unit,
    written: bool,
    backoff: Backoff,
    /// When it is tried again, and how long that is from when it failed.
    not_before: Option<(Instant, Duration)>,
    trouble: Option<String>,
    tally: Tally,
    last_error: Option<String>,
    cause: Option<Cause>,
    /// Of which life it is known what it was started with.
    runs_as: Option<(String, String)>,
    /// What its files were when it was started from here, and which life ended then.
    started_with: Option<(String, String)>,
    /// The life during which its files became other ones.
    outdated: Option<String>,
    /// When something was done last, or its phase changed.
    moved: Option<(Instant, Activity)>,
    /// Which of its programs came up; read from the disk at the first look.
    programs: Option<Programs>,
    /// The program that was given to systemd.
    started: Option<PathBuf>,
    /// The life that was ended for the present one.
    ended: Option<String>,
    /// What to say of a program that did not come up.
    put_away: Option<String>,
    /// Of another program than it shall run as.
    other: Option<OtherProgram>,
    /// Since when its present life is seen.
    alive: Option<(String, Instant)>,
    /// The life whose lines were looked at, and how often.
    examined: Option<(String, usize)>,
}

impl Tended {
    pub(super) fn new(unit: Unit) -> Self {
        Self {
            unit,
            written: false,
            backoff: Backoff::default(),
            not_before: None,
            trouble: None,
            tally: Tally::default(),
            last_error: None,
            cause: None,
            runs_as: None,
            started_with: None,
            outdated: None,
            moved: None,
            programs: None,
            started: None,
            ended: None,
            put_away: None,
            other: None,
            alive: None,
            examined: None,
        }
    }

    /// From now on it shall be so.
    pub(super) fn now_as(&mut self, unit: Unit) {
        if self.unit != unit {
            self.unit = unit;
            self.written = false;
            self.not_before = None;
            self.backoff.reset();
        }
    }

    pub(super) fn grace(&self) -> Duration {
        self.unit.grace
    }

    /// Does what differs, and tells what is.
    pub(super) async fn tend(&mut self, shown: &Shown, around: &mut Surroundings) -> Outcome {
        if let Some(life) = self.tally.look(shown) {
            self.died(&life, shown, around).await;
        }
        let mut did = false;
        if self.not_before.is_none_or(|(moment, _)| moment <= Instant::now()) {
            self.not_before = None;
            match self.steps(shown, around).await {
                Ok(some) => {
                    did = some;
                    self.trouble = None;
                }
                Err(error) => {
                    let error = one_line(&error);
                    let wait = self.backoff.after_death(Duration::ZERO, &mut around.random);
                    tracing::error!(unit = %self.unit.name, %error, wait_ms = wait.as_millis(), "a unit is not as it shall be");
                    self.not_before = Some((Instant::now() + wait, wait));
                    self.cause = Cause::of_line(&error);
                    self.trouble = Some(error);
                }
            }
        }
        let state = self.state(shown);
        let soon = self.is_under_way(judge::activity(shown), did);
        Outcome { state, soon }
    }

    /// Whether to look again soon. What starts or stops for long is looked at as seldom as what runs.
    fn is_under_way(&mut self, activity: Activity, did: bool) -> bool {
        let now = Instant::now();
        let since = match self.moved {
            Some((since, last)) if last == activity && !did => since,
            _ => now,
        };
        self.moved = Some((since, activity));
        did || (matches!(activity, Activity::Starting | Activity::Stopping) && now - since < HURRY)
    }

    fn state(&self, shown: &Shown) -> UnitState {
        let phase = match (judge::phase(shown), self.not_before) {
            // It is tried again after a while.
            (Phase::Stopped, Some((_, wait))) => Phase::BackingOff { wait },
            (phase, _) => phase,
        };
        let runs = matches!(phase, Phase::Running { .. });
        UnitState {
            restarts: self.tally.deaths(),
            last_error: [&self.trouble, &self.put_away, &self.last_error]
                .into_iter()
                .find_map(Clone::clone),
            cause: self.cause,
            listening: self.unit.door.clone().filter(|_| runs),
            other: self.other.clone(),
            phase,
        }
    }

    async fn died(&mut self, life: &str, shown: &Shown, around: &Surroundings) {
        let lines = around.manager.last_lines(life).await;
        self.cause = lines.iter().rev().find_map(|line| Cause::of_line(line));
        let words = last_words(lines.iter().map(String::as_str));
        let how = match judge::activity(shown) {
            Activity::Waiting | Activity::Down => judge::how(shown),
            // It runs again: what systemd shows is of the new life.
            Activity::Starting | Activity::Up | Activity::Stopping => {
                let notes = around.manager.notes(life).await;
                let ended = notes.iter().rev().find_map(|line| judge::ended(line));
                ended.unwrap_or_else(|| How::Unknown("it ended".to_owned()))
            }
        };
        let why = how.in_words(self.cause, words);
        tracing::warn!(unit = %self.unit.name, %why, "a unit died");
        self.last_error = Some(why);
    }

    /// Does what is to be done; whether there was something.
    async fn steps(&mut self, shown: &Shown, around: &mut Surroundings) -> Result<bool, TendError> {
        let name = self.unit.name;
        let account = around
            .config
            .accounts
            .get(&name)
            .cloned()
            .ok_or(TendError::NoAccount(name))?;
        let unit = self.with_program_that_comes_up(shown)?;
        let stamp = around.stamp(&unit);
        let rendered = render(&unit, &account.name, stamp.as_deref())?;
        if !self.written {
            self.make_folders(&rendered, &account).await?;
            if prepare::files(&self.unit, account.owner)? {
                self.outdated = Some(shown.invocation.clone());
            }
            self.written = true;
        }
        let seen = self.seen(shown, around)?;
        if seen.activity == Activity::Up {
            self.backoff.reset();
        }
        self.examine(around).await?;
        let steps = plan::steps(&rendered, &seen);
        // What is about to start must find its folders; also one that systemd starts again by itself.
        let starts = steps
            .iter()
            .any(|step| matches!(step, Step::Start | Step::Restart));
        if starts || seen.activity == Activity::Waiting {
            self.make_folders(&rendered, &account).await?;
        }
        for step in &steps {
            self.take(*step, &rendered, shown, around).await?;
        }
        if starts && seen.activity == Activity::Down {
            // One that never comes up, because something it needs is missing, is not tried all the time.
            let wait = self.backoff.after_death(Duration::ZERO, &mut around.random);
            self.not_before = Some((Instant::now() + wait, wait));
        }
        Ok(!steps.is_empty())
    }

    /// Ends a unit that goes on without something that it is there for: it may come up whole.
    async fn examine(&mut self, around: &Surroundings) -> Result<(), TendError> {
        let Some((life, since)) = self.alive.clone() else {
            return Ok(());
        };
        let due = EXAMINED_AFTER.iter().filter(|at| since.elapsed() >= **at).count();
        let looked = match &self.examined {
            Some((examined, times)) if *examined == life => *times,
            _ => 0,
        };
        if due <= looked {
            return Ok(());
        }
        let lines = around.manager.last_lines(&life).await;
        self.examined = Some((life, due));
        if lines.iter().any(|line| Cause::cripples(line)) {
            tracing::warn!(unit = %self.unit.name, "it goes on without something that it is there for, and is started again");
            around.manager.kill(self.unit.name).await?;
        }
        Ok(())
    }

    /// The unit, with its former program where the one that is wanted did not come up.
    fn with_program_that_comes_up(&mut self, shown: &Shown) -> Result<Unit, TendError> {
        let file = self.unit.launch.dir.join(format!("{}.programs", self.unit.name));
        let programs = self.programs.get_or_insert_with(|| {
            let kept = fs::read(&file).ok();
            kept.and_then(|kept| serde_json::from_slice(&kept).ok())
                .unwrap_or_default()
        });
        let up = judge::activity(shown) == Activity::Up && self.ended.as_ref() != Some(&shown.invocation);
        let alive = match &self.alive {
            Some((life, since)) if up && *life == shown.invocation => Some(since.elapsed()),
            _ => {
                self.alive = up.then(|| (shown.invocation.clone(), Instant::now()));
                None
            }
        };
        let wanted = build(&self.unit.launch.program);
        // What runs, or tries to, is what the unit file names.
        let running = self.started.as_ref().map(|program| build(program));
        let mut keep = running.is_some_and(|running| programs.look(&running, self.tally.deaths(), alive));
        let mut unit = self.unit.clone();
        // One that runs proves itself before another one follows, else there would be nothing to go back to.
        let was_held = self.other.as_ref().map(|other| other.standing) == Some(ProgramStanding::Held);
        let waits = match programs.young() {
            true => up && (unit.hold || was_held),
            false => unit.hold,
        };
        // A former one that is gone cannot be gone on with.
        let hold = waits && programs.former_is_there();
        unit.launch.program = programs.choose(&wanted, hold).to_owned();
        // Its trial begins before it starts: it may have died before the next look.
        keep |= programs.look(&build(&unit.launch.program), self.tally.deaths(), None);
        if keep {
            let text = serde_json::to_vec(programs).unwrap_or_default();
            files::replace(&file, &text, 0o600)?;
        }
        self.started = Some(unit.launch.program.clone());
        self.put_away = programs.in_words(&wanted);
        self.other = programs.standing(&wanted, hold);
        Ok(unit)
    }

    async fn make_folders(&self, rendered: &Rendered, account: &Account) -> Result<(), TendError> {
        let (unit, rendered, owner) = (self.unit.clone(), rendered.clone(), account.owner);
        let made = tokio::task::spawn_blocking(move || prepare::folders(&unit, &rendered, owner)).await;
        match made {
            Ok(made) => Ok(made?),
            // The runtime ends: nothing is started any more.
            Err(_) => Ok(()),
        }
    }

    fn seen(&mut self, shown: &Shown, around: &Surroundings) -> Result<Seen, TendError> {
        let name = self.unit.name;
        let file = |file: String| fs::read_to_string(around.config.units.join(file)).ok();
        let activity = judge::activity(shown);
        let mut read = self.read().filter(|read| read.invocation == shown.invocation);
        if read.is_none()
            && matches!(activity, Activity::Starting | Activity::Up)
            && let Some((former, live)) = self.started_with.clone()
            && former != shown.invocation
        {
            let fresh = Read {
                invocation: shown.invocation.clone(),
                digest: live,
            };
            self.note_read(&fresh)?;
            self.started_with = None;
            read = Some(fresh);
        }
        let mut read = read.map(|read| read.digest);
        if read.is_none() && self.outdated.as_ref() == Some(&shown.invocation) {
            read = Some(String::new());
        }
        Ok(Seen {
            service: file(service_name(name)),
            socket: file(socket_name(name)),
            stale: shown.stale,
            enabled: shown.enabled,
            activity,
            runs_as: self.runs_as(shown, around),
            read,
        })
    }

    /// What the running process was started with. One that runs and does not say was started by something else.
    fn runs_as(&mut self, shown: &Shown, around: &Surroundings) -> Option<String> {
        if let Some((life, fingerprint)) = &self.runs_as
            && *life == shown.invocation
        {
            return Some(fingerprint.clone());
        }
        let environment = around.config.proc.join(shown.pid?.to_string()).join("environ");
        let environment = fs::read(environment).ok()?;
        let found = environment
            .split(|byte| *byte == 0)
            .filter_map(|variable| std::str::from_utf8(variable).ok()?.strip_prefix(FINGERPRINT))
            .find_map(|rest| rest.strip_prefix('='));
        match found {
            Some(fingerprint) => {
                self.runs_as = Some((shown.invocation.clone(), fingerprint.to_owned()));
                Some(fingerprint.to_owned())
            }
            // Before it became the unit's program, a process says nothing yet.
            None => (judge::activity(shown) == Activity::Up && !environment.is_empty()).then(String::new),
        }
    }

    async fn take(
        &mut self,
        step: Step,
        rendered: &Rendered,
        shown: &Shown,
        around: &Surroundings,
    ) -> Result<(), TendError> {
        let (name, manager) = (self.unit.name, &around.manager);
        match step {
            Step::WriteService => {
                let path = around.config.units.join(service_name(name));
                files::replace(&path, rendered.service.as_bytes(), 0o644)?;
            }
            Step::WriteSocket => {
                let path = around.config.units.join(socket_name(name));
                let text = rendered.socket.as_deref().unwrap_or_default();
                files::replace(&path, text.as_bytes(), 0o644)?;
            }
            Step::RemoveSocket => {
                around.remove_file(&socket_name(name))?;
            }
            Step::Reload => manager.reload().await?,
            Step::Enable => manager.enable(name, rendered.socket.is_some()).await?,
            Step::CloseSocket => manager.stop(name, self.unit.grace).await?,
            Step::Start => {
                manager.start(name).await?;
                self.was_started(rendered, shown);
            }
            Step::Restart => {
                manager.restart(name).await?;
                self.was_started(rendered, shown);
            }
            Step::HangUp => {
                manager.hang_up(name).await?;
                self.note_read(&Read {
                    invocation: shown.invocation.clone(),
                    digest: rendered.live.clone().unwrap_or_default(),
                })?;
            }
        }
        Ok(())
    }

    fn was_started(&mut self, rendered: &Rendered, shown: &Shown) {
        let former = shown.invocation.clone();
        self.ended = Some(former.clone());
        self.started_with = rendered.live.clone().map(|live| (former, live));
    }

    fn read_file(&self) -> PathBuf {
        self.unit.launch.dir.join(format!("{}.read", self.unit.name))
    }

    fn read(&self) -> Option<Read> {
        serde_json::from_slice(&fs::read(self.read_file()).ok()?).ok()
    }

    fn note_read(&self, read: &Read) -> Result<(), WriteError> {
        let text = serde_json::to_vec(read).unwrap_or_default();
        files::replace(&self.read_file(), &text, 0o600).map(drop)
    }
}

/// The file at a path as it is now.
fn build(path: &Path) -> Build {
    Build {
        path: path.to_owned(),
        stamp: stamp(path),
    }
}

/// Tells one build of a program from another at the same path.
fn stamp(path: &Path) -> Option<String> {
    let found = fs::metadata(path).ok()?;
    let written = found.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(format!("{} {}", found.len(), written.as_nanos()))
}

impl Surroundings {
    /// Stops a unit and removes its files from systemd. Its data stays.
    pub(super) async fn remove(&self, name: UnitName) -> Result<(), TendError> {
        let there = [service_name(name), socket_name(name)]
            .iter()
            .any(|file| self.config.units.join(file).exists());
        if !there {
            return Ok(());
        }
        self.manager.stop(name, Duration::ZERO).await?;
        self.manager.disable(name).await?;
        self.remove_file(&socket_name(name))?;
        self.remove_file(&service_name(name))?;
        Ok(self.manager.reload().await?)
    }

    fn remove_file(&self, name: &str) -> Result<(), TendError> {
        let path = self.config.units.join(name);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(TendError::Remove { path, source })
            }
            _ => Ok(()),
        }
    }

    /// The stamp of the agent's own program, for units that are of the same file.
    fn stamp(&self, unit: &Unit) -> Option<String> {
        let own = unit.launch.program == self.config.program;
        own.then(|| stamp(&unit.launch.program)).flatten()
    }
}
