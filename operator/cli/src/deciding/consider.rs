//! A document that a command brings: what it would change, and following it.

use std::time::Duration;

use hayloft_api::status::Preview;
use hayloft_api::{Document, rules};
use hayloft_coordinator::WordError;

use super::Deciding;
use super::source::Source;
use crate::changes;
use crate::context::Context;
use crate::control::{Older, Outcome};
use crate::up::{document_copy, needs_a_gateway};
use crate::words;

/// The coordinator may be at a step that hangs; what it would say is then left out.
const PREVIEW_WITHIN: Duration = Duration::from_secs(8);

impl Deciding {
    /// Compares a document with the one that is followed, and follows it if that is asked.
    pub(crate) async fn consider(
        &self,
        new: Document,
        (source, said): (Source, &str),
        older: Older,
        dry_run: bool,
        context: &Context,
    ) -> anyhow::Result<Outcome> {
        if self.joined.is_none() {
            // At home nobody else comes to answer clients.
            needs_a_gateway(&new)?;
        }
        let old = self.document.borrow().clone();
        rules::check_change(&old, &new)?;
        let changes = changes::between(&old, &new)?;
        let plan = self.coordinator.plan(&self.effective(&new))?;
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
            document_copy(&new, &self.folder)?;
            self.document.send_replace(new);
            context.note(&format!("{said}: {}", words::count(changes.len(), "change")));
        }
        Ok(Outcome {
            changes,
            steps,
            waiting,
            preview,
            unseen,
            replaced,
            applied,
            ..Outcome::default()
        })
    }

    /// What the layout that follows from a document would move, or why that cannot be said.
    pub(super) async fn look_ahead(&self, document: &Document) -> (Option<Preview>, Option<String>) {
        self.preview_of(&self.effective(document)).await
    }

    /// The same of one in which all hosts are that belong.
    pub(super) async fn preview_of(&self, document: &Document) -> (Option<Preview>, Option<String>) {
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
