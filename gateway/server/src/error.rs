//! How the gateway refuses: attic's triple of status, name and sentence.

use std::fmt;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hayloft_nixcache::api::ErrorBody;

use crate::depot::{DepotError, ReadError, UploadError};

/// Any refusal. Its status and name are attic's wherever attic has one.
#[derive(Debug)]
pub enum Refusal {
    /// There is nothing at this URL.
    NotFound,
    /// The caller shows nothing that would let it know more; the sentence never depends on what exists.
    Unauthorized(String),
    /// The caller may know of the cache, but not do this.
    AccessError,
    /// A Nix client asks for what it may not see; the sentence never depends on what exists.
    Hidden(String),
    /// What is asked contradicts the configuration file, which wins.
    Declared(String),
    /// The cache does not exist, and the caller may know.
    NoSuchCache,
    /// The cache does not have the path.
    NoSuchObject,
    /// A cache of that name exists.
    CacheAlreadyExists(String),
    /// The request is wrong.
    Request(String),
    /// The request's body is not of the right type.
    UnsupportedMediaType,
    /// The request's JSON does not say what it must.
    Unprocessable(String),
    /// The path exists with another content, which never changes.
    Conflict(String),
    /// The request's body is too large.
    TooLarge {
        /// What is allowed, in bytes.
        limit: usize,
    },
    /// Another method is meant.
    MethodNotAllowed,
    /// It may work in a while.
    Unavailable(String),
    /// Something broke here. The cause goes to the log, not to the client.
    Internal(Box<dyn std::error::Error + Send + Sync>),
}

impl Refusal {
    /// A refusal because of an error that is not the client's.
    pub fn internal(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(error.into())
    }

    /// The HTTP status and the error's name in the JSON.
    #[must_use]
    pub const fn kind(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NotFound => (StatusCode::NOT_FOUND, "NotFound"),
            Self::Unauthorized(_) => (StatusCode::UNAUTHORIZED, "Unauthorized"),
            Self::AccessError | Self::Hidden(_) | Self::Declared(_) => (StatusCode::FORBIDDEN, "AccessError"),
            Self::NoSuchCache => (StatusCode::NOT_FOUND, "NoSuchCache"),
            Self::NoSuchObject => (StatusCode::NOT_FOUND, "NoSuchObject"),
            Self::CacheAlreadyExists(_) => (StatusCode::BAD_REQUEST, "CacheAlreadyExists"),
            Self::Request(_) => (StatusCode::BAD_REQUEST, "RequestError"),
            Self::UnsupportedMediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "RequestError"),
            Self::Unprocessable(_) => (StatusCode::UNPROCESSABLE_ENTITY, "RequestError"),
            Self::Conflict(_) => (StatusCode::CONFLICT, "PathConflict"),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "RequestError"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "Unavailable"),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("The requested URL was not found."),
            Self::AccessError => {
                f.write_str("Access error: User does not have permission to complete this action.")
            }
            Self::NoSuchCache => f.write_str("The requested cache does not exist."),
            Self::NoSuchObject => f.write_str("The requested object does not exist."),
            Self::CacheAlreadyExists(name) => write!(f, "The cache {name} exists already."),
            Self::Request(reason) => write!(f, "General request error: {reason}"),
            Self::UnsupportedMediaType => {
                f.write_str("General request error: send the JSON with \"Content-Type: application/json\"")
            }
            Self::Unprocessable(reason) => write!(f, "General request error: {reason}"),
            Self::TooLarge { limit } => {
                write!(
                    f,
                    "General request error: the body may have at most {limit} bytes"
                )
            }
            Self::MethodNotAllowed => f.write_str("This URL does not take that method."),
            Self::Internal(_) => f.write_str("The server encountered an internal error."),
            Self::Unauthorized(sentence)
            | Self::Hidden(sentence)
            | Self::Declared(sentence)
            | Self::Conflict(sentence)
            | Self::Unavailable(sentence) => f.write_str(sentence),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, name) = self.kind();
        if let Self::Internal(cause) = &self {
            tracing::error!(error = %chain(cause.as_ref()), "a request failed");
        }
        let body = ErrorBody {
            code: status.as_u16(),
            error: name.to_owned(),
            message: self.to_string(),
        };
        let mut response = (status, Json(body)).into_response();
        if let Self::Unavailable(_) = self {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

impl From<DepotError> for Refusal {
    fn from(error: DepotError) -> Self {
        match error {
            DepotError::CacheExists(name) => Self::CacheAlreadyExists(name.to_string()),
            DepotError::NoSuchCache(_) => Self::NoSuchCache,
            DepotError::Invalid(reason) => Self::Request(reason),
            DepotError::Unavailable(reason) => Self::Unavailable(reason),
            error @ DepotError::Index(_) => Self::internal(error),
        }
    }
}

impl From<UploadError> for Refusal {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::NoSuchCache(_) => Self::NoSuchCache,
            error @ UploadError::OtherNarHash { .. } => Self::Conflict(error.to_string()),
            error @ (UploadError::HashMismatch { .. } | UploadError::SizeMismatch { .. }) => {
                Self::Request(format!("Bad NAR Hash or Size: {error}"))
            }
            error @ (UploadError::StoreDir { .. } | UploadError::Nar(_) | UploadError::Body(_)) => {
                Self::Request(chain(&error))
            }
            UploadError::Unavailable(reason) => Self::Unavailable(reason),
            error @ UploadError::Index(_) => Self::internal(error),
        }
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        match error {
            // To Nix, 404 means "look elsewhere, or build it": the one way to degrade without failing a build.
            ReadError::Damaged | ReadError::Gone => Self::NoSuchObject,
            error @ ReadError::Range { .. } => Self::internal(error),
            ReadError::Unavailable(reason) => Self::Unavailable(reason),
        }
    }
}
