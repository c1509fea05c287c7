//! A coordinator and hosts that joined it by token, each with an address of its own on loopback and a folder of its own: what lies
//! between machines, without the machines.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::home::{binary, signal};
use crate::process;

/// What is waited for comes within this time, or not at all.
const PATIENCE: Duration = Duration::from_secs(90);

const SPEC: &str = "\
apiVersion: hayloft.dev/v1alpha1
kind: CacheCluster
metadata: { name: commons }
spec:
  garage: { replicationFactor: 3, fsync: false }
  hosts: []
  admission: { approval: APPROVAL }
  rebalance: { joinWindow: 2s, reserve: 0% }
  caches:
    - { name: main, public: true }
";

/// A community on this machine.
pub struct Community {
    root: TempDir,
    block: [u8; 2],
    coordinator: Option<Child>,
    agents: Vec<(u8, Child)>,
    /// The first join token.
    pub token: String,
}

impl Community {
    /// `hayloft coordinator init` and `run`; the first token lets `uses` hosts in.
    ///
    /// # Errors
    /// When the coordinator does not start.
    pub fn found(uses: u32, approval: &str) -> Result<Self> {
        let root = tempfile::Builder::new().prefix("hayloft-e2e-").tempdir()?;
        let block = free_block()?;
        let mut community = Self {
            root,
            block,
            coordinator: None,
            agents: Vec::new(),
            token: String::new(),
        };
        let spec = community.root.path().join("spec.yaml");
        fs::write(&spec, SPEC.replace("APPROVAL", approval))?;
        let address = community.address(100);
        let output = community
            .hayloft()?
            .args(["coordinator", "init", "--spec"])
            .arg(&spec)
            .args(["--uses", &uses.to_string(), "--address", &address, "--listen"])
            .arg(format!("{address}:7440"))
            .arg("--dir")
            .arg(community.dir())
            .output()?;
        community.token = printed(output)?.trim().to_owned();
        community.start_coordinator()?;
        Ok(community)
    }

    /// The same with so many hosts, which joined by the first token and run.
    ///
    /// # Errors
    /// When one of them does not get in.
    pub fn of(hosts: u8) -> Result<Self> {
        let mut community = Self::found(u32::from(hosts), "automatic")?;
        let token = community.token.clone();
        for n in 1..=hosts {
            community.join(n, &token, &[])?;
            community.start_agent(n)?;
        }
        Ok(community)
    }

