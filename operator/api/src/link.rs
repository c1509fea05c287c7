//! What an agent and the coordinator say to each other over the network.
//!
//! The agent dials. It posts its report whenever that changes, asks what is new for it again and again ([`Poll`], which the
//! coordinator holds until there is something), and posts an answer to each question it is told. Every message is JSON
//! in the body of a POST over mutual TLS; who speaks is known from the certificate, not from the message. Hosts are upgraded one
//! after the other, so both sides pass over fields that they do not know, and new fields may be missing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Generation;
use crate::agent::{HostDesired, HostReport};
use crate::join::TrustList;
use crate::question::{Answer, Question, Refusal};

/// Where a [`Reported`] is posted.
pub const REPORT: &str = "/v1/link/report";
/// Where a [`Poll`] is posted; answered by [`Told`].
pub const POLL: &str = "/v1/link/poll";
/// Where an [`Answered`] is posted.
pub const ANSWER: &str = "/v1/link/answer";

/// What is spoken at an agent's door by those who look for the coordinator, or say where it is: a [`Find`], answered by a
/// [`Found`], each a line of JSON. A protocol's name in TLS (ALPN, RFC 7301).
pub const FIND: &[u8] = b"hayloft-find/1";
/// The most addresses of a coordinator that are kept or told.
pub const MOST_ADDRESSES: usize = 8;

/// A coordinator answers a [`Poll`] after so long also when nothing is new.
pub const POLL_FOR: Duration = Duration::from_secs(5);
/// An agent that says nothing for so long counts as gone: three polls.
pub const SILENT_AFTER: Duration = Duration::from_secs(15);
/// The longest message: a part of a snapshot, written as numbers, and what goes with it.
pub const LONGEST_MESSAGE: usize = 16 * 1024 * 1024;
/// The most questions in one [`Told`].
pub const MOST_QUESTIONS: usize = 16;

/// Where is the coordinator?
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Find {
    /// Said by the coordinator itself: `host:port` of its door, the likeliest first. A host leaves it empty.
    #[serde(default)]
    pub announced: Vec<String>,
}

/// Where it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// `host:port` at which the answering host has its link now; `None`: it has none either.
    #[serde(default)]
    pub coordinator: Option<String>,
}

/// An agent's report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reported {
    /// One life of an agent process: random, made anew at its start. Connections come and go within it.
    pub session: String,
    /// What it reports.
    pub report: HostReport,
}

/// An agent asks what is new. It must have reported in this session before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Poll {
    /// See [`Reported::session`].
    pub session: String,
    /// What it was handed last over this connection, whether it follows that or not.
    pub handed: Option<Generation>,
    /// The digest of the list of who belongs that it has; see `hayloft_pki::list_digest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<String>,
}

/// What is new for an agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// What the host shall run, when that is not what it was handed last.
    #[serde(default)]
    pub desired: Option<HostDesired>,
    /// What it is asked; each is told once.
    #[serde(default)]
    pub questions: Vec<Numbered>,
    /// Who belongs, when that is not what it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<TrustList>,
}

/// A question and its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Numbered {
    /// Counts the questions of a session.
    pub number: u64,
    /// The question.
    pub question: Question,
}

/// What an agent says to a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answered {
    /// See [`Reported::session`].
    pub session: String,
    /// The question's number.
    pub number: u64,
    /// The answer, or why there is none.
    pub outcome: Outcome,
}

/// An answer, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It.
    Answer(Answer),
    /// Why not.
    Refused(Refusal),
}

impl From<Result<Answer, Refusal>> for Outcome {
    fn from(result: Result<Answer, Refusal>) -> Self {
        match result {
            Ok(answer) => Self::Answer(answer),
            Err(refusal) => Self::Refused(refusal),
        }
    }
}

impl From<Outcome> for Result<Answer, Refusal> {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Answer(answer) => Ok(answer),
            Outcome::Refused(refusal) => Err(refusal),
        }
    }
}

/// Why a coordinator's door does not do what an agent wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "refused")]
pub enum LinkRefusal {
    /// Its key is not on the list, or not as a host's.
    #[error(
        "this host does not belong to the cluster (any more); `hayloft host list` at the coordinator shows who does"
    )]
    NotAMember,
    /// It reports for another host than its key is listed for.
    #[error("the report names another host than the one that this key is listed for")]
    OtherHost,
    /// It has to report first: the coordinator was started anew.
    #[error("the coordinator does not know this session; the agent reports first")]
    ReportFirst,
    /// Another agent with the same identity came later.
    #[error(
        "another agent with this host's identity took its place: its folder was copied to a second machine, or two agents run on one; stop one"
    )]
    Replaced,
    /// The message is none.
    #[error("the coordinator does not understand this agent: one of them is of another version")]
    NotUnderstood,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::question::LayoutFacts;

    fn again<T: Serialize + for<'de> Deserialize<'de> + PartialEq + std::fmt::Debug>(message: &T) {
        let text = serde_json::to_string(message).unwrap();
        assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), message, "{text}");
    }

    #[test]
    fn messages_arrive_as_they_were_sent() {
        let generation = Generation {
            epoch: 3,
            instance: "a".into(),
            n: 7,
        };
        again(&Poll {
            session: "s".into(),
            handed: Some(generation.clone()),
            trust: Some("d".into()),
        });
        again(&Told {
            desired: Some(HostDesired::nothing(generation, "paris-1".parse().unwrap())),
            questions: vec![Numbered {
                number: 1,
                question: Question::Promise {
                    epoch: 3,
                    instance: "a".into(),
                    seconds: 15,
                },
            }],
            trust: None,
        });
        let layout = LayoutFacts {
            versions: vec![],
            old_versions: vec![],
        };
        for outcome in [
            Outcome::Answer(Answer::Layout(layout)),
            Outcome::Answer(Answer::Part {
                data: vec![0, 255],
                last: true,
            }),
            Outcome::Refused(Refusal::Gone { what: "it".into() }),
        ] {
            again(&Answered {
                session: "s".into(),
                number: 4,
                outcome,
            });
        }
        again(&LinkRefusal::Replaced);
    }

    #[test]
    fn what_a_newer_side_says_beyond_what_this_one_knows_is_passed_over() {
        let generation = Generation {
            epoch: 3,
            instance: "a".into(),
            n: 7,
        };
        let desired = HostDesired::nothing(generation, "paris-1".parse().unwrap());
        let mut told = serde_json::to_value(Told {
            desired: Some(desired.clone()),
            questions: vec![Numbered {
                number: 1,
                question: Question::Ledger,
            }],
            trust: None,
        })
        .unwrap();
        told["weather"] = "fine".into();
        told["desired"]["weather"] = serde_json::json!({ "wind": 3 });
        let newer = serde_json::json!({ "number": 2, "question": { "ask": "weather", "where": "here" } });
        told["questions"].as_array_mut().unwrap().push(newer);
        let heard: Told = serde_json::from_value(told).unwrap();
        assert_eq!(heard.desired, Some(desired));
        let questions: Vec<_> = heard.questions.into_iter().map(|asked| asked.question).collect();
        assert_eq!(questions, [Question::Ledger, Question::Unknown]);
    }
}
