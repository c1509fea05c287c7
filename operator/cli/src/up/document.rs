//! Which document a `hayloft up` follows.

use std::path::{Path, PathBuf};

use hayloft_api::document::Role;
use hayloft_api::rules;
use hayloft_api::{Bytes, Document, DocumentError, HostName, NameError};
use jiff::Timestamp;

use super::folder::Folder;
use crate::deciding::source::Source;
use crate::{document_file, outcome};

/// Why there is no document to follow.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChoiceError {
    /// The file of `--spec`.
    #[error(transparent)]
    Spec(document_file::ReadError),
    /// `--hosts` contradicts the folder.
    #[error("the cluster in {} has {has} hosts, not {asked}; leave --hosts out and change the number with \
             `hayloft apply --dir {} -f {}`", dir.display(), dir.display(), document.display())]
    OtherHosts {
        dir: PathBuf,
        has: usize,
        asked: u8,
        document: PathBuf,
    },
    /// The built-in document.
    #[error("the built-in document is not sound")]
    Laptop(#[source] NameError),
    /// Nothing would answer clients.
    #[error(transparent)]
    NoGateway(NoGateway),
}

/// The copy of the document in the folder cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    /// It has no text.
    #[error("the document cannot be put in words")]
    Render(#[source] DocumentError),
    /// The file cannot be written.
    #[error("cannot write {}", .0.path.display())]
    Write(#[source] hayloft_agent::files::WriteError),
}

/// A document in which nothing answers clients.
#[derive(Debug, thiserror::Error)]
#[error(
    "spec.hosts: no host has the role `gateway`, so nothing would answer Nix clients; add it to the roles of one host"
)]
pub(crate) struct NoGateway;

/// A document as this home follows it.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// It.
    pub(crate) document: Document,
    /// What of it does not hold here, one sentence each.
    pub(crate) notices: Vec<String>,
    /// Who wrote it, if that is news.
    pub(crate) source: Option<Source>,
}

impl Chosen {
    /// Goes on with the one that is kept: this one was replaced by another once, and waits for a person's word.
    pub(super) fn hold_back(&mut self, kept: Document, replaced: Timestamp) {
        self.notices = vec![format!(
            "{} The newer one stays in force. If the older one is meant, apply it with --older once this runs.",
            outcome::older(replaced)
        )];
        self.document = kept;
        self.source = None;
    }
}

/// What was asked for on the command line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) hosts: Option<u8>,
    pub(crate) spec: Option<&'a Path>,
}

/// Chooses: the document that the cluster already follows if there is one and nothing else is asked for, else `--spec`,
/// else the built-in one, for a disk with `space` bytes free.
pub(crate) fn choose(
    asked: Asked<'_>,
    kept: Option<Document>,
    folder: &Folder,
    space: u64,
) -> Result<Chosen, ChoiceError> {
    let (document, notices, source) = match (asked, kept) {
        (Asked { spec: Some(path), .. }, _) => {
            let document = document_file::read(path).map_err(ChoiceError::Spec)?;
            let (document, notices) = at_home(document);
            needs_a_gateway(&document).map_err(ChoiceError::NoGateway)?;
            (document, notices, Some(Source::Person))
        }
        (
            Asked {
                hosts: Some(asked), ..
            },
            Some(kept),
        ) if usize::from(asked) != kept.spec.hosts.len() => {
            return Err(ChoiceError::OtherHosts {
                dir: folder.path().to_owned(),
                has: kept.spec.hosts.len(),
                asked,
                document: folder.document(),
            });
        }
        (_, Some(kept)) => (kept, Vec::new(), None),
        (Asked { hosts, .. }, None) => {
            let hosts = hosts.unwrap_or(3);
            (
                Document::laptop(hosts, pledge(space, hosts)).map_err(ChoiceError::Laptop)?,
                Vec::new(),
                Some(Source::BuiltIn),
            )
        }
    };
    Ok(Chosen {
        document,
        notices,
        source,
    })
}

