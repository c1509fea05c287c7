//! What a person asks for single hosts: what it would mean, and having it done.

use std::collections::BTreeSet;

use hayloft_api::agent::DataState;
use hayloft_api::document::HostState;
use hayloft_api::join::Admission;
use hayloft_api::{Document, HostName, NodeId};
use hayloft_engine::{AskedFor, HostFacts, Snapshot};

use super::source::Source;
use super::{Deciding, edit, given_up};
use crate::context::Context;
use crate::control::{HostAction, Older, Outcome};

/// Why a host is left as it is.
#[derive(Debug, thiserror::Error)]
enum RefusedError {
    /// A person's document declares it.
    #[error(
        "{host} is declared in a document that was applied, and that wins; {change} there, and run \
         `hayloft apply -f FILE` (a copy of the document is {})",
        copy.display()
    )]
    Declared {
        host: HostName,
        change: String,
        copy: std::path::PathBuf,
    },
    /// No such host.
    #[error("no host is called {host}; known are: {}", .known.join(", "))]
    Unknown { host: HostName, known: Vec<String> },
    /// Nothing is wrong with its disk.
    #[error("the data folder of {0} is as it should be; there is no new disk to accept")]
    DiskSound(HostName),
    /// It was not put out.
    #[error("{0} was not put out by `hayloft host evict`; there is nothing to undo")]
    NotEvicted(HostName),
    /// The layout is at another version.
    #[error("the layout is at version {current}, not {asked}; look at `hayloft status` once more")]
    OtherVersion { asked: u64, current: u64 },
    /// It has its own disk.
    #[error(
        "the metadata of {0} lies on its own machine, which this cannot reach yet; let it join as a new host instead"
    )]
    Elsewhere(HostName),
    /// It could still help.
    #[error("{0} is up: what it holds need not be given up; drain it, or evict it")]
    Up(HostName),
}

impl Deciding {
    /// Does what is asked for hosts, or says what it would mean.
    pub(crate) async fn about_hosts(
        &self,
        action: HostAction,
        dry_run: bool,
        context: &Context,
    ) -> anyhow::Result<Outcome> {
        let document = self.document.borrow().clone();
        if let Some(outcome) = self.of_joined(&action, &document, dry_run, context).await? {
            return Ok(outcome);
        }
        let field = |host: &HostName, set: &str| format!("set `state: {set}` in spec.hosts[{host}]");
        let edited = match &action {
            HostAction::Drain { host } => {
                let edited = edit::state(&document, host, HostState::Drained)?;
                self.may_edit(host, field(host, "drained"))?;
                edited
            }
            HostAction::TakeBack { host } => {
                let edited = edit::state(&document, host, HostState::Active)?;
                self.may_edit(host, field(host, "active"))?;
                edited
            }
            HostAction::Away { host, until } => {
                let edited = edit::away(&document, host, *until)?;
                let change = match until {
                    Some(until) => format!("set `away: {{ until: {until} }}` in spec.hosts[{host}]"),
                    None => format!("take `away` out of spec.hosts[{host}]"),
                };
                self.may_edit(host, change)?;
                edited
            }
            HostAction::Remove { host } | HostAction::Leave { host } => {
                let edited = edit::without(&document, host)?;
                self.may_edit(host, format!("take spec.hosts[{host}] out"))?;
                edited
            }
            HostAction::Evict { .. }
            | HostAction::Readmit { .. }
            | HostAction::NewDisk { .. }
            | HostAction::RestoreMetadata { .. }
            | HostAction::AllowMissingData { .. } => {
                return self.word(&action, &document, dry_run, context).await;
            }
        };
        let said = format!("Asked to {action}");
        // Whoever names the host means it, also where that leads back.
        self.consider(edited, (Source::BuiltIn, &said), Older::Follow, dry_run, context)
            .await
    }

