//! Debian packages: the two newest versions that apt knows, downloaded by apt (which checks their hashes) and unpacked.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// A package's versions, oldest first; at least two.
pub(super) fn versions(package: &str) -> Result<Vec<String>> {
    let output = Command::new("apt-cache")
        .args(["madison", package])
        .output()
        .context("apt-cache cannot be run: the corpora are made of Debian packages")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut versions: Vec<String> = Vec::new();
    for line in text.lines() {
        let mut columns = line.split('|').map(str::trim);
        if let (Some(_), Some(version), Some(source)) = (columns.next(), columns.next(), columns.next())
            && source.ends_with("Packages")
            && !versions.iter().any(|known| known == version)
        {
            versions.push(version.to_owned());
        }
    }
    versions.sort_by(|a, b| compare(a, b));
    if versions.is_empty() {
        bail!("apt knows no package {package}: run apt-get update, on Debian 12");
    }
    Ok(versions)
}

fn compare(a: &str, b: &str) -> Ordering {
    let less = Command::new("dpkg")
        .args(["--compare-versions", a, "lt", b])
        .status()
        .is_ok_and(|status| status.success());
    if less { Ordering::Less } else { Ordering::Greater }
}

/// Downloads one version of a package and unpacks it into `to`, which is made.
pub(super) fn unpack(package: &str, version: &str, to: &Path) -> Result<()> {
    let downloads = tempfile::tempdir()?;
    let done = Command::new("apt-get")
        .current_dir(downloads.path())
        .args(["download", "-q", "-o", "APT::Sandbox::User=root"])
        .arg(format!("{package}={version}"))
        .output()
        .context("apt-get cannot be run")?;
    if !done.status.success() {
        bail!(
            "{package}={version} cannot be downloaded: {}",
            String::from_utf8_lossy(&done.stderr).trim()
        );
    }
    let deb: PathBuf = fs::read_dir(downloads.path())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|end| end == "deb"))
        .context("apt-get download left no package behind")?;
    fs::create_dir_all(to)?;
    let status = Command::new("dpkg-deb").arg("-x").arg(&deb).arg(to).status()?;
    if !status.success() {
        bail!("{} cannot be unpacked", deb.display());
    }
    Ok(())
}
