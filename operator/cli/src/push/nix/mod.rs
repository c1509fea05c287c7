//! The Nix store on this machine: what lies in it, and its paths as NARs. Read only.

pub(crate) mod dump;
mod legacy;
mod path_info;
pub(crate) mod resolve;
mod run;

use std::collections::BTreeSet;
use std::ffi::OsString;

use hayloft_nixcache::{StoreDir, StorePath};

pub(crate) use path_info::PathInfo;
pub(crate) use run::StoreError;

use run::{Ran, run};

/// Paths in one command line. Store paths are at most 250 bytes, and a command line may hold 2 MiB.
const PATHS_PER_COMMAND: usize = 4_000;

/// The commands that ask the local store.
#[derive(Debug, Clone)]
pub(crate) struct LocalStore {
    /// The `nix` command; absent from very old installations.
    pub(crate) nix: OsString,
    /// The `nix-store` command.
    pub(crate) nix_store: OsString,
    /// Where the store's paths lie.
    pub(crate) store_dir: StoreDir,
}

/// What the local store knows of a set of paths.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// One entry for each path, ordered by path.
    pub(crate) infos: Vec<PathInfo>,
    /// Whether signatures were told; the old commands do not tell them, so that nothing can be skipped by them.
    pub(crate) with_signatures: bool,
}

impl LocalStore {
    /// The store that the commands in `PATH` use.
    pub(crate) fn in_path(store_dir: StoreDir) -> LocalStore {
        LocalStore {
            nix: "nix".into(),
            nix_store: "nix-store".into(),
            store_dir,
        }
    }

    /// What the store knows of the paths, and with `closure` of all that they refer to, directly or not.
    ///
    /// # Errors
    /// Nix is not there, a path is not valid, or what Nix prints is not understood.
    pub(crate) async fn known(
        &self,
        paths: &BTreeSet<StorePath>,
        closure: bool,
    ) -> Result<Known, StoreError> {
        match self.by_path_info(paths, closure).await? {
            Some(known) => Ok(known),
            None => self.by_nix_store(paths, closure).await,
        }
    }

    /// Those of the paths that the store does not hold (or no more, or not yet).
    ///
    /// # Errors
    /// Nix is not there or fails.
    pub(crate) async fn invalid(
        &self,
        paths: &BTreeSet<StorePath>,
    ) -> Result<BTreeSet<StorePath>, StoreError> {
        let mut invalid = BTreeSet::new();
        for batch in batches(paths) {
            let args = ["--check-validity", "--print-invalid"];
            let output = run(&self.nix_store, &args, &batch).await?.success()?;
            for line in String::from_utf8_lossy(&output).lines() {
                invalid.insert(line.trim().parse().map_err(|_| StoreError::Unreadable {
                    line: line.to_owned(),
                })?);
            }
        }
        Ok(invalid)
    }

    /// Asks `nix path-info`; nothing when this Nix has no such command.
    async fn by_path_info(
        &self,
        paths: &BTreeSet<StorePath>,
        closure: bool,
    ) -> Result<Option<Known>, StoreError> {
        let mut args = vec![
            "--extra-experimental-features",
            "nix-command",
            "path-info",
            "--json",
        ];
        if closure {
            args.push("--recursive");
        }
        let mut infos = BTreeSet::new();
        for batch in batches(paths) {
            let ran = match run(&self.nix, &args, &batch).await {
                Ok(ran) => ran,
                Err(StoreError::NotInstalled { .. }) => return Ok(None),
                Err(other) => return Err(other),
            };
            if is_too_old(&ran) {
                return Ok(None);
            }
            infos.extend(path_info::parse(&ran.success()?)?);
        }
        Ok(Some(Known {
            infos: infos.into_iter().collect(),
            with_signatures: true,
        }))
    }

    /// Asks `nix-store`, which is in every Nix and every Lix.
    async fn by_nix_store(&self, paths: &BTreeSet<StorePath>, closure: bool) -> Result<Known, StoreError> {
        let mut wanted = paths.clone();
        if closure {
            for batch in batches(paths) {
                let output = run(&self.nix_store, &["--query", "--requisites"], &batch)
                    .await?
                    .success()?;
                for line in String::from_utf8_lossy(&output).lines() {
                    wanted.insert(line.trim().parse().map_err(|_| StoreError::Unreadable {
                        line: line.to_owned(),
                    })?);
                }
            }
        }
        let mut infos = BTreeSet::new();
        for batch in batches(&wanted) {
            let output = run(&self.nix_store, &["--dump-db"], &batch).await?.success()?;
            infos.extend(legacy::parse(&String::from_utf8_lossy(&output))?);
        }
        Ok(Known {
            infos: infos.into_iter().collect(),
            with_signatures: false,
        })
    }
}

fn batches(paths: &BTreeSet<StorePath>) -> Vec<Vec<&str>> {
    let paths: Vec<&str> = paths.iter().map(StorePath::as_str).collect();
    paths.chunks(PATHS_PER_COMMAND).map(<[&str]>::to_vec).collect()
}

/// Whether `nix` failed because it is from before the command or its flags.
fn is_too_old(ran: &Ran) -> bool {
    !ran.succeeded
        && [
            "unrecognised flag",
            "is not a recognised command",
            "experimental Nix feature 'nix-command' is disabled",
        ]
        .iter()
        .any(|sign| ran.complaint.contains(sign))
}
