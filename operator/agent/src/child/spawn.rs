//! Starting processes so that none outlives this one.
//!
//! Linux ties `PR_SET_PDEATHSIG` to the *thread* that forked: a child started from a pool thread would be killed when the
//! pool lets that thread go. So all children come from one thread that lives as long as the last [`Spawner`], and each
//! starts as a small shim of our own that asks for the signal, looks whether its parent is still there, and becomes the
//! program ([`become_program`]).

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::mpsc;

use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

/// What to start: the program with its arguments and its whole environment (nothing else is passed on).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The program, by full path or to be found in this process's `PATH`.
    pub program: PathBuf,
    /// Its arguments, without the program's own name. Never a secret: everyone on the machine can read them.
    pub args: Vec<OsString>,
    /// The whole environment of the child.
    pub env: Vec<(OsString, OsString)>,
    /// The folder in which it starts.
    pub dir: PathBuf,
}

/// The command that turns itself into another one after it has bound its life to ours, for example
/// `hayloft exec-child`. It gets `--parent PID -- program args…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shim {
    /// The program.
    pub program: PathBuf,
    /// What stands before `--parent`.
    pub args: Vec<OsString>,
}

struct Request {
    command: Command,
    answer: oneshot::Sender<io::Result<Child>>,
}

/// Starts children from one long-lived thread. Cheap to clone; when the last clone is dropped the thread ends, and what it
/// started and nobody waited for is killed by the kernel.
#[derive(Debug, Clone)]
pub struct Spawner {
    requests: mpsc::Sender<Request>,
    shim: Arc<Shim>,
}

impl Spawner {
    /// Starts the thread. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(shim: Shim) -> io::Result<Self> {
        let (requests, inbox) = mpsc::channel::<Request>();
        let runtime = tokio::runtime::Handle::current();
        std::thread::Builder::new()
            .name("spawner".to_owned())
            .spawn(move || {
                let _entered = runtime.enter();
                while let Ok(Request { mut command, answer }) = inbox.recv() {
                    // A child nobody takes is killed by `kill_on_drop`.
                    let _ = answer.send(command.spawn());
                }
            })?;
        Ok(Self {
            requests,
            shim: Arc::new(shim),
        })
    }

    /// Starts a child in a process group of its own, with its output as pipes; its standard input is empty, or `input`.
    ///
    /// # Errors
    /// What the system says. A program that is not there shows as an early exit of the shim, with a line on its
    /// standard error.
    pub async fn spawn(&self, launch: &Launch, input: Option<OwnedFd>) -> io::Result<Child> {
        let mut command = Command::new(&self.shim.program);
        command
            .args(&self.shim.args)
            .arg("--parent")
            .arg(std::process::id().to_string())
            .arg("--")
            .arg(&launch.program)
            .args(&launch.args)
            .env_clear()
            .envs(launch.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&launch.dir)
            .stdin(input.map_or_else(Stdio::null, Stdio::from))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .process_group(0);
        let (answer, started) = oneshot::channel();
        self.requests
            .send(Request { command, answer })
            .map_err(|_| io::Error::other("the spawner thread is gone"))?;
        started
            .await
            .map_err(|_| io::Error::other("the spawner thread is gone"))?
    }
}

/// The shim's whole life: asks the kernel to kill this process when the thread that started it goes, makes sure that the
/// parent is still `parent`, and becomes `program`. Comes back only with the reason why it could not.
#[must_use]
pub fn become_program(parent: u32, program: &OsString, args: &[OsString]) -> io::Error {
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    // The parent may have died before the line above: then nobody would ever send the signal.
    let now = rustix::process::getppid()
        .map(Pid::as_raw_nonzero)
        .map(std::num::NonZero::get);
    if now.and_then(|pid| u32::try_from(pid).ok()) != Some(parent) {
        return io::Error::other("the process that started this one is gone");
    }
    let error = std::process::Command::new(program).args(args).exec();
    io::Error::new(
        error.kind(),
        format!("cannot start {}: {error}", program.display()),
    )
}
