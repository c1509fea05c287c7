//! What a running `hayloft up` does when a command asks.

use hayloft_api::document::HostState;
use hayloft_api::{Document, HostName, rules};

use super::run::Running;
use super::source::Source;
use super::{document, edit};
use crate::changes;
use crate::context::Context;
use crate::control::server::{Request, Wanted};
use crate::control::{HostAction, Outcome};
use crate::words;

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
}

impl Running {
    /// Answers a command. Gives whether another document is followed now.
    pub(super) async fn answer(&mut self, request: Request, context: &Context) -> bool {
        let Request {
            wanted,
            dry_run,
            answer,
        } = request;
        let outcome = match wanted {
            Wanted::Document(document) => {
                let said = "A document was applied";
                self.consider(*document, (Source::Person, said), dry_run, context)
                    .await
            }
            Wanted::Host(action) => self.about_hosts(action, dry_run, context).await,
        };
        let applied = outcome.as_ref().is_ok_and(|outcome| outcome.applied);
        // Whoever asked may have gone.
        let _ = answer.send(outcome.map_err(|error| format!("{error:#}")));
        applied
    }

    /// Compares a document with the one that is followed, and follows it if that is asked.
    async fn consider(
        &mut self,
        new: Document,
        (source, said): (Source, &str),
        dry_run: bool,
        context: &Context,
    ) -> anyhow::Result<Outcome> {
        let (new, notices) = document::at_home(new);
        document::needs_a_gateway(&new)?;
        let old = self.document.borrow().clone();
        rules::check_change(&old, &new)?;
        let changes = changes::between(&old, &new)?;
        let plan = self.coordinator.plan(&new)?;
        let steps = plan
            .steps
            .iter()
            .map(|step| format!("{}: {}", step.step, step.reason))
            .collect();
        let waiting = plan.waiting.iter().map(ToString::to_string).collect();
        if !dry_run {
            // Also when nothing changes: whoever applies a document keeps it from then on.
            source.note(&self.folder)?;
        }
        let applied = !dry_run && !changes.is_empty();
        if applied {
            self.store.apply(&new).await?;
            document::copy(&new, &self.folder)?;
            self.document.send_replace(new);
            // Hosts that are new get their agents at once; what fails is told and tried again.
            for line in self.tidy().await {
                context.note(&line);
            }
            context.note(&format!("{said}: {}", words::count(changes.len(), "change")));
        }
        Ok(Outcome {
            changes,
            steps,
            waiting,
            notices,
            applied,
            ..Outcome::default()
        })
    }

    async fn about_hosts(
        &mut self,
        action: HostAction,
        dry_run: bool,
        context: &Context,
    ) -> anyhow::Result<Outcome> {
        let document = self.document.borrow().clone();
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
            HostAction::Remove { host } => {
                let edited = edit::without(&document, host)?;
                self.may_edit(host, format!("take spec.hosts[{host}] out"))?;
                edited
            }
            HostAction::Evict { .. } | HostAction::NewDisk { .. } | HostAction::AllowMissingData { .. } => {
                anyhow::bail!("this cannot be done yet")
            }
        };
        let said = format!("Asked to {action}");
        self.consider(edited, (Source::BuiltIn, &said), dry_run, context)
            .await
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