    /// What is asked for a host that joined without being declared: it has no entry in the document that could be edited.
    async fn of_joined(
        &self,
        action: &HostAction,
        document: &Document,
        dry_run: bool,
        context: &Context,
    ) -> anyhow::Result<Option<Outcome>> {
        let (host, said) = match action {
            HostAction::Drain { host } => (
                host,
                format!("{host} gives its data to the others, and then holds none"),
            ),
            HostAction::Remove { host } => (
                host,
                format!("{host} gives its data to the others, and then does not belong any more"),
            ),
            HostAction::Leave { host } => (
                host,
                format!("{host} gives its data to the others, and then does not belong any more"),
            ),
            HostAction::TakeBack { host } => (host, format!("{host} may hold data again")),
            HostAction::Away {
                host,
                until: Some(until),
            } => (
                host,
                format!(
                    "Until {} nobody misses {host}; what needs it waits",
                    until.strftime("%Y-%m-%d %H:%MZ")
                ),
            ),
            HostAction::Away { host, until: None } => {
                (host, format!("{host} is missed from now on when it is away"))
            }
            _ => return Ok(None),
        };
        let Some(joined) = &self.joined else {
            return Ok(None);
        };
        let declared = document.host(host).is_some() && !matches!(action, HostAction::Leave { .. });
        let standing = joined.standing(host);
        if declared || standing.is_none() {
            return Ok(None);
        }
        let goes = !matches!(action, HostAction::TakeBack { .. } | HostAction::Away { .. });
        let mut outcome = Outcome {
            consequences: vec![said],
            ..Outcome::default()
        };
        if dry_run {
            if goes {
                let without = edit::without_joined(&self.effective(document), host);
                (outcome.preview, outcome.unseen) = self.preview_of(&without).await;
            }
            return Ok(Some(outcome));
        }
        let now = (context.clock)();
        match (action, standing) {
            (HostAction::Drain { .. }, _) => self.coordinator.ask(host, AskedFor::Drain).await?,
            (HostAction::Away { until, .. }, _) => joined.admissions.expect_away(host, *until).await?,
            (HostAction::TakeBack { .. }, Some(Admission::Leaving)) => {
                joined.admissions.let_leave(host, false, now).await?;
            }
            (HostAction::TakeBack { .. }, _) => self.coordinator.withdraw(host).await?,
            (_, Some(Admission::In)) => joined.admissions.let_leave(host, true, now).await?,
            // It was asked before.
            _ => {}
        }
        joined.renew().await?;
        context.note(&format!("Asked to {action}"));
        outcome.applied = true;
        Ok(Some(outcome))
    }

    /// What is not in the document, but a person's word.
    async fn word(
        &self,
        action: &HostAction,
        document: &Document,
        dry_run: bool,
        context: &Context,
    ) -> anyhow::Result<Outcome> {
        let snapshot = self.coordinator.snapshot();
        let mut outcome = Outcome::default();
        match action {
            HostAction::Evict { host } => {
                let facts = known(&snapshot, host)?;
                outcome.consequences =
                    of_eviction(host, is_up(&snapshot, facts), document.host(host).is_some());
                if dry_run {
                    if let Ok(without) = edit::without(document, host) {
                        (outcome.preview, outcome.unseen) = self.look_ahead(&without).await;
                    }
                } else {
                    self.coordinator.ask(host, AskedFor::Evict).await?;
                    self.put_out(host, (context.clock)()).await?;
                }
            }
            HostAction::Readmit { host } => {
                let facts = known(&snapshot, host)?;
                if facts.asked.is_none_or(|asked| asked.what != AskedFor::Evict) {
                    return Err(RefusedError::NotEvicted(host.clone()).into());
                }
                outcome.consequences = vec![format!("{host} joins again, as a new host with empty metadata")];
                if document.host(host).is_none() {
                    let text = format!("{host} is not declared: it joins once the document declares it");
                    outcome.consequences.push(text);
                }
                if !dry_run {
                    self.coordinator.withdraw(host).await?;
                }
            }
            HostAction::NewDisk { host } => {
                let facts = known(&snapshot, host)?;
                let data = facts.report.as_ref().map(|report| &report.data);
                if matches!(data, Some(DataState::Present | DataState::Fresh)) {
                    return Err(RefusedError::DiskSound(host.clone()).into());
                }
                outcome.consequences = vec![
                    format!("the empty data folder of {host} is taken for a new disk"),
                    "every block that it shall hold is fetched from the others; until that is done, they are the only copies"
                        .to_owned(),
                ];
                if !dry_run {
                    self.coordinator.ask(host, AskedFor::NewDisk).await?;
                }
            }
            HostAction::RestoreMetadata { host, .. } => {
                return Err(RefusedError::Elsewhere(host.clone()).into());
            }
            HostAction::AllowMissingData { hosts, version } => {
                let gone = self.gone_for_good(&snapshot, hosts, *version)?;
                outcome.consequences =
                    given_up::sentences(given_up::without(&self.links.borrow().clone(), &gone).await);
                outcome.consequences.push(
                    "it cannot be undone; paths that lost data are reported as missing, and the next push brings them back"
                        .to_owned(),
                );
                if !dry_run {
                    self.coordinator
                        .allow_missing(hosts.iter().cloned().collect())
                        .await?;
                }
            }
            HostAction::Drain { .. }
            | HostAction::TakeBack { .. }
            | HostAction::Away { .. }
            | HostAction::Leave { .. }
            | HostAction::Remove { .. } => {}
        }
        outcome.applied = !dry_run;
        if !dry_run {
            context.note(&format!("Asked to {action}"));
        }
        Ok(outcome)
    }

