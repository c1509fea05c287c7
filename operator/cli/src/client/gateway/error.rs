//! What a gateway says when it does not do what was asked, and what that means for the next try.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use hayloft_nixcache::CacheName;
use hayloft_nixcache::api::ErrorBody;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use url::Url;

/// How long an upload may stand still, or its answer fail to come, before it counts as broken.
pub(super) const STALL: Duration = Duration::from_secs(300);
/// Bytes of an error's body that are read.
const ERROR_BODY: usize = 16 * 1024;
/// How long the text of a refusal may take to come.
const EXPLANATION: Duration = Duration::from_secs(15);

/// Why the gateway did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GatewayError {
    /// There is no connection, or it broke.
    #[error("cannot reach the gateway at {server}: {why}")]
    Unreachable {
        /// The gateway.
        server: Url,
        /// What the connection says.
        why: String,
    },
    /// Nothing moved for long.
    #[error("the gateway at {server} stopped answering: nothing moved for {} s", STALL.as_secs())]
    Stalled {
        /// The gateway.
        server: Url,
    },
    /// The gateway answered no.
    #[error("{0}")]
    Refused(Refusal),
    /// The gateway has no cache of that name, or none that this token may see.
    #[error("there is no cache {cache} at {server}: check its name and --server")]
    NoSuchCache {
        /// The name.
        cache: CacheName,
        /// The gateway.
        server: Url,
    },
    /// The gateway sends clients elsewhere, where a body cannot follow.
    #[error("{server} sends its clients to {to}: give that as --server")]
    Redirected {
        /// The gateway.
        server: Url,
        /// Where it points.
        to: String,
    },
    /// What answers is no gateway.
    #[error("{server} answers, but is not a Hayloft gateway or attic server ({why}): check --server")]
    NotAGateway {
        /// The server.
        server: Url,
        /// By what that is seen, in a few words.
        why: String,
    },
    /// The token has characters that cannot be sent.
    #[error("the token holds characters that no token has: is it the right file?")]
    OddToken,
    /// The HTTP client cannot be made, for instance because the system has no certificates.
    #[error("cannot set up HTTPS")]
    Setup {
        /// Why.
        source: reqwest::Error,
    },
}

/// An answer that says no.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    /// The HTTP status.
    pub(crate) status: StatusCode,
    /// The error's name in attic's API, or an empty text.
    pub(crate) name: String,
    /// What the gateway says to people.
    pub(crate) message: String,
    /// How long it asks to wait.
    pub(crate) retry_after: Option<Duration>,
    /// Whether a token was sent.
    pub(crate) with_token: bool,
    /// What the token itself says about it, where that helps.
    pub(crate) hint: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = self.message.trim_end_matches('.');
        let missing = "give --token-file, or set HAYLOFT_TOKEN_FILE";
        match (self.status, self.with_token) {
            // Whoever says no without a name is no gateway, but something before one: nothing is known of the token.
            (status, _) if self.name.is_empty() => {
                write!(f, "the gateway answers {}: {message}", status.as_u16())
            }
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, false) => {
                write!(f, "the gateway wants a token ({message}): {missing}")
            }
            (StatusCode::UNAUTHORIZED, true) => write!(f, "the gateway does not take the token: {message}"),
            (StatusCode::FORBIDDEN, true) => {
                write!(f, "the token does not allow this: {message}")?;
                match &self.hint {
                    Some(hint) => write!(f, "; {hint}"),
                    None => Ok(()),
                }
            }
            (status, _) => write!(f, "the gateway answers {}: {message}", status.as_u16()),
        }
    }
}

impl Refusal {
    /// Whether asking again is of no use.
    pub(super) fn is_final(&self) -> bool {
        match self.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => false,
            StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => true,
            status => !status.is_server_error(),
        }
    }
}

impl GatewayError {
    /// Whether the same may go well a little later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            GatewayError::Unreachable { .. } | GatewayError::Stalled { .. } => true,
            GatewayError::Refused(refusal) => !refusal.is_final(),
            GatewayError::Redirected { .. }
            | GatewayError::NoSuchCache { .. }
            | GatewayError::NotAGateway { .. }
            | GatewayError::OddToken
            | GatewayError::Setup { .. } => false,
        }
    }

    /// Whether every other request to the cache would fare alike.
    pub(crate) fn concerns_all(&self) -> bool {
        match self {
            GatewayError::Refused(refusal) => {
                matches!(refusal.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
                    || refusal.name == "NoSuchCache"
            }
            GatewayError::Redirected { .. }
            | GatewayError::NoSuchCache { .. }
            | GatewayError::NotAGateway { .. }
            | GatewayError::OddToken
            | GatewayError::Setup { .. } => true,
            GatewayError::Unreachable { .. } | GatewayError::Stalled { .. } => false,
        }
    }

    /// How long the gateway asks to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            GatewayError::Refused(refusal) => refusal.retry_after,
            _ => None,
        }
    }
}

/// Reads an answer that says no.
pub(super) async fn refusal(mut response: Response, with_token: bool) -> Refusal {
    let status = response.status();
    let retry_after = retry_after(response.headers());
    let json = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let mut body = Vec::new();
    let read = async {
        while let Ok(Some(piece)) = response.chunk().await {
            body.extend_from_slice(&piece);
            if body.len() >= ERROR_BODY {
                break;
            }
        }
    };
    // What it says is a courtesy; the status is known already.
    let _ = tokio::time::timeout(EXPLANATION, read).await;
    match serde_json::from_slice::<ErrorBody>(&body) {
        Ok(told) if json => Refusal {
            status,
            name: told.error,
            message: told.message,
            retry_after,
            with_token,
            hint: None,
        },
        _ => {
            let text = String::from_utf8_lossy(&body);
            let line = text
                .lines()
                .map(str::trim)
                .find(|line| !line.is_empty() && !line.starts_with('<'));
            let message = line
                .or(status.canonical_reason())
                .unwrap_or("no reason given")
                .chars()
                .take(200)
                .collect();
            Refusal {
                status,
                name: String::new(),
                message,
                retry_after,
                with_token,
                hint: None,
            }
        }
    }
}

/// `Retry-After` in seconds; the form with a date is not used by gateways.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
        .map(Duration::from_secs)
}

/// The cause that tells what happened; the ones around it only say in which library.
pub(super) fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it takes too long".to_owned();
    }
    let mut cause: &dyn Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
