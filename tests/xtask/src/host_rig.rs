//! The base system of hosts with their own systemd, for tests of what only such hosts show.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::places::Places;
use crate::shell;

/// The library that shows a program another time, where Debian's package puts it.
fn faketime() -> String {
    format!(
        "/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1",
        std::env::consts::ARCH
    )
}

/// The rig's folder with its base system, made when it is not there yet (about a minute).
pub(crate) fn find_or_make(places: &Places) -> Result<PathBuf> {
    if !rustix::process::geteuid().is_root() {
        bail!("they need root rights for containers, network namespaces and overlay mounts");
    }
    if !Path::new("/proc/self/ns/net").exists() {
        bail!("this kernel has no network namespaces");
    }
    let home = places.kept.join("host-rig");
    let tools = places.on_path("systemd-nspawn").is_some() && Path::new(&faketime()).is_file();
    let here = home.join("base/.made").is_file() && tools;
    if here {
        return Ok(home);
    }
    if !places.may_install {
        bail!("their base system is not there yet and HAYLOFT_NO_INSTALL is set");
    }
    if places.on_path("apt-get").is_none() {
        bail!("their base system is made with Debian's packages, and there is no apt-get here");
    }
    if !tools {
        shell::must(Command::new("apt-get").args(["update", "-qq"]))?;
        shell::must(Command::new("apt-get").args([
            "install",
            "-y",
            "-qq",
            "systemd-container",
            "debootstrap",
            "libfaketime",
        ]))?;
    }
    shell::say("xtask: making the base system of hosts with systemd once, about a minute");
    shell::must(
        Command::new(places.root.join("tests/hosts/rig"))
            .arg("build")
            .env("HOSTS_HOME", &home),
    )?;
    Ok(home)
}
