//! From a unit to the text of a systemd service, and of a socket where it has a door. Pure.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::sandbox::SANDBOX;
use crate::unit::{Ready, Unit, UnitFile, UnitName};

/// In the environment of a process: what it was started with. A process tells it as long as it lives, whoever started it.
pub(super) const FINGERPRINT: &str = "HAYLOFT_UNIT";

/// The service's name.
#[must_use]
pub fn service_name(unit: UnitName) -> String {
    format!("hayloft-{unit}.service")
}

/// The name of the socket at which it is reached.
#[must_use]
pub fn socket_name(unit: UnitName) -> String {
    format!("hayloft-{unit}.socket")
}

/// What systemd is to be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Which unit it is.
    pub name: UnitName,
    /// The service's file.
    pub service: String,
    /// The socket's file.
    pub socket: Option<String>,
    /// What a running process must have been started with, or else it is started anew. The sandbox is no part of it: another one holds
    /// from the next start on.
    pub fingerprint: String,
    /// The content of what the unit reads anew when it is told to; `None` when there is no such file.
    pub live: Option<String>,
    /// Folders that belong to the unit's user. Those that systemd makes are not among them.
    pub folders: Vec<PathBuf>,
}

/// A unit that systemd cannot run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// A word that a unit file would read as something else.
    #[error(
        "{word:?} cannot stand in a systemd unit: use letters, digits and ./-_@+=,: in paths and arguments"
    )]
    Word {
        /// The word.
        word: String,
    },
    /// The unit would own the agent's folder, with the host's key in it.
    #[error("{} cannot be a folder of the unit: the agent's own files are in it", folder.display())]
    AgentsFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// A file that its user could not read.
    #[error("{} lies in no folder of the unit", file.display())]
    Homeless {
        /// The file.
        file: PathBuf,
    },
    /// A file that the manager would read as root where the unit's user may put a link to another one.
    #[error("{} cannot be a credential: it lies in a folder of the unit", file.display())]
    Exposed {
        /// The file.
        file: PathBuf,
    },
    /// The door's address is a name.
    #[error("systemd listens at addresses in numbers, such as 0.0.0.0:8080 or [::]:8080, not at {address}")]
    Door {
        /// What was to be listened at.
        address: String,
    },
}

/// What systemd is to be given so that `unit` runs as the user `account`. `stamp` tells one build of the unit's program from another
/// at the same path.
///
/// # Errors
/// When the unit names something that cannot stand in a unit file, or folders that would not keep it apart.
pub fn render(unit: &Unit, account: &str, stamp: Option<&str>) -> Result<Rendered, RenderError> {
    let name = unit.name;
    let owned = owned_folders(unit)?;
    let runtime: Vec<&str> = owned.iter().filter_map(|folder| runtime_name(folder)).collect();
    let folders: Vec<PathBuf> = owned
        .iter()
        .filter(|folder| runtime_name(folder).is_none())
        .cloned()
        .collect();
    let fingerprint = fingerprint(unit, account, &owned, stamp);
    let socket = unit.door.as_deref().map(|door| socket(name, door)).transpose()?;
    let bound = folders
        .iter()
        .map(|folder| path(folder))
        .collect::<Result<Vec<_>, _>>()?;
    let mut command = vec![path(&unit.launch.program)?];
    for arg in &unit.launch.args {
        command.push(word(arg)?);
    }

    let mut text = String::new();
    let mut line = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    line(
        "# The agent of Hayloft writes this file anew when it differs. Your own changes belong into a drop-in:",
    );
    line(&format!("#   systemctl edit {}", service_name(name)));
    line("[Unit]");
    line(&format!("Description={}", title(name)));
    line("Wants=network-online.target");
    line("After=network-online.target");
    if socket.is_some() {
        line(&format!("Requires={}", socket_name(name)));
        line(&format!("After={}", socket_name(name)));
    }
    if !bound.is_empty() {
        line(&format!("RequiresMountsFor={}", bound.join(" ")));
    }
    line("StartLimitIntervalSec=0");
    line("\n[Service]");
    line(match unit.ready {
        Ready::AtOnce => "Type=exec",
        // It may wait long for what it serves from, and says so.
        Ready::SaysListening => "Type=notify\nTimeoutStartSec=infinity",
    });
    line(&format!("ExecStart={}", command.join(" ")));
    for (key, value) in &unit.launch.env {
        line(&format!("Environment={}={}", word(key)?, word(value)?));
    }
    if name == UnitName::Garage && unit.files.iter().any(is_credential) {
        // systemd lets the user read a credential by an access list, which Garage takes for a group's right.
        line("Environment=GARAGE_ALLOW_WORLD_READABLE_SECRETS=true");
    }
    line(&format!("Environment={FINGERPRINT}={fingerprint}"));
    for file in unit.files.iter().filter(|file| is_credential(file)) {
        let credential = file.seen.file_name().unwrap_or_default();
        line(&format!(
            "LoadCredential={}:{}",
            word(credential)?,
            path(&file.path)?
        ));
    }
    line(&format!("User={account}\nGroup={account}"));
    for name in &runtime {
        line(&format!("RuntimeDirectory={name}\nRuntimeDirectoryMode=0700"));
    }
    // An empty folder in place of the agent's, with the unit's own folders in it: keys of the host are not even there.
    line(&format!("TemporaryFileSystem={}:ro", path(&unit.launch.dir)?));
    for folder in &bound {
        line(&format!("BindPaths={folder}"));
    }
    line(&format!("WorkingDirectory={}", path(&unit.launch.dir)?));
    if socket.is_some() {
        line("StandardInput=socket");
    }
    line("StandardOutput=journal\nStandardError=journal");
    line(&format!("SyslogIdentifier=hayloft-{name}"));
    line("Restart=always\nRestartSec=1s\nRestartSteps=5\nRestartMaxDelaySec=30s");
    line(&format!("TimeoutStopSec={}ms", unit.grace.as_millis()));
    line("KillMode=mixed");
    line("LimitNOFILE=65536");
    text.push_str(SANDBOX);
    text.push_str("\n[Install]\nWantedBy=multi-user.target\n");
    Ok(Rendered {
        name,
        service: text,
        socket,
        fingerprint,
        live: live(unit),
        folders,
    })
}

