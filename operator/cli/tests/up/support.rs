//! `hayloft up` as a process, as a person has it.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Longer than any step takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// The command under test.
pub(crate) fn hayloft() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hayloft"));
    command
        .env("HAYLOFT_GARAGE", hayloft_garage_fixture::program().unwrap())
        .env_remove("RUST_LOG");
    command
}

/// Runs a command that ends by itself.
pub(crate) fn run(args: &[&str]) -> Output {
    finish(hayloft().args(args))
}

/// Runs a command that ends by itself; kills it when it does not.
pub(crate) fn finish(command: &mut Command) -> Output {
    finish_within(command, PATIENCE)
}

/// The same with a patience of its own.
pub(crate) fn finish_within(command: &mut Command, patience: Duration) -> Output {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > patience {
            child.kill().unwrap();
            panic!("{command:?} did not end: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().unwrap()
}

/// Fails unless the command failed with one line on standard error; gives that line.
pub(crate) fn one_line(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(!output.status.success(), "it succeeded: {text}");
    let lines: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("hayloft: "))
        .collect();
    assert_eq!(
        (lines.len(), text.lines().last()),
        (1, lines.first().copied()),
        "not one line at the end: {text}"
    );
    assert!(!text.contains("panicked"), "{text}");
    let causes: Vec<_> = lines[0].split(": ").collect();
    assert!(
        causes.windows(2).all(|two| two[0] != two[1]),
        "a cause is told twice: {text}"
    );
    assert!(
        text.matches("os error").count() <= 1,
        "a cause is told twice: {text}"
    );
    lines[0].to_owned()
}

/// A running `hayloft up`. Killed when dropped.
pub(crate) struct Up {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    dir: PathBuf,
    ready_file: PathBuf,
}

impl Up {
    /// Starts one on `dir` with any free port.
    pub(crate) fn start<A: AsRef<OsStr>>(dir: &Path, args: &[A]) -> Self {
        Self::start_as(hayloft(), dir, args)
    }

    /// The same, with a command that is prepared otherwise.
    pub(crate) fn start_as<A: AsRef<OsStr>>(mut command: Command, dir: &Path, args: &[A]) -> Self {
        let ready_file = dir.with_extension("ready.json");
        let _ = fs::remove_file(&ready_file);
        command
            .arg("up")
            .arg("--dir")
            .arg(dir)
            .arg("--ready-file")
            .arg(&ready_file)
            .args(["--port", "0"])
            .args(args);
        // As a shell does: Ctrl-C reaches a group, and this must not be the test's.
        command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        follow(child.stdout.take().unwrap(), &lines);
        follow(child.stderr.take().unwrap(), &lines);
        Self {
            child,
            lines,
            dir: dir.to_owned(),
            ready_file,
        }
    }

    /// Waits for the ready file and gives what is in it.
    pub(crate) fn ready(&self) -> Value {
        until(
            || self.ready_now(),
            || format!("not ready: {}\n{}", self.text(), self.state()),
        )
    }

    /// How it stands, and what its units said last, for whoever looks why a test failed.
    fn state(&self) -> String {
        let output = hayloft()
            .args(["status", "-o", "json", "--dir"])
            .arg(&self.dir)
            .output();
        let mut text = output.map_or_else(
            |error| error.to_string(),
            |output| String::from_utf8_lossy(&output.stdout).into_owned(),
        );
        let hosts = fs::read_dir(self.dir.join("hosts"))
            .into_iter()
            .flatten()
            .flatten();
        for log in hosts.map(|host| host.path().join("logs/garage.log")) {
            let said = fs::read_to_string(&log).unwrap_or_default();
            let last: Vec<&str> = said.lines().rev().take(15).collect();
            text.push_str(&format!(
                "\n{}, the newest first:\n{}",
                log.display(),
                last.join("\n")
            ));
        }
        text
    }

    pub(crate) fn ready_now(&self) -> Option<Value> {
        serde_json::from_slice(&fs::read(&self.ready_file).ok()?).ok()
    }

    pub(crate) fn ready_file(&self) -> &Path {
        &self.ready_file
    }

    /// All that was printed so far.
    pub(crate) fn text(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// Waits for a line with all of these words.
    pub(crate) fn line(&self, words: &[&str]) -> String {
        let find = || {
            let lines = self.lines.lock().unwrap();
            lines
                .iter()
                .find(|line| words.iter().all(|word| line.contains(word)))
                .cloned()
        };
        until(find, || format!("no line with {words:?}: {}", self.text()))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.child.id(), signal);
    }

    /// Sends the signal and waits for the end.
    pub(crate) fn end(mut self, signal: Signal) -> (ExitStatus, Duration, String) {
        let begun = Instant::now();
        self.signal(signal);
        let status = self.wait();
        (status, begun.elapsed(), self.text())
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let lines = Arc::clone(&self.lines);
        let child = &mut self.child;
        until(
            || child.try_wait().unwrap(),
            || format!("it does not end: {}", lines.lock().unwrap().join("\n")),
        )
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn follow(source: impl Read + Send + 'static, lines: &Arc<Mutex<Vec<String>>>) {
    let lines = Arc::clone(lines);
    std::thread::spawn(move || {
        for line in BufReader::new(source).lines().map_while(Result::ok) {
            lines.lock().unwrap().push(line);
        }
    });
}

/// Polls until there is something; fails with `why` when that takes too long.
pub(crate) fn until<T>(mut look: impl FnMut() -> Option<T>, why: impl Fn() -> String) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{}", why());
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn kill(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

/// Processes, zombies not counted, whose arguments name a file in `dir`; the `up` itself not counted.
pub(crate) fn processes_of(dir: &Path) -> Vec<(u32, String)> {
    let needle = format!("{}/", dir.display());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(arguments) = fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
        if arguments.contains(&needle) {
            found.push((pid, arguments));
        }
    }
    found
}

/// What the gateway says to a GET.
pub(crate) fn get(ready: &Value, path: &str) -> Result<String, String> {
    let url = format!("{}/{path}", ready["gateway"].as_str().unwrap());
    ask(&url, ready["token"].as_str())
}

/// What somebody who asks for no token says to a GET.
pub(crate) fn get_url(url: &str) -> Result<String, String> {
    ask(url, None)
}

fn ask(url: &str, token: Option<&str>) -> Result<String, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(20))
            .build();
        let mut request = client.map_err(|error| error.to_string())?.get(url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| error.to_string())?;
        if status.is_success() {
            Ok(text)
        } else {
            Err(format!("{status}: {text}"))
        }
    })
}

/// A shell script as a program.
pub(crate) fn script(path: &Path, text: &str) -> PathBuf {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_owned()
}

/// A small file system of its own, where this machine lets us mount one.
pub(crate) struct Tmpfs(PathBuf);

impl Tmpfs {
    /// `None`, said aloud, where mounting is not permitted.
    pub(crate) fn mount(at: &Path, options: &str) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(at)
            .output();
        match mount {
            Ok(output) if output.status.success() => Some(Self(at.to_owned())),
            refused => {
                let line =
                    format!("SKIPPED: this machine does not let tests mount a file system: {refused:?}\n");
                // Past the capture of test output: a part that is not tested shall be seen.
                std::io::stderr().write_all(line.as_bytes()).unwrap();
                None
            }
        }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
