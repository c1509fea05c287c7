//! A host whose metadata is lost gets it back from the snapshot that another host keeps.

use std::path::PathBuf;
use std::time::Duration;

use hayloft_agent::snapshots::{RestoreError, Restored, restore_metadata};
use hayloft_api::HostName;
use hayloft_api::question::{Answer, KeptSnapshot, Question};
use hayloft_engine::Snapshot;
use jiff::Timestamp;

use super::run::Running;
use crate::context::Context;
use crate::control::Outcome;
use crate::words;

/// An agent that is there answers sooner.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Why no metadata is put back.
#[derive(Debug, thiserror::Error)]
pub(super) enum RestoreRefused {
    /// It works.
    #[error("the Garage of {0} runs, so its metadata is not lost; there is nothing to restore")]
    NotLost(HostName),
    /// There is none.
    #[error(
        "{from} no snapshot of the metadata of {host}; let it join as a new host instead: `hayloft host evict {host}`, \
         then `hayloft host evict {host} --undo`",
        from = match from {
            Some(from) => format!("{from} keeps"),
            None => "no other host keeps".to_owned(),
        }
    )]
    NoSnapshot { host: HostName, from: Option<HostName> },
    /// Putting it back failed.
    #[error("the metadata of {host} was not put back")]
    Restore {
        host: HostName,
        #[source]
        source: RestoreError,
    },
    /// It was interrupted.
    #[error("putting the metadata of {0} back was interrupted; ask for it again")]
    Interrupted(HostName),
}

/// What is asked for.
pub(super) struct Wish<'a> {
    pub(super) host: &'a HostName,
    /// Who shall have kept the snapshot; whoever has the newest, where nobody is named.
    pub(super) from: Option<&'a HostName>,
    pub(super) whatever_age: bool,
}

impl Running {
    /// Puts the newest snapshot back, or says what that would do. Garage of that host is stopped for it and started again.
    pub(super) async fn restore(
        &mut self,
        wish: Wish<'_>,
        snapshot: &Snapshot,
        dry_run: bool,
        context: &Context,
    ) -> anyhow::Result<Outcome> {
        let Wish {
            host,
            from,
            whatever_age,
        } = wish;
        let (keeper, kept) = self.kept_for(host, from, snapshot).await?;
        let info = kept.info;
        let age = (context.clock)().duration_since(info.taken).unsigned_abs();
        let mut outcome = Outcome {
            consequences: vec![
                format!(
                    "the metadata of {host} is put back as it was at {}, {} ago, from the snapshot that {keeper} keeps ({})",
                    shown(info.taken),
                    words::duration(age),
                    words::bytes(info.bytes())
                ),
                format!("what is left of its metadata is set aside in {}", self.hosts.dir(host).display()),
                "its tables and blocks are repaired afterwards, and nobody gives up a role until that is proven".to_owned(),
            ],
            ..Outcome::default()
        };
        if dry_run {
            return Ok(outcome);
        }
        let places = self.hosts.halt(host).await?;
        let files = self
            .hosts
            .dir(&keeper)
            .join("kept")
            .join(host.as_str())
            .join(&info.id.0);
        let now = (context.clock)();
        let restoring =
            tokio::task::spawn_blocking(move || restore_metadata(&places, &info, &files, now, whatever_age));
        let restored = restoring.await;
        // Whatever came of it, the host goes on with what it has.
        let document = self.deciding.document.borrow().clone();
        if matches!(restored, Ok(Ok(_))) {
            self.deciding.coordinator.restored(host).await?;
        }
        self.hosts.start(&document).await?;
        let Restored { set_aside } = restored
            .map_err(|_| RestoreRefused::Interrupted(host.clone()))?
            .map_err(|source| RestoreRefused::Restore {
                host: host.clone(),
                source,
            })?;
        outcome.notices.extend(set_aside.map(|dir: PathBuf| {
            format!(
                "What lay there before is in {}; remove it once all is well",
                dir.display()
            )
        }));
        outcome.applied = true;
        Ok(outcome)
    }

    /// Who keeps the newest whole snapshot of the node that the host is in the layout.
    async fn kept_for(
        &self,
        host: &HostName,
        from: Option<&HostName>,
        snapshot: &Snapshot,
    ) -> Result<(HostName, KeptSnapshot), RestoreRefused> {
        let cluster = snapshot.cluster.as_ref();
        let facts = snapshot.hosts.get(host);
        let nodes = facts
            .iter()
            .flat_map(|facts| facts.id.iter().chain(&facts.former));
        let mut nodes: Vec<_> = nodes.copied().collect();
        if nodes
            .iter()
            .any(|id| cluster.is_some_and(|cluster| cluster.is_up(*id)))
        {
            return Err(RestoreRefused::NotLost(host.clone()));
        }
        nodes.retain(|id| cluster.is_none_or(|cluster| cluster.layout.roles.contains_key(id)));
        let mut found: Vec<(HostName, KeptSnapshot)> = Vec::new();
        for (keeper, questions) in self.hosts.questions_by_name() {
            if keeper == host || from.is_some_and(|from| from != keeper) {
                continue;
            }
            let (reply, answer) = tokio::sync::oneshot::channel();
            let asked = async {
                questions.send((Question::KeptSnapshots, reply)).await.ok()?;
                answer.await.ok()?.ok()
            };
            if let Ok(Some(Answer::KeptSnapshots { kept })) = tokio::time::timeout(ANSWER_WITHIN, asked).await
            {
                let usable =
                    |kept: &KeptSnapshot| kept.whole && kept.of == *host && nodes.contains(&kept.info.node);
                found.extend(kept.into_iter().filter(usable).map(|kept| (keeper.clone(), kept)));
            }
        }
        found
            .into_iter()
            .max_by_key(|(_, kept)| kept.info.taken)
            .ok_or_else(|| RestoreRefused::NoSnapshot {
                host: host.clone(),
                from: from.cloned(),
            })
    }
}

fn shown(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}
