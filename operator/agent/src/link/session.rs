//! What is said over a connection: reports, polls, answers.

use std::path::PathBuf;
use std::time::Duration;

use hayloft_api::Generation;
use hayloft_api::join::{RENEW, RenewAsk, TrustList};
use hayloft_api::link::{
    ANSWER, Answered, MOST_QUESTIONS, Numbered, POLL, POLL_FOR, Poll, REPORT, Reported, Told,
};
use hayloft_api::question::{Question, Refusal};
use hayloft_pki::{Trust, list_digest, should_renew};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::connection::Speaker;
use super::{Ends, LinkConfig, LinkError, local};
use crate::agent::one_line;
use crate::answer::Asked;

/// How long a coordinator may take to take in a message.
const TAKE_IN: Duration = Duration::from_secs(10);
/// How long an answer is worth being sent: whoever asked has given up by then.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// How often it is looked whether the host's certificate is due.
const LOOK_AT_CERTIFICATE: Duration = Duration::from_secs(60);

/// One life of the agent, over however many connections.
#[derive(Debug)]
pub(super) struct Life {
    session: String,
    ends: Ends,
    list: TrustList,
    /// The list of who belongs is another one.
    relisted: Notify,
}

impl Life {
    pub(super) fn new(session: String, ends: Ends, config: &LinkConfig) -> Self {
        let list = config.list.clone();
        Self {
            session,
            ends,
            list,
            relisted: Notify::new(),
        }
    }

    /// Who belongs, as it was told last.
    pub(super) const fn list(&self) -> &TrustList {
        &self.list
    }

    /// Speaks over one connection until something goes wrong. `up` is called when the coordinator has the first report.
    pub(super) async fn go_on(
        &mut self,
        speaker: &Speaker,
        config: &LinkConfig,
        up: impl FnOnce(),
    ) -> LinkError {
        let mut report = self.ends.report.clone();
        if let Err(error) = tell_report(speaker, &self.session, &mut report).await {
            return error;
        }
        up();
        let reporting = async {
            loop {
                if report.changed().await.is_err() {
                    return LinkError::AgentEnds;
                }
                if let Err(error) = tell_report(speaker, &self.session, &mut report).await {
                    return error;
                }
            }
        };
        tokio::select! {
            error = reporting => error,
            error = listen(speaker, config, &self.session, &self.ends, (&mut self.list, &self.relisted)) => error,
            error = renew(speaker, config, &self.relisted) => error,
        }
    }
}

/// Has the host's certificate renewed whenever it is due, or of an authority that is being replaced.
async fn renew(speaker: &Speaker, config: &LinkConfig, relisted: &Notify) -> LinkError {
    let mut look = tokio::time::interval(LOOK_AT_CERTIFICATE);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = look.tick() => {}
            () = relisted.notified() => {}
        }
        let identity = config.identity.now();
        let facts = match identity.chain().facts() {
            Ok(facts) => facts,
            Err(error) => return LinkError::Membership(error.into()),
        };
        let due = should_renew(facts.not_before, facts.not_after, config.clock.now());
        if !due && config.trust.now().signs(identity.chain()) {
            continue;
        }
        let renewed = async {
            let request = config.membership.request()?;
            let chain: String = speaker.say(RENEW, &RenewAsk { request }, TAKE_IN).await?;
            config.membership.renew(&chain, &config.identity)?;
            Ok::<(), LinkError>(())
        };
        match renewed.await {
            Ok(()) => tracing::info!("the host's certificate is renewed"),
            // The one that it has is good for days, and also after that: see `hayloft_pki`.
            Err(error) => {
                tracing::warn!(error = %one_line(&error), "the host's certificate could not be renewed");
            }
        }
    }
}

/// Trusts whom the coordinator says that belong, from now on and after a restart.
fn follow(config: &LinkConfig, list: TrustList, known: &mut TrustList) {
    let trust = match Trust::new(&list) {
        Ok(trust) => trust,
        Err(error) => {
            tracing::error!(error = %one_line(&error), "the list of who belongs cannot be used");
            return;
        }
    };
    if let Err(error) = config.membership.keep_list(&list) {
        tracing::error!(error = %one_line(&error), "the list of who belongs cannot be kept");
    }
    tracing::info!(
        members = list.members.len(),
        "the list of who belongs is another one now"
    );
    config.trust.replace(trust);
    *known = list;
}

async fn tell_report(
    speaker: &Speaker,
    session: &str,
    report: &mut watch::Receiver<hayloft_api::agent::HostReport>,
) -> Result<(), LinkError> {
    let report = report.borrow_and_update().clone();
    let session = session.to_owned();
    speaker.tell(REPORT, &Reported { session, report }, TAKE_IN).await
}

/// Polls, hands on what is new, and sees to answers. Answers that are due when it ends are not given: who asked is told, or
/// gives up.
async fn listen(
    speaker: &Speaker,
    config: &LinkConfig,
    session: &str,
    ends: &Ends,
    (list, relisted): (&mut TrustList, &Notify),
) -> LinkError {
    let mut handed: Option<Generation> = None;
    let mut answers: JoinSet<Result<(), LinkError>> = JoinSet::new();
    loop {
        let poll = Poll {
            session: session.to_owned(),
            handed: handed.clone(),
            trust: Some(list_digest(list)),
        };
        let told: Told = match speaker.say(POLL, &poll, POLL_FOR + TAKE_IN).await {
            Ok(told) => told,
            Err(error) => return error,
        };
        if let Some(told) = told.trust {
            follow(config, told, list);
            relisted.notify_one();
        }
        if let Some(desired) = told.desired {
            handed = Some(desired.generation.clone());
            // The agent judges it: an older one, or another host's, it refuses.
            ends.desired.send_replace(Some(desired));
        }
        for question in told.questions {
            if answers.len() >= MOST_QUESTIONS * 2
                && let Some(Ok(Err(error))) = answers.join_next().await
            {
                return error;
            }
            answers.spawn(answer(
                speaker.clone(),
                session.to_owned(),
                question,
                ends.questions.clone(),
                config.admin_socket.clone(),
            ));
        }
        while let Some(ended) = answers.try_join_next() {
            if let Ok(Err(error)) = ended {
                return error;
            }
        }
    }
}

async fn answer(
    speaker: Speaker,
    session: String,
    Numbered { number, question }: Numbered,
    questions: mpsc::Sender<Asked>,
    admin_socket: PathBuf,
) -> Result<(), LinkError> {
    let gone = |_| Refusal::Failed {
        why: "the agent ends".to_owned(),
    };
    let (sender, receiver) = oneshot::channel();
    let asked = async {
        let question = match question {
            Question::Admin {
                method,
                path,
                authorization,
                body,
            } => return local::admin(&admin_socket, &method, &path, &authorization, body).await,
            Question::Dial { address } => return Ok(local::dial(&address).await),
            other => other,
        };
        let sent = questions.send((question, sender)).await;
        sent.map_err(|_| ()).map_err(gone)?;
        receiver.await.map_err(|_| ()).map_err(gone)?
    };
    let Ok(outcome) = tokio::time::timeout(ANSWER_WITHIN, asked).await else {
        return Ok(());
    };
    let outcome = outcome.into();
    speaker
        .tell(
            ANSWER,
            &Answered {
                session,
                number,
                outcome,
            },
            TAKE_IN,
        )
        .await
}
