//! A dozen small store paths with references among them, and their bytes as they were built.

use anyhow::{Result, ensure};

use crate::nix_root::NixRoot;

/// A Nix expression, a function of `salt`, whose closure is a dozen small store paths.
const EXPRESSION: &str = include_str!("closure.nix");

/// A closure that was built.
pub struct Closure {
    /// The path that needs all others.
    pub top: String,
    /// Every path with its NAR.
    pub nars: Vec<(String, Vec<u8>)>,
}

impl Closure {
    /// Builds the closure for a salt: another salt gives other paths.
    ///
    /// # Errors
    /// When Nix does not build it, or it is not a dozen.
    pub fn build(nix: &NixRoot, salt: &str) -> Result<Self> {
        nix.write("/root/closure.nix", EXPRESSION)?;
        let args = ["--no-out-link", "/root/closure.nix", "--argstr", "salt", salt];
        let top = nix.run("nix-build", &args)?.trim().to_owned();
        let paths = nix.run("nix-store", &["--query", "--requisites", &top])?;
        let nars = paths
            .lines()
            .map(|path| Ok((path.to_owned(), nix.dump(path)?)))
            .collect::<Result<Vec<_>>>()?;
        ensure!(
            nars.len() == 12,
            "a closure of {} paths, not of twelve",
            nars.len()
        );
        Ok(Self { top, nars })
    }

    /// The hash parts of all paths.
    #[must_use]
    pub fn hashes(&self) -> Vec<String> {
        self.nars
            .iter()
            .map(|(path, _)| hash_part(path).to_owned())
            .collect()
    }

    /// Deletes all paths from the store, and what Nix remembers of caches.
    ///
    /// # Errors
    /// When one is still there.
    pub fn delete(&self, nix: &NixRoot) -> Result<()> {
        let mut args = vec!["--delete", "--ignore-liveness"];
        args.extend(self.nars.iter().map(|(path, _)| path.as_str()));
        nix.run("nix-store", &args)?;
        for (path, _) in &self.nars {
            ensure!(nix.dump(path).is_err(), "{path} is still there");
        }
        nix.forget_caches()
    }

    /// Compares all paths in the store with what was built, byte by byte.
    ///
    /// # Errors
    /// When one is missing or differs.
    pub fn compare(&self, nix: &NixRoot) -> Result<()> {
        for (path, built) in &self.nars {
            ensure!(&nix.dump(path)? == built, "{path} came back with other bytes");
        }
        Ok(())
    }
}

/// The hash part of a store path.
#[must_use]
pub fn hash_part(path: &str) -> &str {
    path.trim_start_matches("/nix/store/")
        .get(..32)
        .unwrap_or_default()
}
