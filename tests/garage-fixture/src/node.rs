//! One daemon: its folder, key, configuration and process.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

use crate::{Options, REGION};

/// Runs the daemon, tells its process id, and kills it when standard input ends, which it does when we end,
/// however that happens.
const KEEPER: &str =
    r#""$0" -c "$1" server 2>"$2" >&2 & p=$!; echo $p; read -r _; kill -9 $p; wait $p 2>/dev/null"#;

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) s3: String,
    pub(crate) admin: String,
    rpc: String,
    program: PathBuf,
    pub(crate) dir: PathBuf,
    running: Option<(Child, u32)>,
}

pub(crate) fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes)
        .ok()
        .context("no random numbers")?;
    Ok(bytes)
}

fn address() -> anyhow::Result<String> {
    Ok(format!("127.0.0.1:{}", crate::free_port()?))
}

impl Node {
    pub(crate) fn prepare(program: &Path, dir: &Path) -> anyhow::Result<Self> {
        let meta = dir.join("meta");
        fs::create_dir_all(&meta)?;
        fs::create_dir_all(dir.join("data"))?;
        let seed = random::<32>()?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed)
            .ok()
            .context("no key pair")?;
        let public = pair.public_key().as_ref();
        fs::write(meta.join("node_key"), [&seed, public].concat())?;
        fs::set_permissions(meta.join("node_key"), fs::Permissions::from_mode(0o600))?;
        fs::write(meta.join("node_key.pub"), public)?;
        Ok(Self {
            id: hex::encode(public),
            s3: address()?,
            admin: address()?,
            rpc: address()?,
            program: program.to_owned(),
            dir: dir.to_owned(),
            running: None,
        })
    }

    pub(crate) fn peer(&self) -> String {
        format!("{}@{}", self.id, self.rpc)
    }

    pub(crate) fn configure(
        &self,
        rpc_secret: &str,
        admin_token: &str,
        factor: usize,
        options: &Options,
        peers: &[String],
    ) -> anyhow::Result<()> {
        let Self {
            dir, rpc, s3, admin, ..
        } = self;
        let text = format!(
            r#"metadata_dir = "{dir}/meta"
data_dir = "{dir}/data"
db_engine = "lmdb"
replication_factor = {factor}
rpc_bind_addr = "{rpc}"
rpc_public_addr = "{rpc}"
rpc_secret = "{rpc_secret}"
bootstrap_peers = {peers:?}
data_fsync = {fsync}
metadata_fsync = {fsync}
{compression}[s3_api]
s3_region = "{REGION}"
api_bind_addr = "{s3}"
[admin]
api_bind_addr = "{admin}"
admin_token = "{admin_token}"
"#,
            dir = dir.display(),
            fsync = options.fsync,
            compression = if options.compression {
                ""
            } else {
                "compression_level = \"none\"\n"
            },
        );
        let path = dir.join("garage.toml");
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(())
    }

    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        self.stop();
        let mut child = Command::new("sh")
            .args(["-c", KEEPER])
            .arg(&self.program)
            .arg(self.dir.join("garage.toml"))
            .arg(self.dir.join("log"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let out = child.stdout.take().context("no pipe")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        let pid = line.trim().parse().context("the keeper tells no process id")?;
        self.running = Some((child, pid));
        Ok(())
    }

    pub(crate) fn stop(&mut self) {
        if let Some((mut child, _)) = self.running.take() {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|(_, pid)| *pid)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}
