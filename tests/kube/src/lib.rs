//! A real Kubernetes of one node on this machine, in a network namespace of its own: the script `rig` as values.
//!
//! The script needs root and programs that `cargo xtask test --rung kube` builds once. The node is there for one test at a time.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// A running Kubernetes; it is gone when this is dropped.
#[derive(Debug)]
pub struct Rig {
    home: PathBuf,
}

/// What a program said.
#[derive(Debug)]
pub struct Said {
    /// Whether it succeeded.
    pub success: bool,
    /// Its standard output and error.
    pub text: String,
}

impl Rig {
    /// Starts it; none where `HAYLOFT_KUBE_HOME` does not name the folder with its programs.
    ///
    /// # Errors
    /// When it does not come up.
    #[expect(clippy::disallowed_methods, reason = "the test run's own configuration")]
    pub fn up() -> anyhow::Result<Option<Self>> {
        let Some(home) = std::env::var_os("HAYLOFT_KUBE_HOME") else {
            return Ok(None);
        };
        let rig = Self { home: home.into() };
        let said = rig.run(&["up"], "")?;
        if !said.success {
            bail!("no Kubernetes: {}", said.text);
        }
        Ok(Some(rig))
    }

    /// Runs `kubectl` with `input` at its standard input.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn kubectl(&self, args: &[&str], input: &str) -> anyhow::Result<Said> {
        self.run(&[&["exec", "kubectl"], args].concat(), input)
    }

    /// The same, and what it writes to its standard output; it has to succeed.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn get(&self, args: &[&str], input: &str) -> anyhow::Result<String> {
        let said = self.kubectl(args, input)?;
        if !said.success {
            bail!("kubectl {args:?}: {}", said.text);
        }
        Ok(said.text)
    }

    fn run(&self, args: &[&str], input: &str) -> anyhow::Result<Said> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("rig");
        // To a file, not a pipe: what it starts lives on and would hold a pipe open.
        let mut said = tempfile::tempfile().context("no temporary file")?;
        let mut child = Command::new(script)
            .args(args)
            .env("KUBE_HOME", &self.home)
            .stdin(Stdio::piped())
            .stdout(said.try_clone()?)
            .stderr(said.try_clone()?)
            .spawn()
            .context("the rig cannot be started")?;
        if let Some(mut stdin) = child.stdin.take() {
            // Who does not read it is not told.
            let _ = stdin.write_all(input.as_bytes());
        }
        let success = child.wait()?.success();
        let mut text = String::new();
        std::io::Seek::rewind(&mut said)?;
        std::io::Read::read_to_string(&mut said, &mut text)?;
        Ok(Said { success, text })
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = self.run(&["down"], "");
    }
}
