//! What an installation consists of, as values, and laying it down. Whatever is there already stays as it is.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use hayloft_agent::files::{self, WriteError};

use super::units::{self, Daemon};

/// What lies above the daemons' usual folders.
const ABOVE: &str = "/var/lib/hayloft";

/// One thing on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// A folder.
    Folder { path: PathBuf, mode: u32 },
    /// A program, copied.
    Program { from: PathBuf, to: PathBuf },
    /// A text that everyone may read.
    Text { path: PathBuf, text: String },
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Laid {
    New,
    Changed,
    AsItWas,
}

/// It could not be laid down.
#[derive(Debug, thiserror::Error)]
pub(super) enum LayError {
    #[error(transparent)]
    Text(#[from] WriteError),
    #[error("cannot make {}", path.display())]
    Disk {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// A Garage to be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Garage {
    pub(super) path: PathBuf,
    pub(super) version: String,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) daemon: Daemon,
    /// Programs go into its `bin` and `lib`.
    pub(super) prefix: PathBuf,
    /// The daemon's folder.
    pub(super) dir: PathBuf,
    /// This program.
    pub(super) program: PathBuf,
    /// For an agent.
    pub(super) garage: Option<Garage>,
}

impl Wanted {
    /// Where this program shall be: where it is, if that is below the prefix already.
    pub(super) fn program_at(&self) -> PathBuf {
        self.kept_or(&self.program, self.prefix.join("bin/hayloft"))
    }

    /// Each version has a folder of its own, so that the former one is there to go back to.
    fn garage_at(&self, garage: &Garage) -> PathBuf {
        let folder = format!("lib/hayloft/garage-{}", garage.version);
        self.kept_or(&garage.path, self.prefix.join(folder).join("garage"))
    }

    fn kept_or(&self, from: &Path, to: PathBuf) -> PathBuf {
        if from.starts_with(&self.prefix) {
            from.to_owned()
        } else {
            to
        }
    }

