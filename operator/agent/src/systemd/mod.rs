//! The driver that has systemd run units: they outlive the agent, its upgrades and its absence.
//!
//! [`render()`] turns a unit into the text of a service, [`plan`] says what is to be done so that systemd runs it, [`SystemdDriver`]
//! does it, through the command `systemctl`: a few calls for each change and one every other second are all there is to say, and the
//! bus's own protocol would bring forty crates for them.

mod account;
mod actor;
mod driver;
mod judge;
mod manager;
mod own;
pub mod plan;
mod prepare;
mod render;
mod sandbox;
mod shown;
mod tended;
mod trial;

pub use account::{Account, AccountError};
pub use driver::{SystemdConfig, SystemdDriver};
pub use render::{RenderError, Rendered, render, service_name, socket_name};

use std::path::PathBuf;

/// Where Garage's admin API is reached on a host with systemd: in a folder that systemd makes for Garage's user at each start, so
/// that no socket is left over.
#[must_use]
pub fn admin_socket() -> PathBuf {
    PathBuf::from("/run/hayloft-garage/admin.sock")
}
