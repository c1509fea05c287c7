//! A root file system with a real Nix in it, for tests of what Nix itself does.
//!
//! Debian 13 has Nix 2.26 (`nix-bin`). The tests run it from a chroot over an overlay, so the machine's own store, if
//! it has one, is never touched. Making the root needs root rights and Debian's packages.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::places::Places;
use crate::shell;

const NIX_CONF: &str =
    "build-users-group =\nsandbox = false\nsubstituters =\nexperimental-features = nix-command flakes\n";

/// The root file system's folder, made when it is not there yet (about a minute).
pub(crate) fn find_or_make(places: &Places) -> Result<PathBuf> {
    if !rustix::process::geteuid().is_root() {
        bail!("it needs root rights for chroot and overlay mounts");
    }
    let root = places.kept.join("nix-root");
    let done = root.join(".made-2");
    if done.is_file() {
        return Ok(root);
    }
    if !places.may_install {
        bail!("there is none yet and HAYLOFT_NO_INSTALL is set");
    }
    if places.on_path("debootstrap").is_none() {
        shell::must(Command::new("apt-get").args(["update", "-qq"]))?;
        shell::must(Command::new("apt-get").args(["install", "-y", "-qq", "debootstrap"]))?;
    }
    shell::say("xtask: making a root file system with Nix once, about a minute");
    if root.exists() {
        // Half made by a run that was interrupted.
        let _ = Command::new("umount").arg(root.join("proc")).output();
        fs::remove_dir_all(&root).with_context(|| format!("{} could not be removed", root.display()))?;
    }
    fs::create_dir_all(&places.kept)
        .with_context(|| format!("{} could not be made", places.kept.display()))?;
    shell::must(
        Command::new("debootstrap")
            .args(["--variant=minbase", "--include=ca-certificates,procps", "trixie"])
            .arg(&root),
    )?;
    // Nix's package configures itself with commands that need /proc; in a mount namespace of its own nothing is left behind.
    let script = r#"set -e
cp /etc/apt/apt.conf.d/* "$1/etc/apt/apt.conf.d/" 2>/dev/null || true
cp /etc/resolv.conf "$1/etc/resolv.conf"
mount -t proc proc "$1/proc"
chroot "$1" sh -c 'apt-get update -qq && apt-get install -y -qq --no-install-recommends nix-bin && apt-get clean'"#;
    shell::must(
        Command::new("unshare")
            .args(["-m", "bash", "-c", script, "nix-root"])
            .arg(&root),
    )?;
    let conf = root.join("etc/nix");
    fs::create_dir_all(&conf).with_context(|| format!("{} could not be made", conf.display()))?;
    fs::write(conf.join("nix.conf"), NIX_CONF).context("nix.conf could not be written")?;
    fs::write(&done, "").context("the mark of a finished root could not be written")?;
    Ok(root)
}
