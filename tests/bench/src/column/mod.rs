//! What is compared: each column starts on a bucket of its own (but nginx, which serves files).

mod atticd;
mod hayloft;
mod nginx;
pub mod raw;

use std::path::{Path, PathBuf};

use anyhow::Result;
use hayloft_garage_fixture::{Garage, REGION};

pub use self::atticd::Atticd;
pub use self::hayloft::Hayloft;
pub use self::nginx::Nginx;

use crate::client::Client;
use crate::process::Process;

/// The programs that are measured.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `hayloft-gateway`.
    pub gateway: PathBuf,
    /// `atticd`, when it is named.
    pub atticd: Option<PathBuf>,
    /// `nginx`, when it is found.
    pub nginx: Option<PathBuf>,
}

/// Where a column's bucket is.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Of the nodes.
    pub endpoints: Vec<String>,
    /// The bucket.
    pub name: String,
    /// Key id.
    pub id: String,
    /// Key secret.
    pub secret: String,
}

impl Bucket {
    /// A fresh one.
    ///
    /// # Errors
    /// When Garage refuses.
    pub async fn make(garage: &Garage, name: &str) -> Result<Self> {
        garage.make_bucket(name).await?;
        Ok(Self {
            endpoints: garage.endpoints(),
            name: name.to_owned(),
            id: garage.access_key_id().to_owned(),
            secret: garage.secret_access_key().to_owned(),
        })
    }

    /// A client of it.
    #[must_use]
    pub fn store(&self) -> hayloft_store::object::s3::S3Store {
        hayloft_store::object::s3::S3Store::new(&hayloft_store::object::s3::S3Config {
            endpoints: self.endpoints.clone(),
            region: REGION.to_owned(),
            bucket: self.name.clone(),
            access_key_id: self.id.clone(),
            secret_access_key: zeroize::Zeroizing::new(self.secret.clone()),
        })
    }
}

/// A server that runs.
#[derive(Debug)]
pub struct Running {
    /// The process.
    pub process: Process,
    /// A client of it.
    pub client: Client,
    /// `127.0.0.1:port`.
    pub address: String,
}

/// What can be started on a bucket, stopped, and started again.
pub trait Server {
    /// Its name in the table.
    fn name(&self) -> &'static str;
    /// Starts it, or starts it again.
    fn start(&self) -> impl Future<Output = Result<Running>>;
}

/// 32 random bytes in base64: a secret for tokens.
pub(crate) fn secret() -> Result<String> {
    use base64::Engine as _;
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow::anyhow!("no random numbers"))?;
    Ok(base64::engine::general_purpose::STANDARD.encode(bytes))
}

/// Writes a file that only we may read.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}