    /// The coordinator's folder.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.root.path().join("coordinator")
    }

    /// A host's folder.
    #[must_use]
    pub fn host_dir(&self, n: u8) -> PathBuf {
        self.root.path().join(format!("h{n}"))
    }

    /// A host's address.
    #[must_use]
    pub fn address(&self, n: u8) -> String {
        Ipv4Addr::new(127, self.block[0], self.block[1], n).to_string()
    }

    /// A command of `hayloft` that ends with this process.
    ///
    /// # Errors
    /// When the binary under test is not named.
    pub fn hayloft(&self) -> Result<Command> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(binary()?);
        let user = self.root.path().join("user");
        fs::create_dir_all(&user)?;
        command
            .env("XDG_CONFIG_HOME", &user)
            .env("XDG_DATA_HOME", &user)
            .stdin(Stdio::null());
        Ok(command)
    }

    fn log(&self, name: &str) -> Result<File> {
        let path = self.root.path().join(format!("{name}.log"));
        Ok(File::options().create(true).append(true).open(path)?)
    }

    /// What a process of it has logged: `coordinator` or `h1` …
    #[must_use]
    pub fn logged(&self, name: &str) -> String {
        fs::read_to_string(self.root.path().join(format!("{name}.log"))).unwrap_or_default()
    }

    /// Starts the coordinator, for the first time or again.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_coordinator(&mut self) -> Result<()> {
        let log = self.log("coordinator")?;
        let child = self
            .hayloft()?
            .args(["coordinator", "run", "--dir"])
            .arg(self.dir())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.coordinator = Some(child);
        let socket = self.dir().join("control.sock");
        let began = std::time::Instant::now();
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            ensure!(
                began.elapsed() < PATIENCE,
                "no coordinator: {}",
                self.logged("coordinator")
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Ends the coordinator as a power failure does.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill_coordinator(&mut self) -> Result<()> {
        let mut child = self.coordinator.take().context("no coordinator runs")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// `hayloft coordinator restore` into the coordinator's folder, which is gone; to be found at the address of before.
    ///
    /// # Errors
    /// When nothing is restored, with what was said.
    pub fn restore(&self, kit: &Path, key: &Path) -> Result<()> {
        self.restore_at(100, kit, key)
    }

    /// The same at another address.
    ///
    /// # Errors
    /// When nothing is restored, with what was said.
    pub fn restore_at(&self, n: u8, kit: &Path, key: &Path) -> Result<()> {
        let address = self.address(n);
        let output = self
            .hayloft()?
            .args(["coordinator", "restore"])
            .arg(kit)
            .arg("--key")
            .arg(key)
            .args([
                "--address",
                &address,
                "--listen",
                &format!("{address}:7440"),
                "--dir",
            ])
            .arg(self.dir())
            .output()?;
        printed(output).map(drop)
    }

    /// Where a host's Garage answers S3, which is on loopback.
    ///
    /// # Errors
    /// When it was not told to run Garage.
    pub fn s3_addr(&self, n: u8) -> Result<String> {
        let config = fs::read_to_string(self.host_dir(n).join("garage.toml"))?;
        let (_, section) = config
            .split_once("[s3_api]")
            .context("no S3 in its configuration")?;
        let line = section.lines().find(|line| line.starts_with("api_bind_addr"));
        let text = line.and_then(|line| line.split('"').nth(1));
        Ok(text.context("no address in its configuration")?.to_owned())
    }

    /// What a host's Garage says of the cluster, asked with the token that is in use.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn cluster_of(&self, n: u8) -> Result<Value> {
        let dir = self.host_dir(n);
        let token = fs::read_to_string(dir.join("admin-token"))?;
        let output = Command::new("curl")
            .args(["-sf", "--max-time", "10", "--unix-socket"])
            .arg(dir.join("admin.sock"))
            .args(["-H", &format!("Authorization: Bearer {}", token.trim())])
            .arg("http://garage/v2/GetClusterStatus")
            .output()?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// A command for an administrator, with `--dir`.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn ask(&self, args: &[&str]) -> Result<String> {
        let output = self.hayloft()?.args(args).arg("--dir").arg(self.dir()).output()?;
        printed(output)
    }

    /// `hayloft join` of host `n` with a token, as it would be piped in.
    ///
    /// # Errors
    /// When the command cannot be started.
    pub fn joining(&self, n: u8, token: &str, more: &[&str]) -> Result<Child> {
        let mut command = self.hayloft()?;
        command
            .args([
                "join",
                "-",
                "--name",
                &format!("h{n}"),
                "--address",
                &self.address(n),
            ])
            .args(["--roles", "storage,gateway", "--dir"])
            .arg(self.host_dir(n))
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if !more.contains(&"--pledge") {
            command.args(["--pledge", "1Gi"]);
        }
        let mut child = command.spawn()?;
        child
            .stdin
            .take()
            .context("no pipe")?
            .write_all(token.as_bytes())?;
        Ok(child)
    }

    /// The same, to its end.
    ///
    /// # Errors
    /// When the host is refused, with what was said.
    pub fn join(&self, n: u8, token: &str, more: &[&str]) -> Result<String> {
        printed(self.joining(n, token, more)?.wait_with_output()?)
    }

    /// Starts the agent of a host that joined.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_agent(&mut self, n: u8) -> Result<()> {
        let log = self.log(&format!("h{n}"))?;
        let child = self
            .hayloft()?
            .args(["agent", "run", "--runner", "children", "--dir"])
            .arg(self.host_dir(n))
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.agents.push((n, child));
        Ok(())
    }

    /// Ends an agent and all that it runs as a power failure does.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill_agent(&mut self, n: u8) -> Result<()> {
        let at = self.agents.iter().position(|(host, _)| *host == n);
        let (_, mut child) = self.agents.swap_remove(at.context("no such agent runs")?);
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// The status, as programs get it.
    ///
    /// # Errors
    /// When the coordinator does not answer.
    pub fn status(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.ask(&["status", "-o", "json"])?)?)
    }

    /// Waits until the status is so.
    ///
    /// # Errors
    /// When that does not come.
    pub async fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Result<()> {
        let reached = process::eventually(what, PATIENCE, async || {
            self.status().is_ok_and(|status| holds(&status))
        })
        .await;
        if reached.is_err() {
            let status = serde_json::to_string_pretty(&self.status()?)?;
            let tail = |name: &str| {
                let text = self.logged(name);
                text.lines().rev().take(12).collect::<Vec<_>>().join("\n")
            };
            bail!("never {what}: {status}\n{}\n{}", tail("coordinator"), tail("h1"));
        }
        Ok(())
    }

    /// What an administrator's client uses: the gateway's URL and a token.
    ///
    /// # Errors
    /// When no gateway serves in time.
    pub async fn client(&self) -> Result<(String, String)> {
        let file = self.dir().join("client.json");
        let read = || -> Option<(String, String)> {
            let client: Value = serde_json::from_slice(&fs::read(&file).ok()?).ok()?;
            Some((
                client["gateway"].as_str()?.to_owned(),
                client["token"].as_str()?.to_owned(),
            ))
        };
        let served = process::eventually("clients are served", PATIENCE, async || read().is_some()).await;
        if served.is_err() {
            let status = serde_json::to_string_pretty(&self.status()?)?;
            bail!(
                "no gateway serves: {status}\n{}\n{}",
                self.logged("coordinator"),
                self.logged("h1")
            );
        }
        read().context("the file for clients is gone")
    }
}

impl Drop for Community {
    fn drop(&mut self) {
        // Gently: an agent stops what it runs.
        for (_, child) in &mut self.agents {
            let _ = signal(child.id(), Signal::TERM);
        }
        if let Some(child) = &mut self.coordinator {
            let _ = signal(child.id(), Signal::TERM);
        }
        let agents = self.agents.iter_mut().map(|(_, child)| child);
        for child in agents.chain(&mut self.coordinator) {
            let _ = child.wait();
        }
    }
}

/// Whether so many hosts are up and hold data.
#[must_use]
pub fn all_up(status: &Value, hosts: usize) -> bool {
    let seen = status["hosts"].as_array().map_or(0, |hosts| {
        hosts
            .iter()
            .filter(|host| host["up"] == true && host["inLayout"] == true)
            .count()
    });
    seen == hosts
}

/// Two bytes of loopback's network that no other test uses.
fn free_block() -> Result<[u8; 2]> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let process = std::process::id();
    for _ in 0..100 {
        let number = process
            .wrapping_mul(7)
            .wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let [.., high, low] = (number % 25_000 + 25_700).to_be_bytes();
        if std::net::TcpListener::bind((Ipv4Addr::new(127, high, low, 100), 7440)).is_ok() {
            return Ok([high, low]);
        }
    }
    bail!("no addresses are free on loopback")
}

fn printed(output: Output) -> Result<String> {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{}", said.trim());
    Ok(String::from_utf8(output.stdout)?)
}
