//! Opening: the index is brought to the log, and the gateway takes the role that it is named for.

use std::path::Path;
use std::sync::Arc;

use hayloft_index::Index;
use hayloft_store::cluster_key::LogSigner;
use hayloft_store::object::SharedStore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::INDEX_FILE;
use super::caches::Caches;
use super::claim::claim;
use super::committer::Committer;
use super::error::OpenError;
use super::fleet::{Fleet, Rule};
use super::follow::catch_up;
use super::office::Office;
use super::random::Random;
use super::role::{Role, Start};
use super::succession::{check_format, take_office};

/// What is needed to open.
pub(super) struct Opening<'a> {
    pub(super) store: SharedStore,
    pub(super) state_dir: &'a Path,
    pub(super) signer: LogSigner,
    pub(super) caches: Arc<Caches>,
    pub(super) random: Arc<Random>,
    pub(super) fleet: Option<Fleet>,
    pub(super) stop: CancellationToken,
}

impl Opening<'_> {
    /// Opens the index, and starts the task that leads or follows.
    pub(super) async fn open(self) -> Result<(Index, Committer, JoinHandle<()>), OpenError> {
        let Self {
            store,
            state_dir,
            signer,
            caches,
            random,
            fleet,
            stop,
        } = self;
        check_format(&store, true).await?;
        let (leads, floor) = fleet.as_ref().map_or((true, 0), |fleet| {
            let naming = *fleet.naming().borrow();
            (naming.committer == Rule::Yes, naming.epoch_floor)
        });
        // Nobody who claims after this one can be overlooked, whatever the log will show.
        let claimed = if leads {
            match claim(&store, &random, floor).await {
                Err(OpenError::Deposed) if fleet.is_some() => None,
                claimed => Some(claimed?),
            }
        } else {
            None
        };
        let index = Index::open(&state_dir.join(INDEX_FILE))
            .await
            .map_err(OpenError::Index)?;
        let index = catch_up(&store, &signer, index).await?;
        let office = Office {
            store,
            index: index.clone(),
            signer,
            caches,
            random,
        };
        let start = match claimed {
            None => Start::Follow { wants_office: leads },
            Some(epoch) => match take_office(&office, epoch).await {
                Err(OpenError::Deposed) if fleet.is_some() => Start::Follow { wants_office: false },
                term => Start::Lead(term?),
            },
        };
        office.caches.refresh(&index).await?;
        let leading = matches!(start, Start::Lead(_));
        tracing::info!(caches = office.caches.all().len(), leading, "the depot is open");
        let (committer, task) = Role::start(office, fleet, start, stop);
        Ok((index, committer, task))
    }
}
