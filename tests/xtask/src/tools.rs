//! The programs that tests and lints need: found, else installed once into folders under the user's cache directory.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::places::{GARAGE_VERSION, Places};
use crate::shell;

/// Garage: `HAYLOFT_GARAGE`, then `PATH`, then the folder `hayloft up` uses; installed there when it is nowhere.
///
/// The same order as `hayloft up`, so that both test the same daemon.
pub(crate) fn garage(places: &Places) -> Result<PathBuf> {
    if let Some(file) = &places.garage_override {
        return Ok(file.clone());
    }
    if let Some(file) = places.on_path("garage") {
        return Ok(file);
    }
    let file = places.garage_root.join("bin/garage");
    if file.is_file() {
        return Ok(file);
    }
    if !places.may_install {
        bail!("Garage is not installed and HAYLOFT_NO_INSTALL is set");
    }
    shell::say(&format!(
        "xtask: building Garage {GARAGE_VERSION} once, about ten minutes on two cores"
    ));
    cargo_install(&["garage", "--version", GARAGE_VERSION], &places.garage_root)?;
    Ok(file)
}

/// A cargo subcommand such as `cargo-nextest`, pinned.
pub(crate) fn cargo_tool(places: &Places, name: &str, version: &str) -> Result<PathBuf> {
    let file = places.tools().join("bin").join(name);
    if file.is_file() {
        return Ok(file);
    }
    if let Some(found) = places.on_path(name) {
        return Ok(found);
    }
    if !places.may_install {
        bail!("{name} is not installed and HAYLOFT_NO_INSTALL is set");
    }
    shell::say(&format!("xtask: building {name} {version} once"));
    cargo_install(&[name, "--version", version], &places.tools())?;
    Ok(file)
}

fn cargo_install(what: &[&str], root: &std::path::Path) -> Result<()> {
    shell::must(
        Command::new("cargo")
            .arg("install")
            .args(what)
            .args(["--locked", "--root"])
            .arg(root)
            // A target folder meant for the workspace would keep the tools' intermediate files for ever.
            .env_remove("CARGO_TARGET_DIR"),
    )
}
