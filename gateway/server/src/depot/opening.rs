//! Opening: the index is brought to the log, and the gateway takes the role that it is named for.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hayloft_index::Index;
use hayloft_store::cluster_key::LogSigner;
use hayloft_store::object::SharedStore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::INDEX_FILE;
use super::caches::Caches;
use super::checkpoint::{Writer, load};
use super::claim::claim;
use super::committer::Committer;
use super::error::OpenError;
use super::fleet::wire::Status;
use super::fleet::{Fleet, Rule, Seat};
use super::follow::catch_up;
use super::office::Office;
use super::random::Random;
use super::role::{Role, Start};
use super::succession::{check_format, take_office};

/// How long the others may take to say how they are.
const SURVEY: Duration = Duration::from_secs(1);

/// What is needed to open.
pub(super) struct Opening<'a> {
    pub(super) store: SharedStore,
    pub(super) state_dir: &'a Path,
    pub(super) signer: Arc<LogSigner>,
    pub(super) caches: Arc<Caches>,
    pub(super) random: Arc<Random>,
    pub(super) fleet: Option<Fleet>,
    pub(super) stop: CancellationToken,
}

/// What came of it.
pub(super) struct Opened {
    pub(super) index: Index,
    pub(super) committer: Committer,
    pub(super) task: JoinHandle<()>,
    pub(super) checkpoints: Writer,
}

impl Opening<'_> {
    /// Opens the index, and starts the task that leads or follows.
    pub(super) async fn open(self) -> Result<Opened, OpenError> {
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
        let path = state_dir.join(INDEX_FILE);
        let mut index = Index::open(&path).await.map_err(OpenError::Index)?;
        if index.position().await.map_err(OpenError::Index)?.is_none() {
            index.close().await;
            load(&store, &signer, &path).await?;
            index = Index::open(&path).await.map_err(OpenError::Index)?;
        }
        let index = catch_up(&store, &signer, index).await?;
        // Only now, for whoever orders till now may go on as long as this one has much to read. What comes after the claim
        // is read when office is taken.
        let claimed = if leads {
            match claim(&store, &random, floor).await {
                Err(OpenError::Deposed) if fleet.is_some() => None,
                claimed => Some(claimed?),
            }
        } else {
            None
        };
        let checkpoints = Writer {
            store: Arc::clone(&store),
            index: index.clone(),
            signer: Arc::clone(&signer),
            random: Arc::clone(&random),
            state_dir: state_dir.to_owned(),
            under_way: Arc::default(),
        };
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
        if let (Start::Follow { .. }, Some(fleet)) = (&start, &fleet) {
            catch_up_with_committer(&office, fleet).await?;
        }
        office.caches.refresh(&index).await?;
        let leading = matches!(start, Start::Lead(_));
        tracing::info!(caches = office.caches.all().len(), leading, "the depot is open");
        let (committer, task) = Role::start(office, checkpoints.clone(), fleet, start, stop);
        Ok(Opened {
            index,
            committer,
            task,
            checkpoints,
        })
    }
}

/// Applies what the committer says counts, the last object too, which the bucket alone does not vouch for.
async fn catch_up_with_committer(office: &Office, fleet: &Fleet) -> Result<(), OpenError> {
    let leads = |status: &Status| matches!(status.seat, Seat::Leading { .. });
    let others = fleet.survey(SURVEY).await;
    if let Some(told) = others
        .iter()
        .find(|status| leads(status))
        .and_then(|status| status.position)
    {
        office.sync(Some(told)).await?;
    }
    Ok(())
}
