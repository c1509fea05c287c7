//! The programs of a real Kubernetes, for tests of what only that shows.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::places::Places;
use crate::shell;

/// What the rig builds itself.
const BUILT: [&str; 9] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
    "helm",
    "coredns",
    "pause",
];
/// What it takes from Debian's packages.
const INSTALLED: [&str; 4] = ["etcd", "containerd", "runc", "iptables"];

/// The rig's folder with its programs, made when they are not there yet (about ten minutes).
pub(crate) fn find_or_make(places: &Places) -> Result<PathBuf> {
    if !rustix::process::geteuid().is_root() {
        bail!("it needs root rights for containers and network namespaces");
    }
    let home = places.kept.join("kube-rig");
    let built = BUILT.iter().all(|name| home.join("bin").join(name).is_file());
    let installed = INSTALLED.iter().all(|name| places.on_path(name).is_some());
    if built && installed {
        return Ok(home);
    }
    if !places.may_install {
        bail!("its programs are not there yet and HAYLOFT_NO_INSTALL is set");
    }
    if places.on_path("apt-get").is_none() || places.on_path("go").is_none() {
        bail!("its programs are built with Go and Debian's packages, and not both are here");
    }
    shell::say("xtask: building Kubernetes once, about ten minutes");
    shell::must(
        Command::new(places.root.join("tests/kube/rig"))
            .arg("build")
            .env("KUBE_HOME", &home),
    )?;
    Ok(home)
}
