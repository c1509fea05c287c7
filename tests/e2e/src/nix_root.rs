//! A real Nix in a chroot over an overlay: its store is the test's own and is gone with the test.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::home::binary;

/// A root file system with Nix, its changes in a folder of the test's own.
pub struct NixRoot {
    folder: TempDir,
    holder: Child,
}

impl NixRoot {
    /// Mounts an overlay over `HAYLOFT_NIX_ROOT` in a mount namespace that one process holds open; when that process
    /// ends, also by the test's own death, the kernel takes the mounts away.
    ///
    /// # Errors
    /// When the variable is not set or the mounts are refused.
    #[expect(clippy::disallowed_methods, reason = "the test run's own configuration")]
    pub fn new() -> Result<Self> {
        let base = std::env::var_os("HAYLOFT_NIX_ROOT")
            .context("HAYLOFT_NIX_ROOT is not set: run `cargo xtask test --rung nix` as root")?;
        let folder = tempfile::Builder::new().prefix("hayloft-nix-").tempdir()?;
        for name in ["upper", "work", "root"] {
            fs::create_dir(folder.path().join(name))?;
        }
        let script = r#"set -e
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
mount -t proc proc "$2/root/proc"
# Nix itself makes its store when it first needs one.
mkdir -p "$2/root/nix/store"
mount --rbind /dev "$2/root/dev"
touch "$2/root/usr/local/bin/hayloft"
mount --bind "$3" "$2/root/usr/local/bin/hayloft"
echo mounted
exec sleep infinity"#;
        let mut holder = Command::new("setpriv")
            .args([
                "--pdeathsig",
                "KILL",
                "unshare",
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                script,
                "nix-root",
            ])
            .arg(&base)
            .arg(folder.path())
            .arg(binary()?)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(holder.stdout.take().context("no output")?).read_line(&mut line)?;
        if line.trim() != "mounted" {
            let _ = holder.kill();
            let _ = holder.wait();
            bail!("the root file system with Nix could not be mounted: root rights are needed");
        }
        Ok(Self { folder, holder })
    }

    /// Where a file of the root lies for the test itself (changes only; written before or after, not beside, use).
    #[must_use]
    pub fn upper(&self, path: &str) -> PathBuf {
        self.folder
            .path()
            .join("upper")
            .join(path.trim_start_matches('/'))
    }

    /// A command inside, as root with HOME=/root.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args([
                "--pdeathsig",
                "KILL",
                "nsenter",
                "--target",
                &self.holder.id().to_string(),
                "--mount",
                "--",
            ])
            .args(["chroot"])
            .arg(self.folder.path().join("root"))
            .args([
                "env",
                "-i",
                "HOME=/root",
                "PATH=/usr/local/bin:/usr/bin:/bin",
                "NO_COLOR=1",
                program,
            ])
            .stdin(Stdio::null());
        command
    }

    /// Runs a command inside and gives its standard output.
    ///
    /// # Errors
    /// When it does not exit with 0; the message holds what it printed.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<String> {
        let output = self.try_run(program, args)?;
        ensure!(
            output.status.success(),
            "{program} {args:?} failed:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs a command inside, whatever it exits with.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn try_run(&self, program: &str, args: &[&str]) -> Result<Output> {
        Ok(self.command(program).args(args).output()?)
    }

    /// Writes a file inside, with its folders.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        use std::io::Write as _;
        let mut child = self
            .command("sh")
            .args([
                "-c",
                "mkdir -p \"$(dirname \"$1\")\" && umask 077 && cat > \"$1\"",
                "write",
                path,
            ])
            .stdin(Stdio::piped())
            .spawn()?;
        child
            .stdin
            .take()
            .context("no input")?
            .write_all(text.as_bytes())?;
        ensure!(child.wait()?.success(), "{path} could not be written");
        Ok(())
    }

    /// The NAR of a store path, as `nix-store --dump` gives it.
    ///
    /// # Errors
    /// When the path is not there.
    pub fn dump(&self, path: &str) -> Result<Vec<u8>> {
        let output = self.try_run("nix-store", &["--dump", path])?;
        ensure!(output.status.success(), "{path} is not in the store");
        Ok(output.stdout)
    }

    /// Forgets what Nix remembers of binary caches.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn forget_caches(&self) -> Result<()> {
        self.run("rm", &["-rf", "/root/.cache/nix"]).map(drop)
    }
}

impl Drop for NixRoot {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
