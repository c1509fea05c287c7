//! Snapshots of hosts' metadata, copied to other hosts in the background, one at a time.

use std::time::Duration;

use hayloft_api::question::{Answer, LARGEST_PART, Question, SnapshotInfo};
use hayloft_api::{HostName, NodeId};
use hayloft_engine::SnapshotKept;
use hayloft_garage::admin::Client;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::Links;
use crate::ask_agent::{AskError, ask};

/// A part may take so long, over a thin link.
const PART: Duration = Duration::from_secs(60);
/// After each part it rests for so long, for hosts have thin uplinks and clients.
const REST: Duration = Duration::from_millis(20);
/// The whole copy may take so long. What was kept of it counts at the next try.
const WHOLE: Duration = Duration::from_secs(6 * 3600);

/// Why a snapshot was not kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeepError {
    /// An agent did not do its part.
    #[error(transparent)]
    Agent(AskError),
    /// There is no link to a host.
    #[error("{0} cannot be reached")]
    Gone(HostName),
    /// Garage made none.
    #[error("{0} has no snapshot of its metadata")]
    None(HostName),
    /// Both do not agree on how far it is.
    #[error("the copy of the snapshot of {0} did not get on")]
    Stuck(HostName),
    /// It took too long.
    #[error("copying the snapshot of {0} took too long")]
    TooLong(HostName),
}

/// A copy that ended.
pub(crate) struct Ended {
    pub(crate) of: HostName,
    pub(crate) outcome: Result<SnapshotKept, KeepError>,
}

/// The copy that runs, if any.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    running: Option<(HostName, JoinHandle<Result<SnapshotKept, KeepError>>)>,
}

impl Drop for Snapshots {
    fn drop(&mut self) {
        if let Some((_, task)) = &self.running {
            task.abort();
        }
    }
}

impl Snapshots {
    /// Begins, if nothing runs. Whether it did.
    pub(crate) fn begin(
        &mut self,
        of: &HostName,
        on: &HostName,
        node: NodeId,
        client: Client,
        links: watch::Receiver<Links>,
    ) -> bool {
        if self.running.is_some() {
            return false;
        }
        tracing::info!(%of, %on, "a snapshot of metadata is made and kept elsewhere");
        let task = tokio::spawn(keep(of.clone(), on.clone(), node, client, links));
        self.running = Some((of.clone(), task));
        true
    }

    /// What ended since the last time.
    pub(crate) async fn ended(&mut self) -> Option<Ended> {
        let (of, task) = self.running.take_if(|(_, task)| task.is_finished())?;
        let outcome = task.await.unwrap_or_else(|_| Err(KeepError::Stuck(of.clone())));
        Some(Ended { of, outcome })
    }
}

async fn keep(
    of: HostName,
    on: HostName,
    node: NodeId,
    client: Client,
    links: watch::Receiver<Links>,
) -> Result<SnapshotKept, KeepError> {
    // One that is being made still, or was made just now by Garage itself, is as good.
    if let Err(error) = client.snapshot_metadata(node).await {
        tracing::debug!(%of, %error, "Garage made no snapshot just now");
    }
    let asked = |host: HostName, question: Question| {
        let links = links.borrow().clone();
        async move {
            let link = links.get(&host).ok_or_else(|| KeepError::Gone(host.clone()))?;
            ask(&host, link, question, PART).await.map_err(KeepError::Agent)
        }
    };
    let copying = async {
        let Answer::Snapshot { info: Some(info) } = asked(of.clone(), Question::Snapshot).await? else {
            return Err(KeepError::None(of.clone()));
        };
        let first = info.files.first().map(|file| file.name.clone());
        let first = first.ok_or_else(|| KeepError::None(of.clone()))?;
        let part = |info: &SnapshotInfo, file: String, offset: u64, data: Vec<u8>| Question::KeepSnapshot {
            of: of.clone(),
            info: info.clone(),
            file,
            offset,
            data,
        };
        // Asked with nothing, it says how far an earlier try had come.
        let mut at = asked(on.clone(), part(&info, first, 0, Vec::new())).await?;
        let mut stuck = 0;
        loop {
            let Answer::Kept { file, offset } = at else {
                return Err(KeepError::Stuck(of.clone()));
            };
            let Some(file) = file else {
                return Ok(SnapshotKept {
                    made: info.taken,
                    on: on.clone(),
                });
            };
            let question = Question::SnapshotPart {
                id: info.id.clone(),
                file: file.clone(),
                offset,
                limit: LARGEST_PART,
            };
            let Answer::Part { data, .. } = asked(of.clone(), question).await? else {
                return Err(KeepError::Stuck(of.clone()));
            };
            let before = (Some(file.clone()), offset);
            at = asked(on.clone(), part(&info, file, offset, data)).await?;
            if let Answer::Kept { file, offset } = &at
                && (file.clone(), *offset) == before
            {
                stuck += 1;
                if stuck > 3 {
                    return Err(KeepError::Stuck(of.clone()));
                }
            }
            tokio::time::sleep(REST).await;
        }
    };
    match tokio::time::timeout(WHOLE, copying).await {
        Ok(outcome) => outcome,
        Err(_) => Err(KeepError::TooLong(of.clone())),
    }
}
