//! What people say to a running coordinator, beside the document.

use std::collections::BTreeSet;

use hayloft_api::status::Preview;
use hayloft_api::{Document, HostName};
use hayloft_engine::AskedFor;
use tokio::sync::oneshot;

use crate::StoreError;

/// Why a word is not followed.
#[derive(Debug, thiserror::Error)]
pub enum WordError {
    /// Nobody listens.
    #[error("the coordinator is stopping")]
    Stopping,
    /// It was never heard of.
    #[error("no host is called {0}")]
    Unknown(HostName),
    /// Nobody who is down would be given up.
    #[error("{0} is up: nothing that only it holds needs to be given up")]
    Up(HostName),
    /// The coordinator's store failed.
    #[error("the coordinator's store failed")]
    Store(#[source] StoreError),
    /// There can be no preview now.
    #[error("there can be no preview now: {0}")]
    NoPreview(String),
}

pub(crate) type Reply<T> = oneshot::Sender<Result<T, WordError>>;

/// What somebody says.
#[derive(Debug)]
pub(crate) enum Word {
    /// Something is asked of a host.
    Ask(HostName, AskedFor, Reply<()>),
    /// What was asked of a host is taken back.
    Withdraw(HostName, Reply<()>),
    /// The metadata of a host was put back from a snapshot.
    Restored(HostName, Reply<()>),
    /// What only these hosts held may be given up.
    MayLack(BTreeSet<HostName>, Reply<()>),
    /// What would a document do to the layout?
    Preview(Box<Document>, Reply<Option<Box<Preview>>>),
}
