//! What a running `hayloft up` does when a command asks.

use super::document;
use super::restore::Wish;
use super::run::Running;
use crate::context::Context;
use crate::control::server::{Request, Wanted};
use crate::control::{HostAction, Outcome};
use crate::deciding::source::Source;

impl Running {
    /// Answers a command. Gives whether something was changed.
    pub(super) async fn answer(&mut self, request: Request, context: &Context) -> bool {
        let Request {
            wanted,
            dry_run,
            answer,
        } = request;
        let outcome = self.outcome(wanted, dry_run, context).await;
        let applied = outcome.as_ref().is_ok_and(|outcome| outcome.applied);
        if applied {
            // Hosts that are new get their agents at once; what fails is told and tried again.
            for line in self.tidy().await {
                context.note(&line);
            }
        }
        // Whoever asked may have gone.
        let _ = answer.send(outcome.map_err(|error| format!("{error:#}")));
        applied
    }

    async fn outcome(&mut self, wanted: Wanted, dry_run: bool, context: &Context) -> anyhow::Result<Outcome> {
        match wanted {
            Wanted::Document(document, older) => {
                let (document, notices) = document::at_home(*document);
                let source = (Source::Person, "A document was applied");
                let considered = self.deciding.consider(document, source, older, dry_run, context);
                Ok(Outcome {
                    notices,
                    ..considered.await?
                })
            }
            Wanted::Host(HostAction::RestoreMetadata {
                host,
                from,
                whatever_age,
            }) => {
                let snapshot = self.deciding.coordinator.snapshot();
                crate::deciding::known(&snapshot, &host)?;
                let wish = Wish {
                    host: &host,
                    from: from.as_ref(),
                    whatever_age,
                };
                self.restore(wish, &snapshot, dry_run, context).await
            }
            Wanted::Host(action) => self.deciding.about_hosts(action, dry_run, context).await,
        }
    }
}
