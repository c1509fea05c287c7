//! Real Garage daemons on loopback, for tests.
//!
//! One node (replication factor 1) or three (factor 3, one zone each) in a temporary folder, on random ports, with
//! a bucket and a key. The daemons end when the fixture is dropped, and also when the test is killed.

mod admin;
mod node;
mod port;

pub use port::free_port;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::json;

use crate::admin::Admin;
use crate::node::Node;

/// The bucket that the fixture makes.
pub const BUCKET: &str = "hayloft";
/// The region that the daemons answer for.
pub const REGION: &str = "garage";
const PATIENCE: Duration = Duration::from_secs(60);

/// How the daemons are configured where tests may want it otherwise.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Data and metadata are flushed to disk before a write is acknowledged.
    pub fsync: bool,
    /// Garage compresses blocks, as it does by default; none is kept here because frames are compressed already.
    pub compression: bool,
    /// The folder to make the cluster's own folder in; none: the system's for temporary files.
    pub dir: Option<PathBuf>,
}

/// A running cluster.
#[derive(Debug)]
pub struct Garage {
    nodes: Vec<Node>,
    admin: Admin,
    access_key_id: String,
    secret_access_key: String,
    admin_token: String,
    _dir: tempfile::TempDir,
}

/// The daemon to test with: `HAYLOFT_GARAGE`, or where `hayloft up` installs it.
///
/// # Errors
/// When there is none; the error says where one is looked for.
#[expect(
    clippy::disallowed_methods,
    reason = "a fixture has no main that could read the environment for it"
)]
pub fn program() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("HAYLOFT_GARAGE") {
        return Ok(path.into());
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))
        .context("neither HAYLOFT_GARAGE nor HOME is set, so no Garage can be found")?;
    let path = cache.join("hayloft/garage-2.5.0/bin/garage");
    if path.exists() {
        return Ok(path);
    }
    bail!(
        "this test needs Garage 2.5.0: set HAYLOFT_GARAGE to the program, or install it to {}",
        path.display()
    )
}

impl Garage {
    /// Starts `count` nodes, 1 or 3, and waits until the bucket can be used.
    ///
    /// # Errors
    /// When there is no Garage, or it does not come up.
    pub async fn start(count: usize) -> anyhow::Result<Self> {
        Self::start_with(
            count,
            &Options {
                compression: true,
                ..Options::default()
            },
        )
        .await
    }

    /// As [`Garage::start`], configured otherwise.
    ///
    /// # Errors
    /// When there is no Garage, or it does not come up.
    pub async fn start_with(count: usize, options: &Options) -> anyhow::Result<Self> {
        let program = program()?;
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("hayloft-garage-");
        let dir = match &options.dir {
            Some(parent) => builder.tempdir_in(parent)?,
            None => builder.tempdir()?,
        };
        let factor = if count >= 3 { 3 } else { 1 };
        let rpc_secret = hex::encode(node::random::<32>()?);
        let admin_token = hex::encode(node::random::<16>()?);
        let mut nodes = Vec::new();
        for i in 0..count {
            nodes.push(Node::prepare(&program, &dir.path().join(format!("node{i}")))?);
        }
        let peers: Vec<String> = nodes.iter().map(Node::peer).collect();
        for node in &mut nodes {
            node.configure(&rpc_secret, &admin_token, factor, options, &peers)?;
            node.start()?;
        }
        let first = nodes.first().context("a cluster needs at least one node")?;
        let admin = Admin::new(&first.admin, &admin_token)?;
        let (access_key_id, secret_access_key) = set_up(&admin, &nodes, &admin_token).await?;
        let garage = Self {
            nodes,
            admin,
            access_key_id,
            secret_access_key,
            admin_token,
            _dir: dir,
        };
        for index in 0..count {
            garage.wait_for(index).await?;
        }
        Ok(garage)
    }