    /// The nodes that the hosts were, if the layout waits for them.
    fn gone_for_good(
        &self,
        snapshot: &Snapshot,
        hosts: &[HostName],
        version: u64,
    ) -> Result<BTreeSet<NodeId>, RefusedError> {
        let current = snapshot
            .cluster
            .as_ref()
            .map_or(0, |cluster| cluster.layout.version);
        if current != version {
            return Err(RefusedError::OtherVersion {
                asked: version,
                current,
            });
        }
        let mut gone = BTreeSet::new();
        for host in hosts {
            let facts = seen(snapshot, host)?;
            if is_up(snapshot, facts) {
                return Err(RefusedError::Up(host.clone()));
            }
            gone.extend(facts.id);
            gone.extend(&facts.former);
        }
        Ok(gone)
    }

    /// Refuses to edit what a person keeps.
    fn may_edit(&self, host: &HostName, change: String) -> anyhow::Result<()> {
        match Source::of(&self.folder)? {
            Source::BuiltIn => Ok(()),
            Source::Person => Err(RefusedError::Declared {
                host: host.clone(),
                change,
                copy: self.folder.document(),
            }
            .into()),
        }
    }
}

/// What is known of a host, if there is one of that name.
pub(crate) fn known<'a>(snapshot: &'a Snapshot, host: &HostName) -> anyhow::Result<&'a HostFacts> {
    seen(snapshot, host).map_err(Into::into)
}

fn seen<'a>(snapshot: &'a Snapshot, host: &HostName) -> Result<&'a HostFacts, RefusedError> {
    snapshot.hosts.get(host).ok_or_else(|| RefusedError::Unknown {
        host: host.clone(),
        known: snapshot.hosts.keys().map(ToString::to_string).collect(),
    })
}

fn is_up(snapshot: &Snapshot, facts: &HostFacts) -> bool {
    facts
        .id
        .zip(snapshot.cluster.as_ref())
        .is_some_and(|(id, cluster)| cluster.is_up(id))
}

/// What it means to put a host out.
fn of_eviction(host: &HostName, up: bool, declared: bool) -> Vec<String> {
    let mut sentences = Vec::new();
    if up {
        sentences.push(format!(
            "{host} is up: `hayloft host remove {host}` would let it give its data away first"
        ));
    }
    sentences.push(format!(
        "{host} leaves the layout at once, without its help; the node it is now is never let in again"
    ));
    sentences.push(
        "RPC secret, S3 key and admin token are renewed on all other hosts: their Garage restarts together, and clients \
         wait for a few seconds"
            .to_owned(),
    );
    if declared {
        sentences.push(format!(
            "{host} stays declared, and out, until `hayloft host evict {host} --undo` lets it join as a new host"
        ));
    }
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_puts_out_a_host_that_is_up_is_told_of_the_gentle_way() {
        let host: HostName = "host-4".parse().unwrap();
        let sentences = of_eviction(&host, true, true);
        assert!(
            sentences[0].contains("hayloft host remove host-4"),
            "{sentences:?}"
        );
        assert_eq!(of_eviction(&host, false, false).len(), 2);
    }
}
