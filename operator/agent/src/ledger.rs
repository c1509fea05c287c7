//! The last desired state, kept on disk: a host boots and goes on without its coordinator.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hayloft_api::agent::HostDesired;
use hayloft_api::{Verdict, judge};

use crate::files;

/// What a host finds when it starts.
#[derive(Debug)]
pub enum Startup {
    /// It was never told anything.
    Nothing,
    /// There is a ledger, and it cannot be read. Nothing is started from guesses; the file is kept.
    Unreadable(LedgerError),
    /// It was told this.
    Have(Box<HostDesired>),
}

/// The ledger cannot be read or written, or an offer is refused.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file is there and cannot be read.
    #[error("cannot read the ledger {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file holds something else.
    #[error("the ledger {} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong. It names places, never contents: the ledger holds secrets.
        #[source]
        source: serde_json::Error,
    },
    /// The file cannot be written.
    #[error("cannot keep the desired state")]
    Write(#[source] files::WriteError),
    /// The desired state cannot be put in words.
    #[error("cannot put the desired state into the ledger's form")]
    Serialize(#[source] serde_json::Error),
    /// What is offered is older than what is kept.
    #[error("an older desired state was offered: {offered}, and {kept} is known")]
    Older {
        /// Its generation.
        offered: String,
        /// The one on disk.
        kept: String,
    },
    /// The same generation has two contents.
    #[error(
        "two different desired states have the generation {offered}: two coordinators are at work, stop one"
    )]
    Conflict {
        /// The generation.
        offered: String,
    },
    /// It is for another host.
    #[error("the desired state is for the host {offered}, and this is {here}")]
    OtherHost {
        /// Whom it is for.
        offered: String,
        /// Who this is.
        here: String,
    },
}

/// A host's ledger.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    kept: Option<HostDesired>,
    /// The file on disk could not be read: it is set aside before another takes its place.
    unreadable: bool,
}

impl Ledger {
    /// Opens the ledger at `path` and tells what a host that starts finds in it.
    #[must_use]
    pub fn open(path: PathBuf) -> (Self, Startup) {
        match read(&path) {
            Ok(None) => (
                Self {
                    path,
                    kept: None,
                    unreadable: false,
                },
                Startup::Nothing,
            ),
            Ok(Some(desired)) => (
                Self {
                    path,
                    kept: Some(desired.clone()),
                    unreadable: false,
                },
                Startup::Have(Box::new(desired)),
            ),
            Err(error) => (
                Self {
                    path,
                    kept: None,
                    unreadable: true,
                },
                Startup::Unreadable(error),
            ),
        }
    }

    /// What is kept.
    #[must_use]
    pub fn kept(&self) -> Option<&HostDesired> {
        self.kept.as_ref()
    }

    /// Takes what a coordinator offers: keeps it on disk before it says that it is new.
    /// Gives `true` when it is new, `false` when it is what is kept already.
    ///
    /// # Errors
    /// When it is older, contradicts what is kept, is for another host than `here`, or cannot be kept.
    pub fn offer(&mut self, here: &str, offered: &HostDesired) -> Result<bool, LedgerError> {
        if offered.host.as_str() != here {
            return Err(LedgerError::OtherHost {
                offered: offered.host.to_string(),
                here: here.to_owned(),
            });
        }
        let name = |desired: &HostDesired| format!("{}.{}", desired.generation.epoch, desired.generation.n);
        match judge(self.kept.as_ref(), offered) {
            Verdict::Same => Ok(false),
            Verdict::Older => Err(LedgerError::Older {
                offered: name(offered),
                kept: self.kept.as_ref().map(name).unwrap_or_default(),
            }),
            Verdict::Conflict => Err(LedgerError::Conflict {
                offered: name(offered),
            }),
            Verdict::Adopt => {
                if self.unreadable {
                    let mut aside = self.path.as_os_str().to_owned();
                    aside.push(".damaged");
                    fs::rename(&self.path, &aside).map_err(|source| LedgerError::Read {
                        path: self.path.clone(),
                        source,
                    })?;
                    self.unreadable = false;
                }
                let text = serde_json::to_vec_pretty(offered).map_err(LedgerError::Serialize)?;
                files::replace(&self.path, &text, 0o600).map_err(LedgerError::Write)?;
                self.kept = Some(offered.clone());
                Ok(true)
            }
        }
    }
}

/// What the ledger at `path` says, for who does not keep it.
///
/// # Errors
/// When it is there and cannot be read.
pub fn peek(path: &Path) -> Result<Option<HostDesired>, LedgerError> {
    read(path)
}

fn read(path: &Path) -> Result<Option<HostDesired>, LedgerError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(LedgerError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|source| LedgerError::Damaged {
            path: path.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use hayloft_api::Generation;

    use super::*;

    fn desired(epoch: u64, n: u64) -> HostDesired {
        let generation = Generation {
            epoch,
            instance: format!("i{epoch}"),
            n,
        };
        HostDesired::nothing(generation, "a".parse().unwrap())
    }

    #[test]
    fn what_was_told_is_there_after_a_restart_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.json");
        let (mut ledger, found) = Ledger::open(path.clone());
        assert!(matches!(found, Startup::Nothing));
        assert!(ledger.offer("a", &desired(1, 1)).unwrap());
        assert!(!ledger.offer("a", &desired(1, 1)).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let (ledger, found) = Ledger::open(path);
        assert!(matches!(found, Startup::Have(have) if *have == desired(1, 1)));
        assert_eq!(ledger.kept(), Some(&desired(1, 1)));
    }

    #[test]
    fn an_older_or_contradicting_state_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (mut ledger, _) = Ledger::open(dir.path().join("ledger.json"));
        ledger.offer("a", &desired(2, 5)).unwrap();
        assert!(matches!(
            ledger.offer("a", &desired(2, 4)),
            Err(LedgerError::Older { .. })
        ));
        assert!(matches!(
            ledger.offer("a", &desired(1, 9)),
            Err(LedgerError::Older { .. })
        ));
        let mut other = desired(2, 5);
        other.generation.instance = "another".into();
        assert!(matches!(
            ledger.offer("a", &other),
            Err(LedgerError::Conflict { .. })
        ));
        assert!(matches!(
            ledger.offer("b", &desired(3, 1)),
            Err(LedgerError::OtherHost { .. })
        ));
        assert_eq!(ledger.kept(), Some(&desired(2, 5)));
    }

    #[test]
    fn a_damaged_ledger_is_told_apart_from_none_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.json");
        fs::write(&path, b"{\"gener").unwrap();
        let (mut ledger, found) = Ledger::open(path.clone());
        assert!(matches!(found, Startup::Unreadable(LedgerError::Damaged { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"{\"gener");
        assert!(ledger.offer("a", &desired(1, 1)).unwrap());
        assert_eq!(
            fs::read(dir.path().join("ledger.json.damaged")).unwrap(),
            b"{\"gener"
        );
    }
}
