//! Questions to agents. Each is bounded in time, so that one that hangs holds up nothing but itself.

use std::time::Duration;

use hayloft_api::HostName;
use hayloft_api::question::{Answer, Question, Refusal};
use tokio::sync::oneshot;

use crate::AgentLink;

/// Answers are short and come soon, by the agents' contract.
pub(crate) const WITHIN: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// Nobody listens any more, or too many questions wait.
    #[error("the agent of {0} cannot be asked")]
    Gone(HostName),
    /// It took too long.
    #[error("the agent of {host} did not answer within {} s", within.as_secs())]
    TooSlow {
        /// Whom.
        host: HostName,
        /// How long was waited.
        within: Duration,
    },
    /// It said no.
    #[error("the agent of {host} refused")]
    Refused {
        /// Whom.
        host: HostName,
        /// Why.
        source: Refusal,
    },
    /// It answered another question.
    #[error("the agent of {0} gave an answer that does not fit the question")]
    Misfit(HostName),
}

/// Asks one agent.
///
/// # Errors
/// When it cannot be asked, is too slow, or refuses.
pub(crate) async fn ask(
    host: &HostName,
    link: &AgentLink,
    question: Question,
    within: Duration,
) -> Result<Answer, AskError> {
    let asked = async {
        let (sender, receiver) = oneshot::channel();
        let gone = || AskError::Gone(host.clone());
        link.questions
            .send((question, sender))
            .await
            .map_err(|_| gone())?;
        receiver
            .await
            .map_err(|_| gone())?
            .map_err(|source| AskError::Refused {
                host: host.clone(),
                source,
            })
    };
    match tokio::time::timeout(within, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(AskError::TooSlow {
            host: host.clone(),
            within,
        }),
    }
}