    /// All pieces, in the order in which they are laid.
    pub(super) fn pieces(&self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut copy = |from: &Path, to: &Path| {
            if from != to {
                pieces.push(Piece::Program {
                    from: from.to_owned(),
                    to: to.to_owned(),
                });
            }
        };
        let program = self.program_at();
        copy(&self.program, &program);
        let garage = self.garage.as_ref().map(|garage| {
            let at = self.garage_at(garage);
            copy(&garage.path, &at);
            at
        });
        let service = self.daemon.service();
        pieces.push(Piece::Text {
            path: format!("/etc/sysusers.d/{service}.conf").into(),
            text: self.daemon.users().to_owned(),
        });
        if self.dir.starts_with(ABOVE) {
            // Users of units pass through it to their own folders, which are closed.
            pieces.push(Piece::Folder {
                path: ABOVE.into(),
                mode: 0o755,
            });
        }
        pieces.push(Piece::Folder {
            path: self.dir.clone(),
            mode: 0o700,
        });
        pieces.push(Piece::Text {
            path: unit_file(self.daemon),
            text: match (self.daemon, garage) {
                (Daemon::Agent, garage) => {
                    units::agent(&program, &garage.unwrap_or_else(|| "garage".into()), &self.dir)
                }
                (Daemon::Coordinator, _) => units::coordinator(&program),
            },
        });
        pieces
    }
}

/// Where a daemon's unit lies.
pub(super) fn unit_file(daemon: Daemon) -> PathBuf {
    format!("/etc/systemd/system/{}.service", daemon.service()).into()
}

impl Piece {
    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Folder { path, .. } | Self::Program { to: path, .. } | Self::Text { path, .. } => path,
        }
    }

    /// Makes it so below `root`.
    pub(super) fn lay(&self, root: &Path) -> Result<Laid, LayError> {
        let at = below(root, self.path());
        let fail = |source| LayError::Disk {
            path: at.clone(),
            source,
        };
        let there = at.exists();
        let changed = match self {
            Self::Folder { mode, .. } => folder(&at, *mode).map_err(fail)?,
            Self::Program { from, .. } => {
                above(&at).map_err(fail)?;
                copy(from, &at).map_err(fail)?
            }
            Self::Text { text, .. } => {
                above(&at).map_err(fail)?;
                files::replace(&at, text.as_bytes(), 0o644)?
            }
        };
        Ok(match (there, changed) {
            (false, _) => Laid::New,
            (true, true) => Laid::Changed,
            (true, false) => Laid::AsItWas,
        })
    }
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Makes the folders above it that are missing. Users of units pass through them, whatever the umask says.
fn above(path: &Path) -> io::Result<()> {
    let Some(above) = path.parent() else { return Ok(()) };
    let missing: Vec<&Path> = above.ancestors().take_while(|folder| !folder.exists()).collect();
    for folder in missing.into_iter().rev() {
        DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
        fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn folder(path: &Path, mode: u32) -> io::Result<bool> {
    above(path)?;
    DirBuilder::new().recursive(true).mode(mode).create(path)?;
    let found = fs::metadata(path)?.permissions().mode() & 0o7777;
    // More open than asked for is an administrator's wish where others must pass through; a closed folder stays closed.
    let right = if mode == 0o755 {
        found & mode == mode
    } else {
        found == mode
    };
    if !right {
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    Ok(!right)
}

/// Copies a program aside and renames it, so that one that runs goes on with its old file.
fn copy(from: &Path, to: &Path) -> io::Result<bool> {
    if same(from, to)? {
        return Ok(false);
    }
    let mut aside = to.as_os_str().to_owned();
    aside.push(".new");
    let aside = PathBuf::from(aside);
    let _ = fs::remove_file(&aside);
    let write = || -> io::Result<()> {
        let mut source = File::open(from)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(&aside)?;
        io::copy(&mut source, &mut file)?;
        // Whatever the umask says.
        file.set_permissions(Permissions::from_mode(0o755))?;
        file.sync_all()?;
        fs::rename(&aside, to)
    };
    write().inspect_err(|_| drop(fs::remove_file(&aside)))?;
    Ok(true)
}

fn same(one: &Path, other: &Path) -> io::Result<bool> {
    let Ok(mut other) = File::open(other) else {
        return Ok(false);
    };
    let mut one = File::open(one)?;
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let read = one.read(&mut left)?;
        if read == 0 {
            return Ok(true);
        }
        let Some(right) = right.get_mut(..read) else {
            return Ok(false);
        };
        if other.read_exact(right).is_err() || left.get(..read) != Some(&*right) {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(dir: &Path) -> Wanted {
        let program = dir.join("hayloft");
        let garage = dir.join("garage");
        fs::write(&program, "one").unwrap();
        fs::write(&garage, "garage").unwrap();
        Wanted {
            daemon: Daemon::Agent,
            prefix: "/usr/local".into(),
            dir: Daemon::Agent.usual_dir(),
            program,
            garage: Some(Garage {
                path: garage,
                version: "2.5.0".to_owned(),
            }),
        }
    }

    fn lay(wanted: &Wanted, root: &Path) -> Vec<(String, Laid)> {
        let lay = |piece: &Piece| (piece.path().display().to_string(), piece.lay(root).unwrap());
        wanted.pieces().iter().map(lay).collect()
    }

    #[test]
    fn an_agent_is_laid_down_once_and_found_as_it_is_the_second_time() {
        let (dir, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let wanted = wanted(dir.path());
        let first = lay(&wanted, root.path());
        insta::assert_debug_snapshot!(first);
        let again = lay(&wanted, root.path());
        assert!(again.iter().all(|(_, laid)| *laid == Laid::AsItWas), "{again:?}");
        let mode = |path: &str| {
            let found = fs::metadata(root.path().join(path)).unwrap();
            found.permissions().mode() & 0o777
        };
        assert_eq!(mode("usr/local/bin/hayloft"), 0o755);
        assert_eq!(mode("var/lib/hayloft"), 0o755);
        assert_eq!(mode("var/lib/hayloft/agent"), 0o700);
    }

    #[test]
    fn another_version_changes_the_program_and_nothing_else() {
        let (dir, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let wanted = wanted(dir.path());
        lay(&wanted, root.path());
        fs::write(&wanted.program, "two").unwrap();
        let laid = lay(&wanted, root.path());
        let changed: Vec<_> = laid.iter().filter(|(_, laid)| *laid != Laid::AsItWas).collect();
        assert_eq!(changed, [&("/usr/local/bin/hayloft".to_owned(), Laid::Changed)]);
        assert_eq!(
            fs::read(root.path().join("usr/local/bin/hayloft")).unwrap(),
            b"two"
        );
    }

    #[test]
    fn another_garage_lies_beside_the_former_one() {
        let (dir, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut wanted = wanted(dir.path());
        lay(&wanted, root.path());
        if let Some(garage) = &mut wanted.garage {
            garage.version = "2.6.0".to_owned();
        }
        lay(&wanted, root.path());
        for version in ["2.5.0", "2.6.0"] {
            let path = format!("usr/local/lib/hayloft/garage-{version}/garage");
            assert!(root.path().join(path).exists(), "{version}");
        }
        let unit = fs::read_to_string(root.path().join("etc/systemd/system/hayloft-agent.service")).unwrap();
        assert!(unit.contains("garage-2.6.0") && !unit.contains("garage-2.5.0"));
    }

    #[test]
    fn programs_below_the_prefix_are_used_where_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let wanted = Wanted {
            prefix: dir.path().to_owned(),
            ..wanted(dir.path())
        };
        let copied = wanted
            .pieces()
            .iter()
            .filter(|piece| matches!(piece, Piece::Program { .. }))
            .count();
        assert_eq!(copied, 0);
        assert_eq!(wanted.program_at(), wanted.program);
    }
}
