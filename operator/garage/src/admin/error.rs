//! How calls of the admin API fail.

use serde::Deserialize;

/// Why a call failed. The call's name is Garage's endpoint name.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The client could not be made.
    #[error("cannot set up a client for Garage's admin API")]
    Setup(#[source] reqwest::Error),
    /// The address is none.
    #[error("`{given}` is not the address of an admin API: http://host:port or a socket's path is needed")]
    Address {
        /// What was given.
        given: String,
    },
    /// No answer: not running, not reachable, or too slow.
    #[error("Garage did not answer {call}")]
    NoAnswer {
        /// The call.
        call: &'static str,
        /// What went wrong.
        source: reqwest::Error,
    },
    /// The answer is not what the API promises.
    #[error("Garage's answer to {call} cannot be read")]
    Unreadable {
        /// The call.
        call: &'static str,
        /// What is wrong in it.
        source: serde_json::Error,
    },
    /// Tables cannot be used before the first layout.
    #[error("Garage refused {call}: it has no layout yet")]
    LayoutNotReady {
        /// The call.
        call: &'static str,
    },
    /// Somebody else applied a layout meanwhile.
    #[error("Garage refused {call}: the layout is at another version meanwhile")]
    LayoutVersion {
        /// The call.
        call: &'static str,
    },
    /// The token is not this daemon's.
    #[error("Garage refused {call}: the admin token is not its own")]
    Forbidden {
        /// The call.
        call: &'static str,
    },
    /// What the call is about does not exist.
    #[error("Garage refused {call}: {message}")]
    NotFound {
        /// The call.
        call: &'static str,
        /// Garage's words.
        message: String,
    },
    /// What the call makes exists already, or is in use.
    #[error("Garage refused {call}: {message}")]
    Conflict {
        /// The call.
        call: &'static str,
        /// Garage's words.
        message: String,
    },
    /// The member passed the call on, and the node that it is about did not do it.
    #[error("the node that {call} is about did not do it: {message}")]
    Node {
        /// The call.
        call: &'static str,
        /// Its words, or those of the member that could not reach it.
        message: String,
    },
    /// Any other refusal; 503 when a quorum is missing.
    #[error("Garage refused {call} with {status}: {message}")]
    Refused {
        /// The call.
        call: &'static str,
        /// The HTTP status.
        status: u16,
        /// Garage's words.
        message: String,
    },
}

impl AdminError {
    /// Whether it is not known if the call took effect, so that it may only be tried again on the same member.
    pub fn is_uncertain(&self) -> bool {
        match self {
            Self::NoAnswer { source, .. } => !source.is_connect(),
            Self::Unreadable { .. } => true,
            Self::Refused { status, .. } => *status >= 500,
            Self::Setup(_)
            | Self::Address { .. }
            | Self::LayoutNotReady { .. }
            | Self::LayoutVersion { .. }
            | Self::Forbidden { .. }
            | Self::NotFound { .. }
            | Self::Conflict { .. } => false,
            // It may have done it, and its answer was lost.
            Self::Node { .. } => true,
        }
    }

    /// What kind of failure it is, in a word, for counting.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Setup(_) | Self::Address { .. } => "setup",
            Self::NoAnswer { .. } => "no_answer",
            Self::Unreadable { .. } => "unreadable",
            Self::LayoutNotReady { .. } => "layout_not_ready",
            Self::LayoutVersion { .. } => "layout_version",
            Self::Forbidden { .. } => "forbidden",
            Self::NotFound { .. } => "not_found",
            Self::Conflict { .. } => "conflict",
            Self::Node { .. } => "node",
            Self::Refused { .. } => "refused",
        }
    }

    /// Sorts a refusal. Garage says some things only in words: a wrong layout version and a missing layout are both
    /// 500 `InternalError`.
    pub(super) fn from_refusal(call: &'static str, status: u16, body: &str) -> Self {
        #[derive(Deserialize)]
        struct Body {
            message: String,
        }
        let message = match serde_json::from_str::<Body>(body) {
            Ok(body) => body.message,
            Err(_) => body.chars().take(200).collect(),
        };
        match status {
            403 => Self::Forbidden { call },
            404 => Self::NotFound { call, message },
            409 => Self::Conflict { call, message },
            500 if message.contains("Layout not ready") => Self::LayoutNotReady { call },
            500 if message.contains("Invalid new layout version") => Self::LayoutVersion { call },
            _ => Self::Refused {
                call,
                status,
                message,
            },
        }
    }
}
