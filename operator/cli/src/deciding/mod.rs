//! What commands ask of whoever runs the coordinator, at home and for hosts elsewhere alike.

mod about_hosts;
mod consider;
pub(crate) mod edit;
mod given_up;
pub(crate) mod source;

use std::sync::Arc;

use hayloft_api::join::{Admission, Admitted};
use hayloft_api::{Document, HostName};
use hayloft_coordinator::admission::{AdmissionError, Admissions, with_admitted};
use hayloft_coordinator::{Coordinator, Links, Store};
use jiff::Timestamp;
use tokio::sync::watch;

pub(crate) use about_hosts::known;

use crate::up::Folder;

/// A coordinator, the document that it follows, and who belongs.
pub(crate) struct Deciding {
    pub(crate) folder: Folder,
    pub(crate) coordinator: Coordinator,
    pub(crate) store: Store,
    /// The document as it was applied.
    pub(crate) document: watch::Sender<Document>,
    pub(crate) links: watch::Receiver<Links>,
    /// Hosts that come by token; `None` at home, where every host is declared.
    pub(crate) joined: Option<Joined>,
}

/// Hosts that come by token.
pub(crate) struct Joined {
    pub(crate) admissions: Arc<Admissions>,
    /// As they were last read.
    pub(crate) hosts: watch::Sender<Vec<Admitted>>,
}

impl Joined {
    /// Reads them again.
    pub(crate) async fn renew(&self) -> Result<(), AdmissionError> {
        let now = self.admissions.hosts().await?;
        self.hosts.send_if_modified(|hosts| {
            let changed = *hosts != now;
            *hosts = now;
            changed
        });
        Ok(())
    }

    /// How a host stands that is not out.
    pub(crate) fn standing(&self, name: &HostName) -> Option<Admission> {
        let hosts = self.hosts.borrow();
        let known = |host: &&Admitted| host.facts.name == *name && host.standing != Admission::Out;
        hosts.iter().find(known).map(|host| host.standing)
    }
}

impl Deciding {
    /// A document with the hosts that joined and that it does not declare.
    pub(crate) fn effective(&self, document: &Document) -> Document {
        match &self.joined {
            Some(joined) => with_admitted(document, &joined.hosts.borrow()),
            None => document.clone(),
        }
    }

    /// Takes a host off the list of who belongs, where there is one and it is on it.
    pub(crate) async fn put_out(&self, host: &HostName, now: Timestamp) -> Result<(), AdmissionError> {
        let Some(joined) = &self.joined else { return Ok(()) };
        joined.renew().await?;
        if joined.standing(host).is_some() {
            joined.admissions.put_out(host, now).await?;
        }
        joined.renew().await
    }
}
