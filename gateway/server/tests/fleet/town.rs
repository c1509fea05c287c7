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
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

const PROGRAM: &str = env!("CARGO_BIN_EXE_hayloft-gateway");
pub(crate) const NAMES: [&str; 3] = ["lyon", "nantes", "paris"];

pub(crate) struct Town {
    pub(crate) garage: Garage,
    dir: tempfile::TempDir,
    links: [u16; 3],
    /// Where each gateway (first index) finds the link of each other (second); at first the links themselves.
    pub(crate) doors: [[u16; 3]; 3],
    ports: [u16; 3],
    /// By how many seconds each gateway's clock is wrong; needs the feature `failpoints`.
    pub(crate) clocks: [i64; 3],
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
        let mut ca = CertificateParams::new(vec![]).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_key = KeyPair::generate().unwrap();
        fs::write(at("ca.pem"), ca.self_signed(&ca_key).unwrap().pem()).unwrap();
        let issuer = Issuer::new(ca, ca_key);
        for name in NAMES {
            let mut leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
            leaf.extended_key_usages = vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ];
            let key = KeyPair::generate().unwrap();
            let cert = leaf.signed_by(&key, &issuer).unwrap();
            fs::write(at(&format!("{name}.pem")), cert.pem()).unwrap();
            fs::write(at(&format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        let links = NAMES.map(|_| free_port());
        let mut town = Self {
            garage,
            dir,
            links,
            doors: [links; 3],
            ports: NAMES.map(|_| free_port()),
            clocks: [0; 3],
            token: String::new(),
        };
        let config = town.config(0, "auto", None);
        let output = Command::new(PROGRAM)
            .args([
                "token",
                "--sub",
                "ci",
                "--validity",
                "1y",
                "--pull",
                "main",
                "--push",
                "main",
            ])
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
  caFile: {dir}/ca.pem
gateways: [{others}]
caches:
  - {{ name: main, public: true }}
",
            port = self.ports[i],
            link = self.links[i],
            access_key_id = self.garage.access_key_id(),
            others = others.join(", "),
        );
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
        fs::read_to_string(&self.log).unwrap().contains(what)
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

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
