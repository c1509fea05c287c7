//! How commands reach a running `hayloft up`: HTTP on a socket in its folder, which only its user can open.

pub(crate) mod client;
pub(crate) mod server;

use std::fmt;

use hayloft_api::HostName;
use hayloft_api::status::Preview;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::changes::Change;

/// What a request does, or did.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Outcome {
    /// What differs from the document that is followed now.
    pub(crate) changes: Vec<Change>,
    /// What is to be done at once for it, in order, each with its reason.
    pub(crate) steps: Vec<String>,
    /// What is to be done later, each with what it waits for.
    pub(crate) waiting: Vec<String>,
    /// What of it does not hold in this home, one sentence each.
    pub(crate) notices: Vec<String>,
    /// What a person should know before it is done, one sentence each.
    #[serde(default)]
    pub(crate) consequences: Vec<String>,
    /// What the layout that follows from it would move.
    #[serde(default)]
    pub(crate) preview: Option<Preview>,
    /// Why what it would move cannot be said now.
    #[serde(default)]
    pub(crate) unseen: Option<String>,
    /// When the document was replaced by another, if it is an older one that needs a person's word.
    #[serde(default)]
    pub(crate) replaced: Option<Timestamp>,
    /// Whether it is followed now.
    pub(crate) applied: bool,
}

/// What becomes of a document that was in force before and was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Older {
    /// It waits, and the status says so.
    #[default]
    Hold,
    /// Nothing: whoever brings it is asked first.
    Ask,
    /// It is followed: a person said that it is meant.
    Follow,
}

impl Outcome {
    /// Whether there is something to do: something to change, or something that is declared already and not so yet.
    pub(crate) fn is_something(&self) -> bool {
        !(self.changes.is_empty() && self.steps.is_empty() && self.waiting.is_empty())
    }
}

/// What a person asks for hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "action")]
pub(crate) enum HostAction {
    /// It shall give its data to the others and then hold none.
    Drain {
        /// The host.
        host: HostName,
    },
    /// One that was drained shall hold data again.
    TakeBack {
        /// The host.
        host: HostName,
    },
    /// It shall give its data to the others and then be gone.
    Remove {
        /// The host.
        host: HostName,
    },
    /// The same by its own wish, which wins over the document.
    Leave {
        /// The host.
        host: HostName,
    },
    /// It is expected to be away until then; without a time, no more.
    Away {
        /// The host.
        host: HostName,
        /// Until when.
        #[serde(default)]
        until: Option<Timestamp>,
    },
    /// It is out at once, without its help.
    Evict {
        /// The host.
        host: HostName,
    },
    /// One that was evicted may join again, as a new host.
    Readmit {
        /// The host.
        host: HostName,
    },
    /// Its data disk was replaced by an empty one.
    NewDisk {
        /// The host.
        host: HostName,
    },
    /// Its metadata is lost, and comes back from the snapshot that another host keeps.
    RestoreMetadata {
        /// The host.
        host: HostName,
        /// Who keeps the snapshot; whoever has the newest, where nobody is named.
        #[serde(default)]
        from: Option<HostName>,
        /// Also one that is so old that deleted things come back with it.
        #[serde(default)]
        whatever_age: bool,
    },
    /// What only these hosts had may be given up, so that the others can go on.
    AllowMissingData {
        /// Hosts that do not come back.
        hosts: Vec<HostName>,
        /// The version of the layout that waits for them.
        version: u64,
    },
}

impl fmt::Display for HostAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drain { host } => write!(f, "drain {host}"),
            Self::TakeBack { host } => write!(f, "take {host} back"),
            Self::Remove { host } => write!(f, "remove {host}"),
            Self::Leave { host } => write!(f, "let {host} leave"),
            Self::Away {
                host,
                until: Some(until),
            } => write!(
                f,
                "expect {host} to be away until {}",
                until.strftime("%Y-%m-%d %H:%MZ")
            ),
            Self::Away { host, until: None } => write!(f, "expect {host} to be there"),
            Self::Evict { host } => write!(f, "evict {host}"),
            Self::Readmit { host } => write!(f, "let {host} join again"),
            Self::NewDisk { host } => write!(f, "take the empty data disk of {host} for a new one"),
            Self::RestoreMetadata { host, .. } => write!(f, "put the metadata of {host} back"),
            Self::AllowMissingData { hosts, version } => {
                let names: Vec<_> = hosts.iter().map(HostName::as_str).collect();
                write!(
                    f,
                    "give up what only {} had, for layout version {version}",
                    names.join(" and ")
                )
            }
        }
    }
}

/// An action, or the question what it would do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HostRequest {
    /// What is asked for.
    #[serde(flatten)]
    pub(crate) action: HostAction,
    /// Whether only to say what it would do.
    pub(crate) dry_run: bool,
}

/// Why a request was refused.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Refusal {
    /// A sentence.
    pub(crate) error: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_hosts_survives_the_socket() {
        for action in [
            HostAction::Evict {
                host: "host-4".parse().unwrap(),
            },
            HostAction::AllowMissingData {
                hosts: vec!["host-4".parse().unwrap(), "host-5".parse().unwrap()],
                version: 7,
            },
        ] {
            let request = HostRequest {
                action: action.clone(),
                dry_run: true,
            };
            let text = serde_json::to_string(&request).unwrap();
            let read: HostRequest = serde_json::from_str(&text).unwrap();
            assert_eq!((read.action, read.dry_run), (action, true), "{text}");
        }
    }
}
