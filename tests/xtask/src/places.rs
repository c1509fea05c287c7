//! Where things are: the checkout, and the folders under the user's cache directory that outlive it.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The version of Garage that Hayloft installs and tests with.
pub(crate) const GARAGE_VERSION: &str = "2.5.0";

/// The folders and the few environment variables that xtask reads.
pub(crate) struct Places {
    /// The root of the checkout.
    pub(crate) root: PathBuf,
    /// What is slow to build and kept between runs: tools and the root file system with Nix.
    pub(crate) kept: PathBuf,
    /// Where `hayloft up` itself looks for Garage, so that both share one build.
    pub(crate) garage_root: PathBuf,
    /// `HAYLOFT_GARAGE`, when set.
    pub(crate) garage_override: Option<PathBuf>,
    /// `PATH`, split.
    pub(crate) path: Vec<PathBuf>,
    /// `CARGO_TARGET_DIR`, else `target` in the checkout.
    pub(crate) target: PathBuf,
    /// `HAYLOFT_NO_INSTALL` is set: nothing is installed, what needs it is skipped and named.
    pub(crate) may_install: bool,
}

impl Places {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place in xtask that reads the environment"
    )]
    pub(crate) fn from_environment() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .nth(2)
            .context("tests/xtask has no grandparent folder")?
            .to_path_buf();
        let cache = match env::var_os("XDG_CACHE_HOME").filter(|v| !v.is_empty()) {
            Some(dir) => PathBuf::from(dir),
            None => PathBuf::from(env::var_os("HOME").context("HOME is not set")?).join(".cache"),
        };
        Ok(Self {
            target: env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from),
            root,
            kept: cache.join("hayloft-ci"),
            garage_root: cache.join("hayloft").join(format!("garage-{GARAGE_VERSION}")),
            garage_override: env::var_os("HAYLOFT_GARAGE").map(PathBuf::from),
            path: env::var_os("PATH")
                .map(|p| env::split_paths(&p).collect())
                .unwrap_or_default(),
            may_install: env::var_os("HAYLOFT_NO_INSTALL").is_none(),
        })
    }

    /// The first file of that name on `PATH`.
    pub(crate) fn on_path(&self, name: &str) -> Option<PathBuf> {
        self.path
            .iter()
            .map(|dir| dir.join(name))
            .find(|file| file.is_file())
    }

    /// The folder of the bench's input.
    pub(crate) fn bench_corpora(&self) -> PathBuf {
        self.kept.with_file_name("hayloft-bench")
    }

    /// The folder of cargo-installed tools.
    pub(crate) fn tools(&self) -> PathBuf {
        self.kept.join("tools")
    }
}
