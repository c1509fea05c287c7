//! Whether the depot can serve: it leads or follows, and the bucket answered lately.

use std::time::Duration;

use hayloft_store::key::ObjectKey;
use hayloft_store::object::SharedStore;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::committer::Committer;

/// How old an answer of the bucket may be.
const LATELY: Duration = Duration::from_secs(5);
/// How long the bucket may take to answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// Asks the bucket, but not for every question.
pub(super) struct Health {
    store: SharedStore,
    committer: Committer,
    last: Mutex<Option<(Instant, bool)>>,
}

impl Health {
    pub(super) fn new(store: SharedStore, committer: Committer) -> Self {
        Self {
            store,
            committer,
            last: Mutex::new(None),
        }
    }

    pub(super) async fn well(&self) -> bool {
        self.committer.is_well() && self.bucket_answers().await
    }

    async fn bucket_answers(&self) -> bool {
        let mut last = self.last.lock().await;
        if let Some((when, answered)) = *last
            && when.elapsed() < LATELY
        {
            return answered;
        }
        let key = ObjectKey::Format.to_string();
        let answered = matches!(timeout(PATIENCE, self.store.get(&key)).await, Ok(Ok(_)));
        *last = Some((Instant::now(), answered));
        answered
    }
}
