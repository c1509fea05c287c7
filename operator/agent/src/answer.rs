//! Answers to a coordinator's questions, in a task of its own: the loop may be busy with a unit, a promise must not wait.

use std::sync::{Arc, Mutex, PoisonError};

use hayloft_api::question::{Answer, Question, Refusal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::agent::one_line;
use crate::promise::KeptPromise;

/// A question, and where its answer goes.
pub type Asked = (Question, oneshot::Sender<Result<Answer, Refusal>>);

/// What the loop and the answering task both look at.
#[derive(Debug)]
pub(crate) struct Shared {
    promise: Mutex<KeptPromise>,
}

impl Shared {
    pub(crate) fn new(promise: KeptPromise) -> Self {
        Self {
            promise: Mutex::new(promise),
        }
    }

    pub(crate) fn with_promise<T>(&self, look: impl FnOnce(&mut KeptPromise) -> T) -> T {
        // A panic while it was held left either the old promise or the new one.
        look(&mut self.promise.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Answers until nobody can ask any more.
pub(crate) async fn run(shared: Arc<Shared>, mut questions: mpsc::Receiver<Asked>) {
    while let Some((question, answer)) = questions.recv().await {
        // Who asked may have given up.
        let _ = answer.send(reply(&shared, question));
    }
}

fn reply(shared: &Shared, question: Question) -> Result<Answer, Refusal> {
    match question {
        Question::Promise {
            epoch,
            instance,
            seconds,
        } => shared.with_promise(|kept| {
            let promise = kept.get().ask(Instant::now(), epoch, &instance, seconds)?;
            kept.set(promise).map_err(|error| failed(&error))?;
            Ok(Answer::Promised { seconds })
        }),
        Question::Release { epoch, instance } => shared.with_promise(|kept| {
            let promise = kept.get().release(epoch, &instance);
            kept.set(promise).map_err(|error| failed(&error))?;
            Ok(Answer::Done)
        }),
        other => Err(Refusal::Senseless {
            why: format!("{other:?} is not known here"),
        }),
    }
}

fn failed(error: &dyn std::error::Error) -> Refusal {
    Refusal::Failed { why: one_line(error) }
}
