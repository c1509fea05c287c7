//! What a running `hayloft up` does when a command asks.

use std::time::Duration;

use hayloft_api::status::Preview;
use hayloft_api::{Document, rules};
use hayloft_coordinator::WordError;

use super::document;
use super::run::Running;
use super::source::Source;
use crate::changes;
use crate::context::Context;
use crate::control::server::{Request, Wanted};
use crate::control::{Older, Outcome};
use crate::words;

/// The coordinator may be at a step that hangs; what it would say is then left out.
const PREVIEW_WITHIN: Duration = Duration::from_secs(8);

impl Running {
    /// Answers a command. Gives whether something was changed.
    pub(super) async fn answer(&mut self, request: Request, context: &Context) -> bool {
        let Request {
            wanted,
            dry_run,
            answer,
        } = request;
        let outcome = match wanted {
            Wanted::Document(document, older) => {
                let said = "A document was applied";
                self.consider(*document, (Source::Person, said), older, dry_run, context)
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
    pub(super) async fn consider(
        &mut self,
        new: Document,
        (source, said): (Source, &str),
        older: Older,
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
        let (preview, unseen) = if changes.is_empty() {
            (None, None)
        } else {
            self.look_ahead(&new).await
        };
        let now = (context.clock)();
        let replaced = match older {
            Older::Follow => None,
            Older::Hold | Older::Ask => self.store.replaced_at(&new, now).await?,
        };
        let follow = !dry_run && replaced.is_none();
        if follow {
            // Also when nothing changes: whoever applies a document keeps it from then on, and no older one waits.
            source.note(&self.folder)?;
            self.store.apply(&new, now).await?;
        }
        if let Some(replaced) = replaced.filter(|_| !dry_run && older == Older::Hold) {
            self.store.hold_back(replaced).await?;
        }
        if !dry_run {
            // The coordinator looks whether one waits.
            self.document.send_modify(|_| ());
        }
        let applied = follow && !changes.is_empty();
        if applied {
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
            preview,
            unseen,
            replaced,
            applied,
            ..Outcome::default()
        })
    }

    /// What the layout that follows from a document would move, or why that cannot be said.
    pub(super) async fn look_ahead(&self, document: &Document) -> (Option<Preview>, Option<String>) {
        match tokio::time::timeout(PREVIEW_WITHIN, self.coordinator.preview(document)).await {
            Ok(Ok(preview)) => (preview.map(|preview| *preview), None),
            Ok(Err(WordError::NoPreview(why))) => (None, Some(why)),
            Ok(Err(error)) => (None, Some(format!("{:#}", anyhow::Error::from(error)))),
            Err(_) => (
                None,
                Some("the coordinator is busy; ask again in a moment".to_owned()),
            ),
        }
    }
}
