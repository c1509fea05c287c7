//! atticd, from a binary that somebody built elsewhere, with the settings of its own template: chunks of 16, 64 and
//! 256 KiB from NARs of 64 KiB on, zstd 8, SQLite.

use std::path::{Path, PathBuf};

use anyhow::Result;
use hayloft_garage_fixture::REGION;

use super::{Bucket, Running, Server, write_private};
use crate::client::{CACHE, Client};
use crate::process::{Process, free_port};

/// An atticd with a folder and a bucket.
#[derive(Debug)]
pub struct Atticd {
    program: PathBuf,
    dir: PathBuf,
    port: u16,
    token: String,
}

impl Atticd {
    /// Writes its configuration into `dir`. `secret` (base64) is what `token` is signed with.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn prepare(program: &Path, dir: &Path, bucket: &Bucket, secret: &str, token: &str) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let port = free_port()?;
        let endpoint = bucket.endpoints.first().map(String::as_str).unwrap_or_default();
        let text = format!(
            r#"listen = "127.0.0.1:{port}"
[database]
url = "sqlite://{dir}/server.db?mode=rwc"
[storage]
type = "s3"
region = "{REGION}"
bucket = "{bucket}"
endpoint = "{endpoint}"
[storage.credentials]
access_key_id = "{id}"
secret_access_key = "{key}"
[chunking]
nar-size-threshold = 65536
min-size = 16384
avg-size = 65536
max-size = 262144
[compression]
type = "zstd"
[garbage-collection]
interval = "12 hours"
[jwt.signing]
token-hs256-secret-base64 = "{secret}"
"#,
            dir = dir.display(),
            bucket = bucket.name,
            id = bucket.id,
            key = bucket.secret,
        );
        write_private(&dir.join("server.toml"), &text)?;
        Ok(Self {
            program: program.to_owned(),
            dir: dir.to_owned(),
            port,
            token: token.to_owned(),
        })
    }
}

impl Server for Atticd {
    fn name(&self) -> &'static str {
        "atticd"
    }

    async fn start(&self) -> Result<Running> {
        let config = self.dir.join("server.toml").display().to_string();
        let process = Process::start(&self.program, &["-f", &config], &self.dir.join("log"))?;
        let address = format!("127.0.0.1:{}", self.port);
        process.answers(&format!("http://{address}/")).await?;
        let client = Client::new(&format!("http://{address}"), &self.token)?;
        let url = format!("http://{address}/{CACHE}/nix-cache-info");
        if !reqwest::get(&url).await?.status().is_success() {
            client.create_cache().await?;
        }
        Ok(Running {
            process,
            client,
            address,
        })
    }
}
