//! Starts the program, with a Garage and a folder of its own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hayloft_garage_fixture::{BUCKET, Garage, REGION};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::free_port;

const PROGRAM: &str = env!("CARGO_BIN_EXE_hayloft-gateway");

pub(crate) struct World {
    pub(crate) garage: Garage,
    pub(crate) dir: tempfile::TempDir,
    /// The size of the disk that the state folder of gateways that are started lies on, as `mount` wants it, such as `4M`;
    /// none: wherever temporary files lie. Such a disk is gone with its gateway.
    pub(crate) disk: Option<&'static str>,
    /// At which steps gateways that are started die, as the crate `fail` wants it; needs the feature `failpoints`.
    pub(crate) dies_at: String,
    tokens: &'static str,
}

/// A gateway that runs. Killed when dropped.
pub(crate) struct Gateway {
    child: Child,
    log: PathBuf,
    pub(crate) addr: String,
    pub(crate) url: String,
}

impl World {
    /// `tokens` is `hs256` or `rs256`.
    pub(crate) async fn new(tokens: &'static str) -> Self {
        let garage = Garage::start(1).await.unwrap_or_else(|error| panic!("{error:#}"));
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).unwrap();
        fs::write(at("cluster.key"), format!("hlk1:{}\n", STANDARD.encode(key))).unwrap();
        fs::write(at("s3-secret"), garage.secret_access_key()).unwrap();
        let text = format!(
            "listen: 127.0.0.1:0
stateDir: {dir}/state
keyFile: {dir}/cluster.key
s3:
  endpoints: [{endpoint}]
  region: {REGION}
  bucket: {BUCKET}
  accessKeyId: {access_key_id}
  secretAccessKeyFile: {dir}/s3-secret
tokens:
  {tokens}SecretFile: {dir}/token-key
cache: {{ memory: 16Mi }}
caches:
  - {{ name: main, public: true, priority: 30, retention: 90d }}
",
            dir = dir.path().display(),
            endpoint = garage.endpoints()[0],
            access_key_id = garage.access_key_id(),
        );
        fs::write(at("gateway.yaml"), text).unwrap();
        let world = Self {
            garage,
            dir,
            disk: None,
            dies_at: String::new(),
            tokens,
        };
        world.new_token_key();
        world
    }

    /// Writes another key for tokens; a gateway that runs keeps the one it read.
    pub(crate) fn new_token_key(&self) {
        let secret = if self.tokens == "hs256" {
            let mut secret = [0; 40];
            aws_lc_rs::rand::fill(&mut secret).unwrap();
            secret.to_vec()
        } else {
            use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
            let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
            let der = STANDARD.encode(AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap().as_ref());
            let lines: Vec<&str> = der
                .as_bytes()
                .chunks(64)
                .map(|line| std::str::from_utf8(line).unwrap())
                .collect();
            let text = lines.join("\n");
            format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n").into_bytes()
        };
        fs::write(self.dir.path().join("token-key"), STANDARD.encode(secret)).unwrap();
    }

    pub(crate) fn remove_index(&self) {
        for entry in fs::read_dir(self.dir.path().join("state")).unwrap() {
            let path = entry.unwrap().path();
            if path
                .file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("index.sqlite")
            {
                fs::remove_file(path).unwrap();
            }
        }
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("gateway.yaml")
    }

    fn command(args: &[&str], config: &Path) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(args).arg("--config").arg(config);
        command
    }

    /// The program, in a namespace in which it alone sees the small disk.
    fn serving(&self, config: &Path) -> Command {
        let mut command = Command::new(PROGRAM);
        if let Some(size) = self.disk {
            let state = self.dir.path().join("state");
            fs::create_dir_all(&state).unwrap();
            command = Command::new("unshare");
            command
                .args(["--user", "--mount", "--map-root-user", "sh", "-c"])
                .arg(r#"mount -t tmpfs -o mode=0700,size="$1" tmpfs "$0" && shift && exec "$@""#)
                .arg(&state)
                .args([size, PROGRAM]);
        }
        if !self.dies_at.is_empty() {
            command.env("FAILPOINTS", &self.dies_at);
        }
        command
            .args(["serve", "--log-format", "json", "--config"])
            .arg(config);
        command
    }

    /// Runs a command that must succeed; what it says on standard output.
    pub(crate) fn run(&self, args: &[&str]) -> String {
        let output = Self::command(args, &self.config()).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command; whether it succeeded, and what it says on standard output.
    pub(crate) fn try_run(&self, args: &[&str]) -> (bool, String) {
        let output = Self::command(args, &self.config()).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    }

    /// Runs a command with a changed configuration that must fail; what it says on standard error besides its log.
    pub(crate) fn fail(&self, args: &[&str], changes: &[(&str, &str)]) -> String {
        let config = self.changed(changes);
        let output = Self::command(args, &config)
            .env("RUST_LOG", "off")
            .output()
            .unwrap();
        assert!(!output.status.success(), "{args:?} should fail");
        String::from_utf8(output.stderr).unwrap()
    }

    /// A configuration with these changes; it is the file that a running gateway reads.
    pub(crate) fn changed(&self, changes: &[(&str, &str)]) -> PathBuf {
        let mut text = fs::read_to_string(self.config()).unwrap();
        for (from, to) in changes {
            assert!(text.contains(from));
            text = text.replace(from, to);
        }
        let config = self.dir.path().join("changed.yaml");
        fs::write(&config, text).unwrap();
        config
    }

    /// Starts the gateway with a changed configuration, and does not wait until it serves.
    pub(crate) fn spawn(&self, changes: &[(&str, &str)]) -> Gateway {
        let child = Self::command(&["serve"], &self.changed(changes))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Gateway {
            child,
            log: PathBuf::new(),
            addr: String::new(),
            url: String::new(),
        }
    }

    pub(crate) fn token(&self, flags: &[&str]) -> String {
        self.run(&[&["token"], flags].concat()).trim().to_owned()
    }

    /// Starts the gateway and waits until it serves.
    pub(crate) async fn serve(&self) -> Gateway {
        self.serve_with(&[]).await
    }

    /// Starts it with a changed configuration and waits until it serves.
    pub(crate) async fn serve_with(&self, changes: &[(&str, &str)]) -> Gateway {
        match self.try_serve_with(changes, |_| {}).await {
            Ok(gateway) => gateway,
            Err(said) => panic!("{said}"),
        }
    }

    /// Starts it with a changed configuration and waits until it serves; says why when it does not. `begun` hears its
    /// process id at once.
    pub(crate) async fn try_serve_with(
        &self,
        changes: &[(&str, &str)],
        begun: impl FnOnce(u32),
    ) -> Result<Gateway, String> {
        let log = self.dir.path().join(format!("{}.log", free_port()));
        let child = self
            .serving(&self.changed(changes))
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        begun(child.id());
        // From here on it is killed when this is given up.
        let mut gateway = Gateway {
            child,
            log,
            addr: String::new(),
            url: String::new(),
        };
        let stdout = gateway.child.stdout.take().unwrap();
        let line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).map(|_| line)
        });
        let line = tokio::time::timeout(Duration::from_secs(60), line)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        let Ok(said) = serde_json::from_str::<Value>(&line) else {
            let errors = fs::read_to_string(&gateway.log).unwrap_or_default();
            return Err(format!("said {line:?}; its log:\n{errors}"));
        };
        said["listening"].as_str().unwrap().clone_into(&mut gateway.addr);
        gateway.url = format!("http://{}/", gateway.addr);
        Ok(gateway)
    }
}

impl Gateway {
    /// Asks it to read its configuration anew.
    pub(crate) fn hang_up(&self) {
        kill_process(Pid::from_child(&self.child), Signal::HUP).unwrap();
    }

    /// Asks it to stop; it must, soon and well.
    pub(crate) fn terminate(mut self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap();
        let begin = Instant::now();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
        assert!(begin.elapsed() < Duration::from_secs(9), "{:?}", begin.elapsed());
    }

    /// Waits until it ends by itself; its exit code and what it said on standard error.
    pub(crate) fn ends_by_itself(mut self, within: Duration) -> (Option<i32>, String) {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code(), fs::read_to_string(&self.log).unwrap());
            }
            assert!(begin.elapsed() < within, "it still runs after {within:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A folder as the gateway sees it.
    pub(crate) fn sees(&self, path: &Path) -> PathBuf {
        let mut seen = PathBuf::from(format!("/proc/{}/root", self.child.id()));
        seen.push(path.strip_prefix("/").unwrap());
        seen
    }

    /// Whether it has died.
    pub(crate) fn is_dead(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// What it has said in its log.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