    /// The S3 endpoints, one a node.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.nodes
            .iter()
            .map(|node| format!("http://{}", node.s3))
            .collect()
    }

    /// Id of a key that may do everything with the bucket.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// Its secret.
    #[must_use]
    pub fn secret_access_key(&self) -> &str {
        &self.secret_access_key
    }

    /// Makes another bucket that the same key may use.
    ///
    /// # Errors
    /// When Garage refuses.
    pub async fn make_bucket(&self, name: &str) -> anyhow::Result<()> {
        let bucket = self
            .admin
            .post("CreateBucket", &json!({ "globalAlias": name }))
            .await?;
        allow(
            &self.admin,
            &bucket["id"],
            &self.access_key_id,
            &self.nodes,
            &self.admin_token,
        )
        .await
    }

    /// Bytes of all objects in a bucket, as Garage counts them: once, however often they are stored.
    ///
    /// # Errors
    /// When there is no such bucket.
    pub async fn bucket_bytes(&self, name: &str) -> anyhow::Result<u64> {
        let info = self
            .admin
            .get(&format!("GetBucketInfo?globalAlias={name}"))
            .await?;
        info["bytes"].as_u64().context("the bucket has no size")
    }

    /// Kills a node, as a power cut would.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn kill(&mut self, index: usize) -> anyhow::Result<()> {
        self.nodes.get_mut(index).context("no such node")?.stop();
        Ok(())
    }

    /// Starts a node again that was killed, and waits until it answers.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&mut self, index: usize) -> anyhow::Result<()> {
        self.nodes.get_mut(index).context("no such node")?.start()?;
        self.wait_for(index).await
    }

    /// Where a node's admin API answers: `http://host:port`.
    #[must_use]
    pub fn admin(&self, index: usize) -> Option<String> {
        Some(format!("http://{}", self.nodes.get(index)?.admin))
    }

    /// The admin token of all nodes.
    #[must_use]
    pub fn admin_token(&self) -> &str {
        &self.admin_token
    }

    /// The folder of a node: `meta` and `data` lie in it.
    #[must_use]
    pub fn dir(&self, index: usize) -> Option<&Path> {
        Some(&self.nodes.get(index)?.dir)
    }

    /// Process id of a node's daemon while it runs.
    #[must_use]
    pub fn pid(&self, index: usize) -> Option<u32> {
        self.nodes.get(index)?.pid()
    }

    /// Waits until a node answers S3.
    async fn wait_for(&self, index: usize) -> anyhow::Result<()> {
        let node = self.nodes.get(index).context("no such node")?;
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(2))
            .build()?;
        let url = format!("http://{}/", node.s3);
        until("S3 answers", || async {
            // Without a signature it refuses, but it is there.
            Ok(client.get(&url).send().await.map(|_| ())?)
        })
        .await
    }
}

/// Makes layout, bucket and key.
async fn set_up(admin: &Admin, nodes: &[Node], token: &str) -> anyhow::Result<(String, String)> {
    until("all nodes see each other", || async {
        let status = admin.get("GetClusterStatus").await?;
        let seen = status["nodes"].as_array().map_or(0, |list| {
            list.iter()
                .filter(|node| node["isUp"].as_bool() == Some(true))
                .count()
        });
        if seen >= nodes.len() {
            Ok(())
        } else {
            bail!("{seen} of {} are up", nodes.len())
        }
    })
    .await?;
    let roles: Vec<_> = nodes
        .iter()
        .enumerate()
        .map(|(i, node)| {
            json!({ "id": node.id, "zone": format!("zone{i}"), "tags": [], "capacity": 100_000_000_000_u64 })
        })
        .collect();
    admin
        .post("UpdateClusterLayout", &json!({ "roles": roles }))
        .await?;
    admin.post("ApplyClusterLayout", &json!({ "version": 1 })).await?;
    let bucket = until_value("the layout is ready", || async {
        admin
            .post("CreateBucket", &json!({ "globalAlias": BUCKET }))
            .await
    })
    .await?;
    let key = admin.post("CreateKey", &json!({ "name": "test" })).await?;
    let id = key["accessKeyId"]
        .as_str()
        .context("the new key has no id")?
        .to_owned();
    let secret = key["secretAccessKey"]
        .as_str()
        .context("the new key has no secret")?
        .to_owned();
    allow(admin, &bucket["id"], &id, nodes, token).await?;
    Ok((id, secret))
}

/// Lets the key use the bucket, and waits until every node knows: each reads such things from its own copy.
async fn allow(
    admin: &Admin,
    bucket: &serde_json::Value,
    key: &str,
    nodes: &[Node],
    token: &str,
) -> anyhow::Result<()> {
    let permissions = json!({ "read": true, "write": true, "owner": true });
    let allow = json!({ "bucketId": bucket, "accessKeyId": key, "permissions": permissions });
    admin.post("AllowBucketKey", &allow).await?;
    let id = bucket.as_str().context("the bucket has no id")?;
    let call = format!("GetBucketInfo?id={id}");
    for node in nodes {
        let admin = Admin::new(&node.admin, token)?;
        until("every node knows the key", || async {
            let info = admin.get(&call).await?;
            let keys = info["keys"].as_array().context("no keys are told of")?;
            let allowed = keys
                .iter()
                .any(|known| known["accessKeyId"] == key && known["permissions"]["write"] == true);
            anyhow::ensure!(allowed, "the key may not write yet");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// Tries until it succeeds, or patience ends.
async fn until<F>(what: &str, check: impl Fn() -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    until_value(what, check).await
}

async fn until_value<T, F>(what: &str, check: impl Fn() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let start = Instant::now();
    loop {
        match check().await {
            Ok(value) => return Ok(value),
            Err(error) if start.elapsed() > PATIENCE => {
                return Err(error.context(format!("waited {PATIENCE:?} in vain until {what}")));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
