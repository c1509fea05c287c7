//! Snapshots of the metadata of hosts that were put out: their keepers delete them.

use futures::future::join_all;
use hayloft_api::HostName;
use hayloft_api::question::{Answer, Question};
use hayloft_api::status::EventKind;
use jiff::Timestamp;

use super::Loop;
use crate::Links;
use crate::ask_agent::{WITHIN, ask};
use crate::store::Kind;

impl Loop {
    /// Asks the keepers that can be asked, side by side; others when they are back.
    pub(super) async fn drop_leftovers(&mut self, links: &Links, now: Timestamp) {
        let asked = self.memory.leftovers.iter().filter_map(|(of, on)| {
            let link = links.get(on)?;
            Some(async move {
                let question = Question::DropKept { of: of.clone() };
                (of, on, ask(on, link, question, WITHIN).await)
            })
        });
        let mut dropped: Vec<(HostName, HostName)> = Vec::new();
        for (of, on, answer) in join_all(asked).await {
            match answer {
                Ok(Answer::Done) => dropped.push((of.clone(), on.clone())),
                Ok(_) => {}
                Err(error) => tracing::debug!(%of, %error, "a kept snapshot was not deleted"),
            }
        }
        for (of, on) in dropped {
            // Asking once more harms nothing.
            if let Err(error) = self.store.drop_record(Kind::Leftover, &of).await {
                tracing::warn!(%error, "what was deleted was not noted");
                continue;
            }
            self.memory.leftovers.remove(&of);
            let text = format!("the snapshot of the metadata of {of} that {on} kept is deleted");
            self.memory.events.tell(now, EventKind::Step, text);
        }
    }
}
