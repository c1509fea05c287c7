//! Between two rounds: the pause, and what ends it.

use std::time::Duration;

use futures::future::{pending, select_all};
use hayloft_api::agent::HostReport;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Loop;
use crate::Links;
use crate::moves::compare::View;
use crate::pace::Pause;

/// News that come together are looked at together.
const GATHER: Duration = Duration::from_millis(30);

impl Loop {
    /// Waits for the end of the pause or for news; whether it was news. People are answered at once, and what they say is
    /// news.
    pub(super) async fn rest(&mut self, pause: Pause, links: &mut Links) -> bool {
        let until = Instant::now() + pause.length;
        let mut standing = self.leadership.watch();
        let leads = self.leadership.leads();
        let mut comparison = self.memory.moves.comparing();
        let nothing = self.memory.moves.censuses.nothing();
        let word = {
            let heard = &self.memory.heard;
            let news = async {
                if !pause.may_wake {
                    pending::<()>().await;
                }
                let reports = async {
                    let waits: Vec<_> = links
                        .iter_mut()
                        .map(|(name, link)| {
                            let known = heard.get(name).map(|heard| essence(&heard.report));
                            Box::pin(async move {
                                if link
                                    .report
                                    .wait_for(|report| Some(essence(report)) != known)
                                    .await
                                    .is_err()
                                {
                                    pending::<()>().await;
                                }
                            })
                        })
                        .collect();
                    if waits.is_empty() {
                        pending::<()>().await;
                    }
                    select_all(waits).await;
                };
                let leading = async {
                    while self.leadership.leads() == leads {
                        changed(&mut standing).await;
                    }
                };
                let compared = async {
                    let Some(comparison) = &mut comparison else {
                        return pending::<()>().await;
                    };
                    // Its end is news, its progress is not.
                    let ended = |view: &View| !matches!(view, View::Running(_));
                    if comparison.wait_for(ended).await.is_err() {
                        pending::<()>().await;
                    }
                };
                tokio::select! {
                    () = reports => {}
                    () = leading => {}
                    () = compared => {}
                    () = nothing => {}
                    () = changed(&mut self.links) => {}
                    () = changed(&mut self.document) => {}
                }
                tokio::time::sleep(GATHER).await;
            };
            tokio::select! {
                () = tokio::time::sleep_until(until) => return false,
                () = news => return true,
                word = self.words.recv() => word,
            }
        };
        match word {
            Some(word) => self.hear(word).await,
            // Nobody can say anything any more.
            None => tokio::time::sleep_until(until).await,
        }
        true
    }
}

/// What of a report is worth a round at once: not its number, nor what a disk has left.
fn essence(report: &HostReport) -> HostReport {
    HostReport {
        seq: 0,
        disk: None,
        blocks: None,
        promise: None,
        clock: Timestamp::UNIX_EPOCH,
        ..report.clone()
    }
}

/// Returns on a change; never when nobody can send one any more.
async fn changed<T>(receiver: &mut watch::Receiver<T>) {
    if receiver.changed().await.is_err() {
        pending::<()>().await;
    }
}
