//! Three `hayloft-gateway` programs on one Garage, each with a folder, a certificate and ports of its own.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hayloft_garage_fixture::{BUCKET, Garage, REGION};
use hayloft_nixcache::nar::{self, Node};
use hayloft_nixcache::{NarHash, NarInfo};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::authority::Authority;
use super::{FOR_MAIN, free_port};

const PROGRAM: &str = env!("CARGO_BIN_EXE_hayloft-gateway");
pub(crate) const NAMES: [&str; 3] = ["lyon", "nantes", "paris"];

pub(crate) struct Town {
    pub(crate) garage: Garage,
    pub(crate) dir: tempfile::TempDir,
    /// It signs the certificates of the links.
    pub(crate) authority: Authority,
    links: [u16; 3],
    /// Where each gateway (first index) finds the link of each other (second); at first the links themselves.
    pub(crate) doors: [[u16; 3]; 3],
    ports: [u16; 3],
    /// By how many seconds each gateway's clock is wrong; needs the feature `failpoints`.
    pub(crate) clocks: [i64; 3],
    /// The only endpoint of the bucket that each gateway knows; none: all.
    pub(crate) buckets: [Option<String>; 3],
    /// Changes of all configurations.
    pub(crate) changes: Vec<(&'static str, &'static str)>,
    /// The name of the file with the authority that each gateway trusts.
    pub(crate) trusts: [&'static str; 3],
    /// Where each gateway serves its metrics.
    pub(crate) metrics: [u16; 3],
    pub(crate) token: String,
}

/// A gateway that runs. Killed when dropped.
pub(crate) struct Gateway {
    pub(crate) child: Child,
    pub(crate) url: String,
    pub(crate) log: PathBuf,
}

/// A path that can be pushed.
pub(crate) struct Path {
    hash: String,
    nar: Vec<u8>,
}

impl Path {
    /// The `n`th path.
    pub(crate) fn new(n: u32) -> Self {
        let mut contents = vec![0; 20_000];
        blake3::Hasher::new()
            .update(&n.to_le_bytes())
            .finalize_xof()
            .fill(&mut contents);
        let mut nar = Vec::new();
        let file = Node::File {
            executable: false,
            contents,
        };
        nar::write(&file, &mut nar).unwrap();
        Self {
            hash: format!("{n:032}"),
            nar,
        }
    }

    /// Pushes it; whether that was acknowledged.
    pub(crate) async fn push(&self, gateway: &Gateway, token: &str) -> Result<(), String> {
        let info = json!({
            "cache": "main", "store_path_hash": self.hash, "store_path": format!("/nix/store/{}-sample", self.hash),
            "references": [], "nar_hash": NarHash::of(&self.nar).to_string(), "nar_size": self.nar.len(),
        });
        let answer = client()
            .put(format!("{}_api/v1/upload-path", gateway.url))
            .bearer_auth(token)
            .header("X-Attic-Nar-Info", info.to_string())
            .body(self.nar.clone())
            .send()
            .await
            .map_err(|error| error.to_string())?;
        let status = answer.status();
        if status.as_u16() == 503 {
            assert!(answer.headers().contains_key("retry-after"));
        }
        if status.is_success() {
            Ok(())
        } else {
            Err(format!("{status}: {}", answer.text().await.unwrap_or_default()))
        }
    }

    /// Whether the gateway shows it.
    pub(crate) async fn is_at(&self, gateway: &Gateway) -> bool {
        status(&format!("{}main/{}.narinfo", gateway.url, self.hash)).await == Some(200)
    }

    /// Pulls it, which must succeed.
    pub(crate) async fn assert_at(&self, gateway: &Gateway) {
        let narinfo = client()
            .get(format!("{}main/{}.narinfo", gateway.url, self.hash))
            .send()
            .await
            .unwrap();
        let status = narinfo.status();
        let text = narinfo.text().await.unwrap();
        assert_eq!(status.as_u16(), 200, "{} at {}: {text}", self.hash, gateway.url);
        let narinfo: NarInfo = text.parse().unwrap();
        let body = client()
            .get(format!("{}main/{}", gateway.url, narinfo.url))
            .send()
            .await
            .unwrap();
        assert_eq!(body.status().as_u16(), 200);
        let nar = zstd::decode_all(&body.bytes().await.unwrap()[..]).unwrap();
        assert!(nar == self.nar, "another NAR came back");
    }
}

impl Town {
    pub(crate) async fn new() -> Self {
        let garage = Garage::start(3).await.unwrap_or_else(|error| panic!("{error:#}"));
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).unwrap();
        fs::write(at("cluster.key"), format!("hlk1:{}\n", STANDARD.encode(key))).unwrap();
        fs::write(at("s3-secret"), garage.secret_access_key()).unwrap();
        let mut secret = [0; 40];
        aws_lc_rs::rand::fill(&mut secret).unwrap();
        fs::write(at("token-key"), STANDARD.encode(secret)).unwrap();
        let authority = Authority::new();
        fs::write(at("ca.pem"), &authority.pem).unwrap();
        for name in NAMES {
            authority.sign(dir.path(), name);
        }
        let links = NAMES.map(|_| free_port());
        let mut town = Self {
            garage,
            dir,
            authority,
            links,
            doors: [links; 3],
            ports: NAMES.map(|_| free_port()),
            clocks: [0; 3],
            buckets: [None, None, None],
            changes: Vec::new(),
            trusts: ["ca.pem"; 3],
            metrics: NAMES.map(|_| free_port()),
            token: String::new(),
        };
        let config = town.config(0, "auto", None);
        let output = Command::new(PROGRAM)
            .arg("token")
            .args(FOR_MAIN)
            .arg("--config")
            .arg(config)
            .output()
            .unwrap();
        town.token = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        town
    }

