//! The gateway, from its released binary.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use hayloft_garage_fixture::REGION;

use super::{Bucket, Running, Server, secret, write_private};
use crate::client::{CACHE, Client};
use crate::process::{Process, free_port};

/// A gateway with a folder and a bucket.
#[derive(Debug)]
pub struct Hayloft {
    program: PathBuf,
    dir: PathBuf,
    port: u16,
    token: String,
}

impl Hayloft {
    /// Writes its configuration into `dir`; `memory` is the cache that it may keep, in MiB.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn prepare(program: &Path, dir: &Path, bucket: &Bucket, memory: u64) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let port = free_port()?;
        write_private(&dir.join("cluster.key"), &format!("hlk1:{}\n", secret()?))?;
        write_private(&dir.join("token-key"), &secret()?)?;
        write_private(&dir.join("s3-secret"), &bucket.secret)?;
        let endpoints = bucket.endpoints.join(", ");
        let text = format!(
            "listen: 127.0.0.1:{port}
stateDir: {dir}/state
keyFile: {dir}/cluster.key
s3: {{ endpoints: [{endpoints}], region: {REGION}, bucket: {bucket}, accessKeyId: {id}, secretAccessKeyFile: {dir}/s3-secret }}
tokens: {{ hs256SecretFile: {dir}/token-key }}
cache: {{ memory: {memory}Mi }}
caches: [{{ name: {CACHE}, public: true }}]
",
            dir = dir.display(),
            bucket = bucket.name,
            id = bucket.id,
        );
        write_private(&dir.join("gateway.yaml"), &text)?;
        let token = token(program, &dir.join("gateway.yaml"))?;
        Ok(Self {
            program: program.to_owned(),
            dir: dir.to_owned(),
            port,
            token,
        })
    }

    /// Where its index lies.
    #[must_use]
    pub fn index(&self) -> PathBuf {
        self.dir.join("state/index.sqlite")
    }

    /// The secret that its tokens are signed with, for a server that takes the same.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn token_secret(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.dir.join("token-key"))?)
    }

    /// A token that may do everything.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }
}

fn token(program: &Path, config: &Path) -> Result<String> {
    let output = Command::new(program)
        .args(["token", "--sub", "bench", "--validity", "7d", "--config"])
        .arg(config)
        .args(["--push", "*", "--pull", "*", "--create-cache", "*"])
        .output()?;
    ensure!(
        output.status.success(),
        "no token: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

impl Server for Hayloft {
    fn name(&self) -> &'static str {
        "hayloft"
    }

    async fn start(&self) -> Result<Running> {
        let config = self.dir.join("gateway.yaml").display().to_string();
        let args = ["serve", "--config", &config];
        let process = Process::start(&self.program, &args, &self.dir.join("log"))?;
        let address = format!("127.0.0.1:{}", self.port);
        process.answers(&format!("http://{address}/healthz")).await?;
        Ok(Running {
            process,
            client: Client::new(&format!("http://{address}"), &self.token)?,
            address,
        })
    }
}