/// What each host lends: together at most half of what is free now, and never less than the rules ask for.
fn pledge(free: u64, hosts: u8) -> Bytes {
    let share = free / 2 / u64::from(hosts.max(1));
    let whole_gib = share >> 30 << 30;
    Bytes(whole_gib.max(rules::MIN_PLEDGE.0))
}

/// Refuses a document in which nothing answers clients: here that is never meant.
pub(crate) fn needs_a_gateway(document: &Document) -> Result<(), NoGateway> {
    if document.spec.hosts.iter().any(|host| host.has(Role::Gateway)) {
        Ok(())
    } else {
        Err(NoGateway)
    }
}

/// Takes out of a document what belongs to other homes.
pub(crate) fn at_home(mut document: Document) -> (Document, Vec<String>) {
    let mut notices = Vec::new();
    let mut addressed: Vec<HostName> = Vec::new();
    for host in &mut document.spec.hosts {
        if host.address.take().is_some() {
            addressed.push(host.name.clone());
        }
    }
    if !addressed.is_empty() {
        let names: Vec<_> = addressed.iter().map(HostName::as_str).collect();
        notices.push(format!(
            "The addresses of {} are ignored: here every host is on loopback.",
            names.join(", ")
        ));
    }
    if document.spec.gateway.public_url.take().is_some() {
        notices.push("spec.gateway.publicUrl is ignored: here the gateway is on loopback.".to_owned());
    }
    if !document.spec.pools.is_empty() {
        document.spec.pools.clear();
        notices.push("spec.pools is ignored: pools are made in Kubernetes only.".to_owned());
    }
    (document, notices)
}

/// Writes a copy of the document into the folder, for people to read, edit and apply.
pub(crate) fn copy(document: &Document, folder: &Folder) -> Result<(), CopyError> {
    let text = document.to_yaml().map_err(CopyError::Render)?;
    hayloft_agent::files::replace(&folder.document(), text.as_bytes(), 0o600).map_err(CopyError::Write)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn a_new_folder_gets_three_hosts_and_keeps_them() {
        let folder = Folder::at("/srv/hayloft".into());
        let asked = Asked {
            hosts: None,
            spec: None,
        };
        let first = choose(asked, None, &folder, 120 * GIB).unwrap().document;
        assert_eq!(first.spec.hosts.len(), 3);
        assert_eq!(first.spec.hosts[0].pledge, Some(Bytes::gib(20)));
        let again = choose(asked, Some(first.clone()), &folder, 10 * GIB)
            .unwrap()
            .document;
        assert_eq!(again, first, "less space now does not change what was declared");
        choose(
            Asked {
                hosts: Some(3),
                ..asked
            },
            Some(first.clone()),
            &folder,
            10 * GIB,
        )
        .unwrap();
        let error = choose(
            Asked {
                hosts: Some(4),
                ..asked
            },
            Some(first),
            &folder,
            10 * GIB,
        )
        .unwrap_err()
        .to_string();
        assert!(
            error.contains("has 3 hosts, not 4") && error.contains("hayloft apply"),
            "{error}"
        );
    }

    #[test]
    fn what_belongs_to_other_homes_is_left_out_and_told() {
        let mut document = Document::laptop(3, Bytes::gib(1)).unwrap();
        document.spec.hosts[1].address = Some("lyon.example.org".into());
        document.spec.gateway.public_url = Some("https://cache.example.org".into());
        let (document, notices) = at_home(document);
        assert_eq!(document, Document::laptop(3, Bytes::gib(1)).unwrap());
        assert_eq!(notices.len(), 2);
        assert!(notices[0].contains("host-2"));
    }

    #[test]
    fn a_full_disk_still_gives_a_sound_document() {
        assert_eq!(pledge(0, 3), rules::MIN_PLEDGE);
    }
}