fn title(name: UnitName) -> &'static str {
    match name {
        UnitName::Garage => "Garage, as a host of Hayloft",
        UnitName::Gateway => "Hayloft's gateway for Nix clients",
    }
}

/// Whether the unit gets the file as a credential.
pub(super) fn is_credential(file: &UnitFile) -> bool {
    file.seen != file.path
}

fn socket(name: UnitName, door: &str) -> Result<String, RenderError> {
    let address: SocketAddr = door.parse().map_err(|_| RenderError::Door {
        address: door.to_owned(),
    })?;
    // `FreeBind`: at boot the address may come later than the socket.
    Ok(format!(
        "# The agent of Hayloft writes this file anew when it differs.\n\
         [Unit]\nDescription=Where Hayloft's {name} is reached\n\n\
         [Socket]\nListenStream={address}\nFreeBind=yes\nTriggerLimitIntervalSec=0\nService={}\n\n\
         [Install]\nWantedBy=sockets.target\n",
        service_name(name)
    ))
}

/// The folders that the unit's user shall own: those it needs, except the one of log files, which the journal replaces.
fn owned_folders(unit: &Unit) -> Result<Vec<PathBuf>, RenderError> {
    let mut owned: Vec<PathBuf> = Vec::new();
    for folder in &unit.folders {
        if Some(folder.as_path()) == unit.log.parent() || owned.contains(folder) {
            continue;
        }
        if unit.launch.dir.starts_with(folder) {
            return Err(RenderError::AgentsFolder {
                folder: folder.clone(),
            });
        }
        owned.push(folder.clone());
    }
    for file in &unit.files {
        let within = owned.iter().any(|folder| file.path.starts_with(folder));
        let file_path = || file.path.clone();
        match (is_credential(file), within) {
            (true, true) => return Err(RenderError::Exposed { file: file_path() }),
            (false, false) => return Err(RenderError::Homeless { file: file_path() }),
            (true, false) | (false, true) => {}
        }
    }
    Ok(owned)
}

/// The name of a folder right under `/run`, which systemd makes and removes.
fn runtime_name(folder: &Path) -> Option<&str> {
    let name = folder.strip_prefix("/run").ok()?.to_str()?;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

fn path(path: &Path) -> Result<String, RenderError> {
    let text = word(path.as_os_str())?;
    // A colon parts two paths in some directives, and a relative path is none.
    if !text.starts_with('/') || text.contains(':') {
        return Err(RenderError::Word { word: text });
    }
    Ok(text)
}

fn word(word: &OsStr) -> Result<String, RenderError> {
    let plain = |text: &&str| {
        let one = |c: char| c.is_ascii_alphanumeric() || "./-_@+=,:".contains(c);
        !text.is_empty() && text.chars().all(one)
    };
    match word.to_str().filter(plain) {
        Some(text) => Ok(text.to_owned()),
        None => Err(RenderError::Word {
            word: word.to_string_lossy().into_owned(),
        }),
    }
}

/// A digest of all that asks for a restart when it changes. What is secret in it is random and long: nothing can be guessed from it.
fn fingerprint(unit: &Unit, account: &str, owned: &[PathBuf], stamp: Option<&str>) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("hayloft 2026 what a systemd unit was started with");
    let mut add = |part: &[u8]| {
        hasher.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        hasher.update(part);
    };
    let launch = &unit.launch;
    add(launch.program.as_os_str().as_encoded_bytes());
    add(stamp.unwrap_or_default().as_bytes());
    for arg in &launch.args {
        add(arg.as_encoded_bytes());
    }
    add(b"env");
    for (key, value) in &launch.env {
        add(key.as_encoded_bytes());
        add(value.as_encoded_bytes());
    }
    add(b"account");
    add(account.as_bytes());
    for folder in owned {
        add(folder.as_os_str().as_encoded_bytes());
    }
    add(b"files");
    for file in &unit.files {
        add(file.path.as_os_str().as_encoded_bytes());
        add(file.seen.as_os_str().as_encoded_bytes());
        add(file.significant.as_ref().unwrap_or(&file.content));
    }
    add(b"door");
    add(unit.door.as_deref().unwrap_or_default().as_bytes());
    short(&hasher)
}

fn live(unit: &Unit) -> Option<String> {
    if !unit.rereads {
        return None;
    }
    let mut hasher = blake3::Hasher::new_derive_key("hayloft 2026 what a systemd unit reads while it runs");
    for file in unit.files.iter().filter(|file| !is_credential(file)) {
        hasher.update(
            &u64::try_from(file.content.len())
                .unwrap_or(u64::MAX)
                .to_le_bytes(),
        );
        hasher.update(&file.content);
    }
    Some(short(&hasher))
}

fn short(hasher: &blake3::Hasher) -> String {
    let mut text = String::new();
    for byte in hasher.finalize().as_bytes().iter().take(16) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests;
