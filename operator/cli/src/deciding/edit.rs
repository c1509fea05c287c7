//! What `hayloft host drain` and `hayloft host remove` do to a document. Pure.

use hayloft_api::document::{Away, HostState};
use hayloft_api::rules::{self, Violations};
use hayloft_api::{Document, HostName};
use jiff::Timestamp;

/// Why a document cannot be edited so.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EditError {
    /// No such host.
    #[error("no host is called {host}; declared are: {}", .declared.join(", "))]
    Unknown {
        /// What was asked for.
        host: HostName,
        /// Those that there are.
        declared: Vec<String>,
    },
    /// The document would break a rule.
    #[error("{what} is refused")]
    Unsound {
        /// What was to be done.
        what: String,
        #[source]
        source: Violations,
    },
}

/// The document in which the host's `state` is that.
///
/// # Errors
/// When there is no such host, or too few would be left.
pub(crate) fn state(document: &Document, host: &HostName, state: HostState) -> Result<Document, EditError> {
    let mut edited = document.clone();
    let Some(spec) = edited.spec.hosts.iter_mut().find(|spec| spec.name == *host) else {
        return Err(unknown(document, host));
    };
    spec.state = state;
    let verb = if state.is_active() {
        "taking back"
    } else {
        "draining"
    };
    sound(edited, format!("{verb} {host}"))
}

/// The document in which the host is announced to be away until then, or not any more.
///
/// # Errors
/// When there is no such host.
pub(crate) fn away(
    document: &Document,
    host: &HostName,
    until: Option<Timestamp>,
) -> Result<Document, EditError> {
    let mut edited = document.clone();
    let Some(spec) = edited.spec.hosts.iter_mut().find(|spec| spec.name == *host) else {
        return Err(unknown(document, host));
    };
    spec.away = until.map(|until| Away { until });
    sound(edited, format!("an absence of {host}"))
}

/// The document without the host.
///
/// # Errors
/// When there is no such host, or too few would be left.
pub(crate) fn without(document: &Document, host: &HostName) -> Result<Document, EditError> {
    let mut edited = document.clone();
    edited.spec.hosts.retain(|spec| spec.name != *host);
    if edited.spec.hosts.len() == document.spec.hosts.len() {
        return Err(unknown(document, host));
    }
    sound(edited, format!("removing {host}"))
}

/// The document without a host that joined, whether that leaves enough or not: the plan says what waits then.
pub(crate) fn without_joined(document: &Document, host: &HostName) -> Document {
    let mut edited = document.clone();
    edited.spec.hosts.retain(|spec| spec.name != *host);
    edited
}

fn sound(edited: Document, what: String) -> Result<Document, EditError> {
    match rules::check(&edited) {
        Ok(()) => Ok(edited),
        Err(source) => Err(EditError::Unsound { what, source }),
    }
}

fn unknown(document: &Document, host: &HostName) -> EditError {
    EditError::Unknown {
        host: host.clone(),
        declared: document
            .spec
            .hosts
            .iter()
            .map(|spec| spec.name.to_string())
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use hayloft_api::Bytes;

    use super::*;

    fn name(text: &str) -> HostName {
        text.parse().unwrap()
    }

    #[test]
    fn a_host_is_drained_taken_back_and_removed() {
        let document = Document::laptop(4, Bytes::gib(2)).unwrap();
        let drained = state(&document, &name("host-4"), HostState::Drained).unwrap();
        assert_eq!(drained.host(&name("host-4")).unwrap().state, HostState::Drained);
        assert_eq!(
            state(&drained, &name("host-4"), HostState::Active).unwrap(),
            document
        );
        let removed = without(&document, &name("host-4")).unwrap();
        assert_eq!(removed, Document::laptop(3, Bytes::gib(2)).unwrap());
    }

    #[test]
    fn an_absence_is_announced_and_taken_back() {
        let document = Document::laptop(3, Bytes::gib(2)).unwrap();
        let until: Timestamp = "2026-12-01T00:00:00Z".parse().unwrap();
        let announced = away(&document, &name("host-2"), Some(until)).unwrap();
        assert_eq!(
            announced.host(&name("host-2")).unwrap().away,
            Some(Away { until })
        );
        assert_eq!(away(&announced, &name("host-2"), None).unwrap(), document);
    }

    #[test]
    fn what_would_leave_too_few_hosts_is_refused_with_the_number() {
        let document = Document::laptop(3, Bytes::gib(2)).unwrap();
        for refused in [
            without(&document, &name("host-3")),
            state(&document, &name("host-3"), HostState::Drained),
        ] {
            let error = format!("{:#}", anyhow::Error::from(refused.unwrap_err()));
            assert!(
                error.contains("host-3 is refused") && error.contains('3'),
                "{error}"
            );
        }
    }

    #[test]
    fn an_unknown_host_is_refused_with_those_that_there_are() {
        let document = Document::laptop(1, Bytes::gib(2)).unwrap();
        let error = without(&document, &name("hots-1")).unwrap_err().to_string();
        assert_eq!(error, "no host is called hots-1; declared are: host-1");
    }
}