    /// Writes the `i`th gateway's configuration; `endpoint`: the only one of the bucket that it knows.
    fn config(&self, i: usize, committer: &str, endpoint: Option<&str>) -> PathBuf {
        let dir = self.dir.path().display();
        let name = NAMES[i];
        let mut endpoints = self.garage.endpoints();
        endpoints.rotate_left(i);
        let endpoint = endpoint.or(self.buckets[i].as_deref());
        let endpoints = endpoint.map_or_else(|| endpoints.join(", "), str::to_owned);
        let others: Vec<String> = (0..3)
            .filter(|other| *other != i)
            .map(|other| {
                format!(
                    "{{ name: {}, url: https://127.0.0.1:{} }}",
                    NAMES[other], self.doors[i][other]
                )
            })
            .collect();
        let text = format!(
            "listen: 127.0.0.1:{port}
stateDir: {dir}/{name}
keyFile: {dir}/cluster.key
s3:
  endpoints: [{endpoints}]
  region: {REGION}
  bucket: {BUCKET}
  accessKeyId: {access_key_id}
  secretAccessKeyFile: {dir}/s3-secret
tokens: {{ hs256SecretFile: {dir}/token-key }}
cache: {{ memory: 16Mi }}
committer: {committer}
link:
  name: {name}
  listen: 127.0.0.1:{link}
  certFile: {dir}/{name}.pem
  keyFile: {dir}/{name}.key
  caFile: {dir}/{trusts}
metrics: {{ listen: 127.0.0.1:{metrics} }}
gateways: [{others}]
caches:
  - {{ name: main, public: true }}
",
            port = self.ports[i],
            link = self.links[i],
            trusts = self.trusts[i],
            metrics = self.metrics[i],
            access_key_id = self.garage.access_key_id(),
            others = others.join(", "),
        );
        let text = self.changes.iter().fold(text, |text, (from, to)| {
            assert!(text.contains(from));
            text.replace(from, to)
        });
        let path = self.dir.path().join(format!("{name}.yaml"));
        fs::write(&path, text).unwrap();
        path
    }

    /// Where the `i`th gateway's link is.
    pub(crate) fn link(&self, i: usize) -> u16 {
        self.links[i]
    }

    /// Starts the `i`th gateway, and does not wait for anything.
    pub(crate) fn spawn(&self, i: usize, committer: &str, endpoint: Option<&str>) -> Gateway {
        let log = self.dir.path().join(format!("{}.log", NAMES[i]));
        let child = Command::new(PROGRAM)
            .arg("serve")
            .env("FAILPOINTS", format!("clock=return({})", self.clocks[i]))
            .arg("--config")
            .arg(self.config(i, committer, endpoint))
            .stdout(Stdio::null())
            .stderr(
                fs::OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(&log)
                    .unwrap(),
            )
            .spawn()
            .unwrap();
        Gateway {
            child,
            url: format!("http://127.0.0.1:{}/", self.ports[i]),
            log,
        }
    }

    /// Begins a command at the `i`th gateway.
    pub(crate) fn begin(&self, i: usize, args: &[&str]) -> Child {
        let config = self.dir.path().join(format!("{}.yaml", NAMES[i]));
        let mut command = Command::new(PROGRAM);
        command.args(args).arg("--config").arg(config);
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::null());
        piped.spawn().unwrap()
    }

    /// Names the `i`th gateway that runs as this.
    pub(crate) fn rename(&self, i: usize, gateway: &Gateway, committer: &str) {
        self.config(i, committer, None);
        gateway.signal(Signal::HUP);
    }

    /// Starts the `i`th gateway and waits until it is well and has the cache.
    pub(crate) async fn serve(&self, i: usize, committer: &str) -> Gateway {
        let gateway = self.spawn(i, committer, None);
        until(&gateway, async || {
            status(&format!("{}healthz", gateway.url)).await == Some(200)
                && status(&format!("{}main/nix-cache-info", gateway.url)).await == Some(200)
        })
        .await;
        gateway
    }

    pub(crate) async fn three(&self) -> [Gateway; 3] {
        let first = self.serve(0, "true").await;
        [first, self.serve(1, "auto").await, self.serve(2, "auto").await]
    }
}

impl Gateway {
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Whether it runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn says(&self, what: &str) -> bool {
        self.times(what) > 0
    }

    /// How many times it has said this.
    pub(crate) fn times(&self, what: &str) -> usize {
        fs::read_to_string(&self.log).unwrap().matches(what).count()
    }

    /// What it answers to whoever asks how it is.
    pub(crate) async fn health(&self) -> (u16, String) {
        let answer = client().get(format!("{}healthz", self.url)).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) async fn until(gateway: &Gateway, mut reached: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !reached().await {
        if Instant::now() > deadline {
            panic!(
                "not reached; its log:\n{}",
                fs::read_to_string(&gateway.log).unwrap()
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A metric of the gateway that serves them on this port.
pub(crate) async fn metric(port: u16, name: &str) -> Option<f64> {
    let answer = client()
        .get(format!("http://127.0.0.1:{port}/metrics"))
        .send()
        .await
        .ok()?;
    let text = answer.text().await.ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok())
}

pub(crate) async fn status(url: &str) -> Option<u16> {
    let answer = client().get(url).send().await.ok()?;
    Some(answer.status().as_u16())
}

pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(60))
        .build()
        .unwrap()
}
